"""One series is of one patient, one study and one frame of reference."""

from collections.abc import Sequence

from ...errors import StudyError
from ..dicom.frames import Frame
from ..dicom.tags import describe

_ONE = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID")
_WHERE_SAID = (*("IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight"),)
"""Of a patient whose number may be empty, or that of another one elsewhere; what is absent contradicts nothing."""


def refuse_mixture(frames: Sequence[Frame], name: str) -> None:
    """Refuse slices of several patients, or of several examinations: positions mean nothing across them.

    Args:
        name: the study, as messages call it.

    Raises:
        StudyError: an element differs; the message does not say its values.
    """
    tags = {id(frame.instance): frame.instance.tags for frame in frames}.values()
    found = {keyword: {one.text(keyword) for one in tags} for keyword in _ONE}
    found |= {keyword: {_plain(one.text_or(keyword, "")) for one in tags} - {""} for keyword in _WHERE_SAID}
    for keyword, values in found.items():
        if len(values) > 1:
            raise StudyError(
                f"{name}: the slices of one series carry {len(values)} different values of {describe(keyword)}; "
                "one was expected.",
                "Send the study again from its source.",
            )


def _plain(text: str) -> str:
    """A name without what programs that send it on change: case, blanks, empty parts and other scripts (PS3.5 6.2)."""
    parts = text.partition("=")[0].casefold().split("^")
    return "^".join(" ".join(part.split()) for part in parts).rstrip("^")
