"""A result without anything of the patient: names of files and folders in every warning, features, NIfTI files."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from mmcaf_engine.result.deidentify import HIDDEN, deidentify
from mmcaf_engine.result.result import RecordSummary, Result
from tiny_result import UID
from tiny_result import tiny_result as result


def said(hidden: Result) -> set[tuple[str, ...]]:
    """The warnings of all parts, and the remarks."""
    assert hidden.record is not None
    return {hidden.warnings, hidden.remarks, hidden.study.warnings, hidden.record.warnings}


def test_names_are_hidden_in_the_warnings_of_every_part(tmp_path: Path) -> None:
    (tmp_path / "Doe").mkdir()
    (tmp_path / "Doe" / "jane.dcm").touch()
    hidden = deidentify(result("jane.dcm of Doe: a gap"), tmp_path / "Doe")
    assert said(hidden) == {(f"{HIDDEN} of {HIDDEN}: a gap",)}


def test_a_name_that_holds_another_one_is_hidden_whole(tmp_path: Path) -> None:
    for name in ("doe", "doe-jane"):
        (tmp_path / name).touch()
    assert said(deidentify(result("doe-jane is short"), tmp_path)) == {(f"{HIDDEN} is short",)}


def test_names_within_an_archive_are_hidden_without_their_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.writestr("series/jane.dcm", b"")
    assert said(deidentify(result("jane.dcm: a gap"), tmp_path / "study.zip")) == {(f"{HIDDEN}: a gap",)}


def test_of_a_record_no_feature_stays_and_of_the_rest_all() -> None:
    whole = result()
    hidden = deidentify(whole)
    assert hidden.record == RecordSummary({}, ("weight",), ())
    assert replace(hidden, record=whole.record) == whole


@pytest.mark.parametrize(("source", "shown"), [(UID, UID), ("1.nii.gz", HIDDEN), ("jane.nii", HIDDEN)])
def test_a_series_keeps_its_uid_and_no_files_name(source: str, shown: str) -> None:
    [series] = deidentify(result(sources=(source,))).study.series
    assert series.source == shown and series.chosen == "the only one"
