"""The manifest's text: how a report becomes the word pieces that the network reads."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .base import ManifestModel
from .parts import ReportParts

MOST_TOKENS = 4096


class TextSpec(ManifestModel):
    """From a report to WordPiece tokens [CLS] ... [SEP], as BERT reads them (Devlin and others, NAACL 2019)."""

    vocabulary: str = Field(
        default="vocabulary.txt", description="File of the bundle: one WordPiece per line, its number from 0."
    )
    lowercase: bool = Field(description="Letters are lowered and their accents dropped, as the uncased BERTs have it.")
    max_tokens: int = Field(
        ge=2,
        le=MOST_TOKENS,
        description="Tokens that the network reads, [CLS] and [SEP] among them; a longer report is cut.",
    )
    buckets: tuple[Annotated[int, Field(ge=2, le=MOST_TOKENS)], ...] = Field(
        min_length=1,
        description="Lengths that reports are padded to, ascending, the last max_tokens: the smallest that holds one.",
    )
    remove: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        default=(), description="Markers that become a blank wherever they stand, letter by letter, such as XXXX."
    )
    fields: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        default=("report",),
        min_length=1,
        description="Fields of the record that make up the report, joined by a blank.",
    )
    missing: Literal["refuse", "empty"] = Field(
        default="refuse", description="A record without a report: refused, or read as [CLS] [SEP]."
    )
    parts: ReportParts | None = Field(
        default=None, description="The network once more, cut in two, for sessions that keep encoded reports."
    )

    @field_validator("fields")
    @classmethod
    def _unique(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(fields)) != len(fields):
            raise ValueError("two text fields share a name")
        return fields

    @model_validator(mode="after")
    def _ascending(self) -> "TextSpec":
        if list(self.buckets) != sorted(set(self.buckets)) or self.buckets[-1] != self.max_tokens:
            raise ValueError(f"buckets must ascend to max_tokens, {self.max_tokens}")
        return self


def text_lengths(text: TextSpec | None) -> tuple[int, ...]:
    """What texts are padded to, ascending; none without a text."""
    return () if text is None else text.buckets
