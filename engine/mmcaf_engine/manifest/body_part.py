"""The manifest's body parts: which studies a network is for, by what their headers say was examined."""

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import ManifestModel

BodyPart = Annotated[str, Field(pattern=r"^[A-Za-z0-9_](?:[A-Za-z0-9_ ]{0,14}[A-Za-z0-9_])?$")]

Verdict = Literal["accepted", "warned", "refused"]


class BodyPartRule(ManifestModel):
    """Values of BodyPartExamined (0018,0015), upper or lower case, and what is done with a study that has one.

    A coded AnatomicRegionSequence (0008,2218) counts as its term there. A name of a protocol or procedure that holds a
    part of `refused` or `warned`, and none of `accepted`, is a warning.

    One of `refused` is refused. One of `warned` is answered with a warning, and so is one that `accepted`, where it
    names any, does not name. A study that does not say what was examined is answered.
    """

    accepted: tuple[BodyPart, ...] = ()
    warned: tuple[BodyPart, ...] = ()
    refused: tuple[BodyPart, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> "BodyPartRule":
        values = Counter(value.casefold() for value in (*self.accepted, *self.warned, *self.refused))
        if not values:
            raise ValueError("a rule of body parts must name one")
        if repeated := sorted(value.upper() for value, count in values.items() if count > 1):
            raise ValueError(f"{', '.join(repeated)}: named twice")
        return self

    def verdict(self, value: str) -> Verdict:
        """What is done with a study of this body part; an empty value is none."""
        said = value.strip().casefold()

        def among(values: tuple[str, ...]) -> bool:
            return said in {known.casefold() for known in values}

        if among(self.refused):
            return "refused"
        known = not self.accepted or among(self.accepted)
        return "accepted" if not said or (known and not among(self.warned)) else "warned"
