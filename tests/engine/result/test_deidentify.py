"""A result without anything of the patient: names of files, UIDs, the record, dates, what somebody wrote."""

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from mmcaf_engine.errors import printable
from mmcaf_engine.result.deidentify import HIDDEN, deidentify, pseudonym
from mmcaf_engine.result.parts import Evidence, RecordSummary
from mmcaf_engine.result.result import Result
from tiny_result import OPTIONS, UID
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


@pytest.mark.parametrize("name", ["Doe  Jane", "Doe\tJane", "Doe Jane " + "x" * 150], ids=["blanks", "tab", "long"])
def test_a_name_is_hidden_as_messages_show_it(name: str, tmp_path: Path) -> None:
    """On one line, with one blank between words, and cut."""
    (tmp_path / name).touch()
    assert said(deidentify(result(f"{printable(name, 128)}: a gap"), tmp_path)) == {(f"{HIDDEN}: a gap",)}


def test_names_within_an_archive_are_hidden_without_their_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.writestr("series/jane.dcm", b"")
    assert said(deidentify(result("jane.dcm: a gap"), tmp_path / "study.zip")) == {(f"{HIDDEN}: a gap",)}


def test_of_the_record_and_the_time_nothing_stays_and_of_the_rest_all() -> None:
    whole = result()
    hidden = deidentify(whole)
    assert hidden.created is None
    assert hidden.record == RecordSummary({}, ("weight",), None, "matched", ())
    assert hidden.study.uids == {"study": pseudonym(UID)}
    assert hidden.evidence == (Evidence("image", "1.2.840.10008.5.1.4.1.1.2", pseudonym(f"{UID}.1"), None),)
    changed = ("created", "record", "study", "evidence")
    assert replace(hidden, **{name: getattr(whole, name) for name in changed}) == whole
    assert replace(hidden.study, uids=whole.study.uids) == whole.study


OTHER = pseudonym(UID)


@pytest.mark.parametrize(
    ("source", "shown"), [(UID, OTHER), ("1.nii.gz", HIDDEN), ("jane.nii", HIDDEN), ("", ""), ("3", "3")]
)
def test_a_series_has_another_uid_and_no_files_name(source: str, shown: str) -> None:
    whole = result(sources=(source,))
    options = replace(OPTIONS, series={"image": source}, row=7)
    hidden = deidentify(replace(whole, options=options))
    [series] = hidden.study.selection
    assert series.source == shown and series.chosen == "the only one"
    assert hidden.options == replace(OPTIONS, series={"image": shown})


def test_a_pseudonym_is_a_uid_that_is_always_the_same() -> None:
    assert OTHER == pseudonym(UID) != pseudonym(f"{UID}.1")
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{1,38}", OTHER) and len(OTHER) <= 64


def test_a_uid_within_a_sentence_is_replaced_and_other_numbers_stay() -> None:
    said_of = f"series 1.2.840.10008.5.1, 2.5 mm, version 2026.4.1 of 3.11.7, {UID}"
    [sentence] = deidentify(result(said_of)).warnings
    assert sentence == said_of.replace("1.2.840.10008.5.1", pseudonym("1.2.840.10008.5.1"))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a: (0018,0015) BodyPartExamined is DOE, which", "a: (0018,0015) BodyPartExamined [header]"),
        ("the study has no PatientID (0010,0020); so", "the study has no PatientID (0010,0020); so"),
        (
            "read series 3, CT, 1 slice; left out series 5, DOE (oblique)",
            "read series 3, CT, 1 slice; left out [header]",
        ),
        ("4 of 9 word pieces were left out", "4 of 9 word pieces were left out"),
    ],
    ids=["element", "no-value", "others", "words"],
)
def test_a_sentence_does_not_say_what_stands_in_the_header(given: str, shown: str) -> None:
    assert said(deidentify(result(given))) == {(shown,)}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("row 17 of 30 of the record's table was read.", "[record] of the record's table was read."),
        ("t_stage: T1mi was read as T1, of which it is part.", "t_stage: [record]"),
        (
            "smoking_history: the latest observation (LOINC 72166-2) says never; an older one contradicts that.",
            "smoking_history: the latest observation (LOINC 72166-2) says [record]",
        ),
        (
            "2 observation(s) of t_stage say TX, which means that it could not be assessed, and were passed over.",
            "2 observation(s) of t_stage say [record]",
        ),
        ("the record's Patient died 12 days before the study.", "the record's Patient died [record] before the study."),
        (
            "weight was observed 1 day after the study (LOINC 1-8); none is of before.",
            "weight was observed [record] after the study (LOINC 1-8); none is of before.",
        ),
        (
            "the record's Patient.gender is other, which counts as missing.",
            "the record's Patient.gender is [record], which counts as missing.",
        ),
    ],
    ids=["row", "part", "latest", "unknown", "died", "observed", "gender"],
)
def test_a_sentence_does_not_say_what_stands_in_the_record(given: str, shown: str) -> None:
    assert said(deidentify(result(given))) == {(shown,)}


@pytest.mark.parametrize(("part", "shown"), [("CHEST", "CHEST"), ("QUIXANO", None), (None, None)])
def test_a_part_of_the_body_stays_where_it_is_a_term(part: str | None, shown: str | None) -> None:
    whole = result()
    assert deidentify(replace(whole, study=replace(whole.study, body_part=part))).study.body_part == shown


def test_of_a_result_of_version_1_what_is_not_known_stays_so() -> None:
    hidden = deidentify(replace(result(), record=None, evidence=None, options=None))
    assert (hidden.record, hidden.evidence, hidden.options) == (None, None, None)
