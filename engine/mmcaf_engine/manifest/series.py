"""The manifest's series rules: which series of a study each volume input is, told by what its headers say.

The rules are data: words with a star at their ends, numbers and fixed terms. No pattern of a bundle can hang a reader.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from .base import ManifestModel

_WORD = re.compile(r"\*?[a-z0-9]+\*?")


def _words(pattern: str) -> str:
    if not pattern or not all(_WORD.fullmatch(word) for word in pattern.split(" ")):
        raise ValueError(
            f"{pattern!r} is not lower-case letters and digits, in words with single blanks between them, "
            "each with a * before or after it at most"
        )
    return pattern


Words = Annotated[str, Field(max_length=64), AfterValidator(_words)]
"""Words that follow each other in a text; "t2*" is any word that begins so, "*dwi*" any that holds it."""


class BValues(ManifestModel):
    """Diffusion b-values from `minimum` to `maximum`, s/mm2."""

    minimum: float = Field(ge=0)
    maximum: float = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> "BValues":
        if self.minimum > self.maximum:
            raise ValueError("minimum must not be above maximum")
        return self


class Turn(ManifestModel):
    """The `position`-th by acquisition time, from 1, where exactly `of` series fit the rest of a rule."""

    position: int = Field(ge=1, le=32)
    of: int = Field(ge=1, le=32)

    @model_validator(mode="after")
    def _within(self) -> "Turn":
        if self.position > self.of:
            raise ValueError("position must not be above of")
        return self


class SeriesRule(ManifestModel):
    """What a series must be; all that is given must hold.

    Words are looked for in SeriesDescription (0008,103E), ProtocolName (0018,1030) and SequenceName (0018,0024), and
    in the names of NIfTI files, in lower case with anything but letters and digits between them.
    """

    words: tuple[Words, ...] = Field(default=(), description="At least one must be there.")
    without: tuple[Words, ...] = Field(default=(), description="None may be there.")
    image_type: tuple[str, ...] = Field(default=(), description="A value of ImageType (0008,0008); one must be there.")
    without_image_type: tuple[str, ...] = Field(default=(), description="None may be a value of ImageType.")
    b_value: BValues | None = Field(default=None, description="(0018,9087), else a word such as b800.")
    contrast: bool | None = Field(default=None, description="Whether ContrastBolusAgent (0018,0010) names one.")
    turn: Turn | None = Field(default=None, description="Told by acquisition time, last, among those that fit.")

    @model_validator(mode="after")
    def _says_something(self) -> "SeriesRule":
        if not (self.words or self.image_type or self.b_value or self.turn or self.contrast is not None):
            raise ValueError("a rule must ask for something that a series has")
        return self


class SeriesSpec(ManifestModel):
    """Which series one volume input is."""

    input: str = Field(description="The input's name, by which a caller may choose another series for it.")
    description: str
    match: tuple[SeriesRule, ...] = Field(
        min_length=1, description="Tried in this order; the first that a series fits decides."
    )
