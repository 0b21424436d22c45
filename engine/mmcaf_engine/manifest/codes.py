"""The manifest's codes: what a label is called in a terminology, so that other systems need not read its name."""

from typing import Annotated

from pydantic import AfterValidator, Field

from .base import Line, ManifestModel


def _no_backslash(text: str) -> str:
    if "\\" in text:
        raise ValueError("a backslash separates values in DICOM; a code holds none")
    return text


_Coded = Annotated[Line, AfterValidator(_no_backslash)]


class Code(ManifestModel):
    """A code with the scheme that it is of, as DICOM's code sequences hold it (PS3.3 8.8)."""

    scheme: Annotated[_Coded, Field(min_length=1, max_length=16)] = Field(
        description="Coding scheme designator: SCT for SNOMED CT; one that begins with 99 is private."
    )
    value: Annotated[_Coded, Field(min_length=1, max_length=64)]
    meaning: Annotated[_Coded, Field(min_length=1, max_length=64)]
