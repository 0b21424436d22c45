"""The manifest's attention: what the weights that a network puts out are weights of, and how far two of them agree."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from .base import Line, ManifestModel
from .tensors import TensorSpec

PARTS_OF = ("volume", "image")
"""Kinds of input whose parts a grid divides; the others that can be weighed are table and tokens."""


class AttentionSpec(ManifestModel):
    """What an attention output weighs: parts of a volume or of the image, word pieces of the text, or fields.

    Of a volume or the image it is [N, rows * columns], row by row; the two axes are the image's, or those of the volume
    input that count no slices, in its own order; the parts are of equal size. Of the tokens input it is [N, "L"], one
    weight for each word piece, markers among them, and 0 where there is padding. Of the table input it is [N, fields],
    in the order of table.fields.
    """

    output: str
    title: str = Field(min_length=1, max_length=40, description="As the heat map names it.")
    grid: tuple[Annotated[int, Field(ge=1, le=1024)], Annotated[int, Field(ge=1, le=1024)]] | None = Field(
        default=None, description="Rows and columns of parts; of a volume or the image, which need it."
    )
    slices: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="First slice of the input, and one past the last, that the parts cover; all without."
    )
    input: str | None = Field(default=None, description="The input that it weighs; without it, the first volume.")
    meaning: Annotated[Line, Field(max_length=200)] = Field(
        default="",
        description="What a weight says, as the answer's text says it: of whose attention, and averaged how.",
    )

    version_2: ClassVar[frozenset[str]] = frozenset({"input", "meaning"})
    sparse: ClassVar[frozenset[str]] = frozenset({"grid"})


class AgreementSpec(ManifestModel):
    """How far two attention outputs over one grid agree on studies that were measured, and when an answer warns.

    The figure is the sum over the parts of the smaller of both weights, each output's weights divided by their sum: 1
    where both are the same, 0 where no part has weight in both (histogram intersection: Swain and Ballard, "Color
    indexing", International Journal of Computer Vision 7, 1991; as a similarity of saliency maps: Bylinskii and others,
    IEEE Transactions on Pattern Analysis and Machine Intelligence 41, 2019).
    """

    outputs: tuple[str, str] = Field(description="The two attention outputs.")
    bound: float = Field(ge=0, le=1, description="Below it an answer with an explanation warns.")
    percentile: float = Field(gt=0, lt=100, description="Percent of the measured studies that lie below the bound.")
    studies: int = Field(ge=1, description="How many were measured.")
    data: Annotated[Line, Field(min_length=1, max_length=200)] = Field(description="Which they were.")


def weighed_input(entry: AttentionSpec, inputs: Sequence[TensorSpec]) -> TensorSpec | None:
    """The input that an attention output weighs; None where there is none such that can be."""
    kinds = ("volume",) if entry.input is None else (*PARTS_OF, "table", "tokens")
    return next((spec for spec in inputs if spec.kind in kinds and entry.input in (None, spec.name)), None)
