"""The structured report that a new one takes the place of."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import Remedy, UsageError
from ...files import read_bounded, shown_path
from ..sources import SourceImages

if TYPE_CHECKING:
    from pydicom import Dataset

MOST_BYTES = 64 << 20
_SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."
"""What the UIDs of all SOP classes of structured reports begin with."""
_NO_REPORTS = (f"{_SR_CLASSES}59",)
"""A Key Object Selection is one by its form alone."""
_REFERRED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_WHOSE = {"PatientID": ("patient", "(0010,0020)"), "StudyInstanceUID": ("study", "(0020,000D)")}


def predecessor(file: str | Path, sources: Mapping[str, SourceImages]) -> "Dataset":
    """What a report refers to its predecessor by (PS3.3 C.17.2): class, instance, series and study.

    Args:
        sources: what each input of the new answer was read from.

    Raises:
        UsageError: it cannot be read, is no structured report, or is of another patient or study.
    """
    from pydicom import Dataset, dcmread

    path = Path(file)
    name = shown_path(path)
    data = read_bounded(path, error=UsageError, max_bytes=MOST_BYTES)
    if len(data) > MOST_BYTES:
        raise _refusal(f"{name}: more than {MOST_BYTES >> 20} MiB, which no structured report has.")
    try:
        read = dcmread(BytesIO(data), specific_tags=[*_REFERRED, *_WHOSE])
        found = {keyword: str(read.get(keyword) or "") for keyword in (*_REFERRED, *_WHOSE)}
    except Exception:  # whatever pydicom makes of what is none
        raise _refusal(f"{name}: not a DICOM file.") from None
    sop_class = found["SOPClassUID"]
    if not sop_class.startswith(_SR_CLASSES) or sop_class in _NO_REPORTS or not all(map(found.get, _REFERRED)):
        raise _refusal(f"{name}: not a DICOM structured report.")
    for source in sources.values():
        header = None if source.header is None else source.header.dataset()
        for keyword, (whose, tag) in _WHOSE.items():
            if header is not None and str(header.get(keyword) or "") != found[keyword]:
                raise _refusal(f"{name}: of another {whose} than the images, by {tag} {keyword}.")
    kept = Dataset()
    for keyword in _REFERRED:
        setattr(kept, keyword, found[keyword])
    return kept


def _refusal(problem: str) -> UsageError:
    return UsageError(problem, Remedy("Name the report of this study that the new one replaces", option="replaces"))
