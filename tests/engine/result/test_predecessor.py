"""A report that takes the place of another names it, and is refused what is none of this study."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from mmcaf_engine.errors import UsageError
from mmcaf_engine.result.writers.dicom import dicom_files
from refusals import refused
from tiny_result import REPORT, picture, sources, tiny_result


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    file = tmp_path / REPORT
    file.write_bytes(report_after(None))
    return file


def report_after(replaces: Path | None, probability: float = 0.7) -> bytes:
    result = replace(tiny_result(), probability=probability)
    return dicom_files(result, sources(result), picture, "sr", replaces=replaces)[REPORT]


def test_the_new_report_names_the_earlier_one(earlier: Path) -> None:
    old, new = dcmread(earlier), dcmread(BytesIO(report_after(earlier, 0.6)))
    assert "PredecessorDocumentsSequence" not in old
    [study] = new.PredecessorDocumentsSequence
    [series] = study.ReferencedSeriesSequence
    [instance] = series.ReferencedSOPSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == (old.StudyInstanceUID, old.SeriesInstanceUID)
    assert (instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID) == (old.SOPClassUID, old.SOPInstanceUID)


def test_a_report_with_a_predecessor_is_another_object_and_the_same_again(earlier: Path) -> None:
    once, again = report_after(earlier), report_after(earlier)
    assert once == again
    assert dcmread(BytesIO(once)).SOPInstanceUID != dcmread(earlier).SOPInstanceUID


WRONG: dict[str, tuple[Callable[[Dataset], None], tuple[str, ...]]] = {
    "patient": (lambda one: setattr(one, "PatientID", "SECRET 8"), ("patient", "(0010,0020)")),
    "no patient": (lambda one: delattr(one, "PatientID"), ("patient", "(0010,0020)")),
    "study": (lambda one: setattr(one, "StudyInstanceUID", "1.2.3"), ("study", "(0020,000D)")),
    "class": (lambda one: setattr(one, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), ("structured report",)),
    "key objects": (lambda one: setattr(one, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.88.59"), ("structured report",)),
    "nameless": (lambda one: delattr(one, "SOPInstanceUID"), ("structured report",)),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_report_of_this_study(case: str, earlier: Path) -> None:
    edit, facts = WRONG[case]
    report = dcmread(earlier)
    edit(report)
    report.save_as(earlier)
    with refused(UsageError, REPORT, *facts, option="replaces") as caught:
        report_after(earlier)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"no DICOM", b"\0" * 128 + b"DICM" + b"\xff" * 100])
def test_what_is_no_dicom_file(data: bytes, tmp_path: Path) -> None:
    (tmp_path / REPORT).write_bytes(data)
    with refused(UsageError, REPORT, option="replaces"):
        report_after(tmp_path / REPORT)
    with refused(UsageError, "none.dcm"):
        report_after(tmp_path / "none.dcm")
