"""Whose study it is, read from the spool whenever somebody may see it: the service's memory knows no patient."""

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import printable
from ..study.dicom.header import patient_of
from ..study.dicom.tags import Tags
from ..volume import PatientHeader
from .headers import text_of

if TYPE_CHECKING:
    from pydicom import Dataset

_READ = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight"),
    *("StudyDate", "StudyTime", "StudyDescription", "Modality", "AccessionNumber"),
)
_LONGEST = 200


@dataclass(frozen=True)
class Person:
    """What a page shows of a study's patient and order, as the header has it; empty where it does not say.

    header: the same as the engine compares it with a record.
    """

    name: str = field(default="", repr=False)
    id: str = field(default="", repr=False)
    born: str = field(default="", repr=False)
    sex: str = field(default="", repr=False)
    accession: str = field(default="", repr=False)
    made: str = field(default="", repr=False)
    modality: str = field(default="", repr=False)
    described: str = field(default="", repr=False)
    header: PatientHeader = field(default_factory=PatientHeader, repr=False)


NOBODY = Person()


def person_of(connection: sqlite3.Connection, spool: Path, study: str) -> Person:
    """From one of the study's images, else from a result object; nobody where neither is here any more."""
    row = connection.execute(_FILE, (study, study)).fetchone()
    header = None if row is None else _header(spool / row["file"])
    if header is None:
        return NOBODY
    said = {keyword: printable(text_of(header, keyword), _LONGEST) for keyword in _READ}
    return Person(
        name=_as_read(said["PatientName"]),
        id=said["PatientID"],
        born=_date(said["PatientBirthDate"]),
        sex=said["PatientSex"],
        accession=said["AccessionNumber"],
        made=_date(said["StudyDate"]),
        modality=said["Modality"],
        described=said["StudyDescription"],
        header=patient_of(Tags(header, "The study")),
    )


def _header(file: Path) -> "Dataset | None":
    """Some elements of a file of the spool; its pixels are not read."""
    from pydicom import config, dcmread

    try:
        with config.disable_value_validation():
            return dcmread(file, specific_tags=list(_READ), stop_before_pixels=True)
    except Exception:  # It was removed meanwhile, or was never readable; what pydicom says may quote it.
        return None


def _as_read(name: str) -> str:
    """PN as a person reads it (PS3.5 6.2): family, then the others; an ideographic form after the alphabetic one."""
    forms = []
    for form in name.split("="):
        family, *others = (part.strip() for part in form.split("^"))
        rest = " ".join(part for part in others if part)
        forms.append(", ".join(part for part in (family, rest) if part))
    return " / ".join(form for form in forms if form)


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdecimal() else text


_FILE = """
    select file from (
        select file, 0 as late from instance where study = ? and file <> ''
        union all
        select object.file, 1 from object join answer on answer.id = object.answer
            where answer.study = ? and object.file like '%.dcm'
    ) order by late limit 1
"""
