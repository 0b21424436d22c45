"""Clinical records: kept in the spool, and found for the study that they are of by keyed digests alone."""

import hashlib
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import RecordError, Remedy
from ..record.document import MAX_RECORD_BYTES
from ..record.encode import PATIENT_ID_KEY, field_key
from ..record.fhir_bundle import listed, read_bundle
from ..record.fhir_subject import Subject
from ..record.notes import Notes
from ..strict_json import parse_json
from .answers import move, note
from .database import transaction
from .disk import make_folder, sync_folders, write_synced
from .keys import keyed

log = logging.getLogger(__name__)

FOLDER = "records"
REFUSED = "record-refused"
"""The event that says that a record was refused."""
REPORT = ".txt"
"""A report alone, which the engine knows by its file's name."""
_ACCESSION = ("http://terminology.hl7.org/CodeSystem/v2-0203", "ACSN")
"""HL7 table 0203: the type of an identifier that is an accession number."""
_ORDERS = ("ServiceRequest", "ImagingStudy", "DiagnosticReport")


@dataclass(frozen=True)
class Given:
    """A record as it came. patients, accessions: keyed digests of what it names. former: of identifiers that its
    patient no longer has. ending: of its file's name.
    """

    content: bytes
    patients: frozenset[str] = frozenset()
    accessions: frozenset[str] = frozenset()
    former: frozenset[str] = frozenset()
    ending: str = ".json"


def read_given(content: bytes, key: bytes, name: str = "record") -> Given:
    """A flat JSON record or a FHIR R4 Bundle, and whose it is.

    Raises:
        RecordError: it is neither, or of no one patient.
    """
    document = parse_json(content, name=name, error=RecordError, max_bytes=MAX_RECORD_BYTES)
    if not isinstance(document, dict):
        raise RecordError(f"{name}: a JSON object was expected, a flat record or a FHIR Bundle.")
    if "resourceType" not in document:
        return Given(content, digests(key, "patient", _named(document)))
    patients, former, accessions = _named_by_fhir(document, name)
    return Given(
        content,
        digests(key, "patient", patients),
        digests(key, "accession", accessions),
        digests(key, "patient", former),
    )


def keep_record(
    connection: sqlite3.Connection,
    spool: Path,
    given: Given,
    *,
    source: str,
    author: str = "",
    study: str | None = None,
    now: float,
) -> tuple[int, list[int]]:
    """Enter a record, and queue the answers that waited for it; its number, and theirs.

    Args:
        source: how it came; author: who typed it, where a person did.
        study: the StudyInstanceUID that it is of, where that is said.

    The same record again, where it is the newest of those that it names, changes nothing.

    Raises:
        RecordError: it is of another patient than the study.
        OSError: it cannot be written.
    """
    if study is not None:
        refuse_other_patient(connection, given, study)
    digest = hashlib.sha256(given.content).hexdigest()
    file = PurePosixPath(FOLDER, f"{digest}{given.ending}")
    make_folder(spool / FOLDER)
    if not (spool / file).exists():
        part = spool / FOLDER / f".{digest}.{now:.6f}.part"
        write_synced(part, given.content)
        part.replace(spool / file)
    sync_folders(spool / FOLDER, spool)  # Also of a file that is there: who wrote it may have died before.
    with transaction(connection):
        same = _newest(connection, given, study)
        if same is not None and same["sha256"] == digest and same["author"] == author:
            record = int(same["id"])
        else:
            record = _enter(connection, given, (study, digest, str(file), source, author, now))
        waiting = connection.execute(
            "select id, study from answer where state = 'waiting-record' order by id"
        ).fetchall()
        queued = []
        for row in waiting:
            if find_record(connection, row["study"]) == record:
                found = {"record": record, "problem": None, "remedies": None}
                move(connection, row["id"], "waiting-record", "queued", now, found)
                queued.append(int(row["id"]))
    return record, queued


def refuse_other_patient(connection: sqlite3.Connection, given: Given, study: str) -> None:
    """The wrong-patient guard of a record that is said to be of a study, whichever way it came.

    Raises:
        RecordError: both name a patient, and not the same one.
    """
    row = connection.execute("select patient from study where uid = ?", (study,)).fetchone()
    named = given.patients | given.former
    if row is not None and row["patient"] is not None and named and row["patient"] not in named:
        raise RecordError(
            "The record's patient_id differs from the study's PatientID (0010,0020): record and study belong to "
            "different patients.",
            Remedy("Give the record of this study's patient"),
        )


def tell_refused(connection: sqlite3.Connection, problem: str, *, source: str, study: str = "", now: float) -> None:
    """A record was refused: in the log, and kept for whoever looks.

    Args:
        problem: without a word of the record or of its file's name.
    """
    log.warning("a record that came by %s was refused: %s", source, problem)
    with transaction(connection):
        note(connection, study, None, REFUSED, now, f"{source}: {problem}")


def _newest(connection: sqlite3.Connection, given: Given, study: str | None) -> sqlite3.Row | None:
    """The newest record of the same study, or of any that this one names."""
    keys = sorted(given.patients | given.accessions)
    marks = ", ".join("?" * len(keys))
    row: sqlite3.Row | None = connection.execute(
        f"select * from record where study is ? and (study is not null or exists("  # noqa: S608 - marks alone
        f"select 1 from record_key where record = record.id and value in ({marks}))) order by id desc limit 1",
        (study, *keys),
    ).fetchone()
    return row


def _enter(connection: sqlite3.Connection, given: Given, columns: tuple[object, ...]) -> int:
    record = int(
        connection.execute(
            "insert into record(study, sha256, file, source, author, arrived) values(?, ?, ?, ?, ?, ?) returning id",
            columns,
        ).fetchone()[0]
    )
    for kind, values in (("patient", given.patients), ("accession", given.accessions), ("former", given.former)):
        for value in sorted(values):
            connection.execute("insert into record_key values(?, ?, ?)", (record, kind, value))
    return record


def find_record(connection: sqlite3.Connection, study: str) -> int | None:
    """The newest record of a study: one that was given for it, else one of its order, else one of its patient.

    A record that names orders is of these alone, and one that names another patient than the study's is of no study.
    """
    row = connection.execute(
        """
        select record.id, record.study is not null as given, exists(
            select 1 from record_key where record = record.id and kind = 'accession' and value = study.accession
        ) as ordered
        from study join record on (
            record.study = study.uid
            and (study.patient is null
                or not exists(select 1 from record_key where record = record.id and kind in ('patient', 'former'))
                or exists(select 1 from record_key
                    where record = record.id and kind in ('patient', 'former') and value = study.patient))
        ) or (
            record.study is null
            and (not exists(select 1 from record_key where record = record.id and kind = 'accession')
                or exists(select 1 from record_key
                    where record = record.id and kind = 'accession' and value = study.accession))
            and (exists(select 1 from record_key
                    where record = record.id and kind = 'patient' and value = study.patient)
                or (not exists(select 1 from record_key where record = record.id and kind = 'patient')
                    and exists(select 1 from record_key
                        where record = record.id and kind = 'accession' and value = study.accession)))
        )
        where study.uid = ? order by given desc, ordered desc, record.id desc limit 1
        """,
        (study,),
    ).fetchone()
    return None if row is None else int(row["id"])


def record_source(connection: sqlite3.Connection, spool: Path, record: int) -> bytes | Path:
    """What a record holds, as the engine takes it: of a report alone its path.

    Raises:
        OSError: it cannot be read.
    """
    row = connection.execute("select file from record where id = ?", (record,)).fetchone()
    file = Path(spool, row["file"])
    return file if file.suffix == REPORT else file.read_bytes()


def _named(document: Mapping[str, Any]) -> set[str]:
    return {str(value) for name, value in document.items() if field_key(name) == PATIENT_ID_KEY and value is not None}


def _named_by_fhir(document: dict[str, Any], name: str) -> tuple[set[str], set[str], set[str]]:
    """Identifiers of its patient, those that this no longer has, and accession numbers."""
    entries = read_bundle(document, name, Notes())
    current, former = Subject(entries, name).identifiers(None)
    accessions = set()
    for entry in entries:
        if entry.kind in _ORDERS:
            for identifier in listed(entry.resource, "identifier"):
                kind = identifier.get("type")
                types = listed(kind, "coding") if isinstance(kind, dict) else []
                if any((coding.get("system"), coding.get("code")) == _ACCESSION for coding in types):
                    accessions.add(str(identifier.get("value", "")))
    return set(current), set(former), accessions


def digests(key: bytes, kind: str, values: Iterable[str]) -> frozenset[str]:
    """Keyed digests of identifiers of a kind; of empty ones none."""
    return frozenset(digest for value in values if (digest := keyed(key, kind, value)) is not None)
