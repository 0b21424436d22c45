"""What the study's header says of the patient."""

import re
from datetime import date
from typing import Literal

from ...volume import PatientHeader
from .instance import Instance
from .tags import Tags, describe

_COMPARED = ("StudyDate", "PatientSex", "PatientAge", "PatientBirthDate", "PatientWeight")
DAYS_PER_YEAR = 365.25
YEARS_APART = 1.5
"""An age is of whole years, and may have been written before the study."""
_PER_YEAR = {"D": DAYS_PER_YEAR, "W": DAYS_PER_YEAR / 7, "M": 12.0, "Y": 1.0}
_AGE = re.compile(r"(\d{1,3}) ?([DWMY])", re.ASCII | re.IGNORECASE)
"""PS3.5 6.2, value representation AS: 018M is eighteen months; some write 18M."""
_DATE = re.compile(r"(\d{4})(\.?)(\d{2})\2(\d{2})", re.ASCII)
"""PS3.5 6.2, value representation DA: 19610203; 1961.02.03 in what ACR-NEMA has left."""


def read_patient(instance: Instance) -> PatientHeader:
    """Of an image; see `patient_of`."""
    return patient_of(instance.tags)


def patient_of(tags: Tags) -> PatientHeader:
    """Read the patient's identifier, sex, age and weight, and the study's date (PS3.3 C.7.1.1, C.7.2).

    The age is PatientAge, else the years from PatientBirthDate to StudyDate. What is absent,
    unreadable or implausible is None: the values only serve to check a record.
    """
    said = {keyword: tags.text_or(keyword, "") for keyword in _COMPARED}
    studied, born = _date(said["StudyDate"]), _date(said["PatientBirthDate"])
    found: dict[str, object] = {
        "StudyDate": studied,
        "PatientSex": _sex(said["PatientSex"]) or ("O" if said["PatientSex"].upper() == "O" else None),
        "PatientWeight": tags.number_or_none("PatientWeight"),
    }
    age = _age(said["PatientAge"], born, studied)
    if age is None:  # One of the two is enough.
        found |= {"PatientAge": None, "PatientBirthDate": born}
    return PatientHeader(
        patient_id=tags.text_or("PatientID", "") or None,
        sex=_sex(said["PatientSex"]),
        age=age,
        weight=_weight(tags),
        study_date=studied,
        unread=tuple(describe(keyword) for keyword, value in found.items() if said[keyword] and value is None),
        contradicting=_contradicting(age, born, studied),
    )


def _sex(text: str) -> Literal["M", "F"] | None:
    match text.upper():
        case "M":
            return "M"
        case "F":
            return "F"
    return None


def _age(age: str, born: date | None, studied: date | None) -> float | None:
    if match := _AGE.fullmatch(age):
        return int(match[1]) / _PER_YEAR[match[2].upper()]
    if born is None or studied is None or born > studied:
        return None
    return (studied - born).days / DAYS_PER_YEAR


def _contradicting(age: float | None, born: date | None, studied: date | None) -> tuple[str, ...]:
    """PatientAge and PatientBirthDate, where both are known and more than a year apart."""
    by_birth = _age("", born, studied)
    if age is None or by_birth is None or abs(age - by_birth) <= YEARS_APART:
        return ()
    return describe("PatientAge"), describe("PatientBirthDate")


def _date(text: str) -> date | None:
    match = _DATE.fullmatch(text)
    try:
        return None if match is None else date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None


def _weight(tags: Tags) -> float | None:
    weight = tags.number_or_none("PatientWeight")
    return weight if weight is not None and weight > 0 else None
