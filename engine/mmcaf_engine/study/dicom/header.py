"""What the study's header says of the patient."""

import re
from datetime import date, datetime
from typing import Literal

from ...volume import PatientHeader
from .instance import Instance
from .tags import Tags

DAYS_PER_YEAR = 365.25
_PER_YEAR = {"D": DAYS_PER_YEAR, "W": DAYS_PER_YEAR / 7, "M": 12.0, "Y": 1.0}
_AGE = re.compile(r"(\d{3})([DWMY])")
"""PS3.5 6.2, value representation AS: 018M is eighteen months."""


def read_patient(instance: Instance) -> PatientHeader:
    """Read the patient's identifier, sex, age and weight, and the study's date (PS3.3 C.7.1.1, C.7.2).

    The age is PatientAge, else the years from PatientBirthDate to StudyDate. What is absent,
    unreadable or implausible is None: the values only serve to check a record.
    """
    tags = instance.tags
    studied = _date(tags.text_or("StudyDate", ""))
    return PatientHeader(
        patient_id=tags.text_or("PatientID", "") or None,
        sex=_sex(tags.text_or("PatientSex", "")),
        age=_age(tags.text_or("PatientAge", ""), _date(tags.text_or("PatientBirthDate", "")), studied),
        weight=_weight(tags),
        study_date=studied,
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
        return int(match[1]) / _PER_YEAR[match[2]]
    if born is None or studied is None or born > studied:
        return None
    return (studied - born).days / DAYS_PER_YEAR


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None


def _weight(tags: Tags) -> float | None:
    weight = tags.number_or_none("PatientWeight")
    return weight if weight is not None and weight > 0 else None
