"""A result as DICOM objects, each a file of its own."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from ..drawing import Picture
from ..result import Result
from .objects import Objects
from .secondary_capture import secondary_capture
from .structured_report import structured_report

if TYPE_CHECKING:
    from pydicom import Dataset

REPORT, CAPTURE = "structured-report.dcm", "secondary-capture.dcm"


def dicom_files(result: Result, headers: "Sequence[Dataset]", picture: Picture) -> dict[str, bytes]:
    """Name of a file -> what it holds, the same for the same result.

    Args:
        headers: as for `Objects.of`.
        picture: of the answer, as `draw_card` draws it.

    Raises:
        BackendError: highdicom is not installed.
        StudyError: as `Objects.of`.
    """
    objects = Objects.of(result, headers)
    return {
        REPORT: _encoded(structured_report(objects)),
        CAPTURE: _encoded(secondary_capture(objects, picture)),
    }


def _encoded(made: "Dataset") -> bytes:
    stream = BytesIO()
    made.save_as(stream)
    return stream.getvalue()
