"""A result as DICOM objects, each a file of its own."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from ..result import Result
from .structured_report import structured_report

if TYPE_CHECKING:
    from pydicom import Dataset

REPORT = "structured-report.dcm"


def dicom_files(result: Result, headers: "Sequence[Dataset]") -> dict[str, bytes]:
    """Name of a file -> what it holds, the same for the same result.

    Args:
        headers: as for `structured_report`.

    Raises:
        BackendError, StudyError: as `structured_report`.
    """
    stream = BytesIO()
    structured_report(result, headers).save_as(stream)
    return {REPORT: stream.getvalue()}
