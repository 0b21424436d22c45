"""A result as DICOM objects, each a file of its own."""

from collections.abc import Callable, Mapping

from ..drawing import Picture
from ..result import Result
from ..sources import SourceImages
from .kinds import Kinds, chosen_kinds
from .objects import Objects, encoded
from .secondary_capture import secondary_capture
from .structured_report import structured_report

REPORT, CAPTURE = "structured-report.dcm", "secondary-capture.dcm"


def dicom_files(
    result: Result, sources: Mapping[str, SourceImages], picture: Callable[[], Picture], kinds: Kinds = None
) -> dict[str, bytes]:
    """Name of a file -> what it holds, the same for the same result.

    Args:
        sources: what each input was read from.
        picture: draws the answer, as `draw_card` does.
        kinds: which objects; by default the structured report and the Secondary Capture.

    Raises:
        UsageError: an object of another name.
        BackendError: highdicom is not installed.
        StudyError: as `Objects.of`.
    """
    wanted = chosen_kinds(kinds)
    objects = Objects.of(result, sources, wanted)
    files = {}
    if "sr" in wanted:
        files[REPORT] = structured_report(objects)
    if "sc" in wanted:
        files[CAPTURE] = secondary_capture(objects, picture())
    return {name: encoded(made) for name, made in files.items()}
