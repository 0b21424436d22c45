"""What the study's header says of the patient."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from dicom_factory import change, ct_slice, write
from mmcaf_engine.study import read_study

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

VALUES = np.zeros((1, 6, 7), np.int16)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, 63.0),
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "026W"}, 26 * 7 / 365.25),
        ({"PatientAge": "010D"}, 10 / 365.25),
        ({"PatientAge": None}, 23103 / 365.25),
        ({"PatientAge": None, "StudyDate": None}, None),
        ({"PatientAge": None, "PatientBirthDate": "20990101"}, None),
        ({"PatientAge": None, "PatientBirthDate": ""}, None),
        ({"PatientAge": "65Y"}, 65.0),
        ({"PatientAge": "18m"}, 1.5),
        ({"PatientAge": "7 W"}, 49 / 365.25),
        ({"PatientAge": None, "PatientBirthDate": "1961.02.03"}, 23103 / 365.25),
        ({"PatientAge": "65", "PatientBirthDate": ""}, None),
        ({"PatientAge": None, "PatientBirthDate": "1961.0203"}, None),
    ],
    ids=["years", "months", "weeks", "days", "from-dates", "no-date", "born-later", "no-birth-date"]
    + ["two-digits", "lower-case", "blank", "points", "no-unit", "one-point"],
)
def test_age_in_years(elements: dict[str, str | None], expected: float | None, tmp_path: Path) -> None:
    image = change(ct_slice(VALUES[0]), **elements)
    age = read_study(write(image, tmp_path / "slice")).patient.age
    assert age == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20240506", date(2024, 5, 6)), ("2024", None), ("20241399", None), (None, None)]
    + [("2024.05.06", date(2024, 5, 6)), ("2024146", None)],
    ids=["given", "year-only", "no-such-day", "absent", "points", "too-short"],
)
def test_study_date(text: str | None, expected: date | None, tmp_path: Path) -> None:
    image = change(ct_slice(VALUES[0]), StudyDate=text)
    assert read_study(write(image, tmp_path / "slice")).patient.study_date == expected


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, ("PHI-4711", "F", 71.5)),
        ({"PatientSex": "M", "PatientWeight": "80"}, ("PHI-4711", "M", 80.0)),
        ({"PatientSex": "O", "PatientWeight": 0, "PatientID": ""}, (None, None, None)),
        ({"PatientSex": None, "PatientWeight": None, "PatientID": None}, (None, None, None)),
    ],
    ids=["given", "other", "unknown", "absent"],
)
def test_patient(elements: dict[str, object], expected: tuple[object, ...], tmp_path: Path) -> None:
    patient = read_study(write(change(ct_slice(VALUES[0]), **elements), tmp_path / "slice")).patient
    assert (patient.patient_id, patient.sex, patient.weight) == expected


AGE, BIRTH, SEX = "(0010,1010) PatientAge", "(0010,0030) PatientBirthDate", "(0010,0040) PatientSex"


@pytest.mark.parametrize(
    ("elements", "unread"),
    [
        ({}, ()),
        ({"PatientAge": "65Y"}, ()),
        ({"PatientAge": "65", "PatientBirthDate": ""}, (AGE,)),
        ({"PatientAge": "65"}, ()),
        ({"PatientAge": "", "PatientBirthDate": "3.2.1961"}, (BIRTH,)),
        ({"PatientAge": "old", "PatientBirthDate": "1961"}, (AGE, BIRTH)),
        ({"PatientSex": "W"}, (SEX,)),
        ({"PatientSex": "O"}, ()),
        ({"PatientSex": ""}, ()),
        ({"StudyDate": "2024"}, ("(0008,0020) StudyDate",)),
        ({"PatientWeight": 0}, ()),
        ({"PatientWeight": None, "PatientAge": None, "PatientBirthDate": None, "PatientSex": None}, ()),
    ],
    ids=str,
)
def test_what_has_a_value_that_cannot_be_read_is_named(
    elements: dict[str, object], unread: tuple[str, ...], tmp_path: Path
) -> None:
    patient = read_study(write(change(ct_slice(VALUES[0]), **elements), tmp_path / "slice")).patient
    assert patient.unread == unread


@pytest.mark.parametrize(
    ("age", "born", "told"),
    [
        ("063Y", "19610203", ()),
        ("062Y", "19610203", ()),
        ("030Y", "19610203", (AGE, BIRTH)),
        ("063Y", "20100101", (AGE, BIRTH)),
        ("063Y", "", ()),
        ("063Y", "20300101", ()),
        ("018M", "19610203", (AGE, BIRTH)),
    ],
)
def test_an_age_that_contradicts_the_birth_date_is_told(
    age: str, born: str, told: tuple[str, ...], tmp_path: Path
) -> None:
    image = change(ct_slice(VALUES[0]), PatientAge=age, PatientBirthDate=born, StudyDate="20240315")
    assert read_study(write(image, tmp_path / "slice")).patient.contradicting == told
