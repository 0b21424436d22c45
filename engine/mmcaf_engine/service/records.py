"""Clinical records: kept in the spool, and found for the study that they are of by keyed digests alone."""

import hashlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import RecordError
from ..record.document import MAX_RECORD_BYTES
from ..record.encode import PATIENT_ID_KEY, field_key
from ..record.fhir_bundle import listed, read_bundle
from ..record.fhir_subject import Subject
from ..record.notes import Notes
from ..strict_json import parse_json
from .answers import move
from .database import transaction
from .disk import make_folder, sync_folders, write_synced
from .keys import keyed

FOLDER = "records"
_ACCESSION = ("http://terminology.hl7.org/CodeSystem/v2-0203", "ACSN")
"""HL7 table 0203: the type of an identifier that is an accession number."""
_ORDERS = ("ServiceRequest", "ImagingStudy", "DiagnosticReport")


@dataclass(frozen=True)
class Given:
    """A record as it came. patients, accessions: keyed digests of what it names."""

    content: bytes
    patients: frozenset[str]
    accessions: frozenset[str]


def read_given(content: bytes, key: bytes, name: str = "record") -> Given:
    """A flat JSON record or a FHIR R4 Bundle, and whose it is.

    Raises:
        RecordError: it is neither, or of no one patient.
    """
    document = parse_json(content, name=name, error=RecordError, max_bytes=MAX_RECORD_BYTES)
    if not isinstance(document, dict):
        raise RecordError(f"{name}: a JSON object was expected, a flat record or a FHIR Bundle.")
    patients, accessions = _named_by_fhir(document, name) if "resourceType" in document else (_named(document), set())
    return Given(content, _digests(key, "patient", patients), _digests(key, "accession", accessions))


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

    Raises:
        OSError: it cannot be written.
    """
    digest = hashlib.sha256(given.content).hexdigest()
    file = PurePosixPath(FOLDER, f"{digest}.json")
    make_folder(spool / FOLDER)
    if not (spool / file).exists():
        part = spool / FOLDER / f".{digest}.{now:.6f}.part"
        write_synced(part, given.content)
        part.replace(spool / file)
    sync_folders(spool / FOLDER, spool)  # Also of a file that is there: who wrote it may have died before.
    with transaction(connection):
        record = int(
            connection.execute(
                "insert into record(study, sha256, file, source, author, arrived) "
                "values(?, ?, ?, ?, ?, ?) returning id",
                (study, digest, str(file), source, author, now),
            ).fetchone()[0]
        )
        for kind, values in (("patient", given.patients), ("accession", given.accessions)):
            for value in sorted(values):
                connection.execute("insert into record_key values(?, ?, ?)", (record, kind, value))
        waiting = connection.execute(
            "select id, study from answer where state = 'waiting-record' order by id"
        ).fetchall()
        queued = []
        for row in waiting:
            if find_record(connection, row["study"]) == record:
                move(connection, row["id"], "waiting-record", "queued", now, {"record": record})
                queued.append(int(row["id"]))
    return record, queued


def find_record(connection: sqlite3.Connection, study: str) -> int | None:
    """The newest record of a study: one that was given for it, else one of its order, else one of its patient.

    A record that names orders is of these alone.
    """
    row = connection.execute(
        """
        select record.id, record.study is not null as given, exists(
            select 1 from record_key where record = record.id and kind = 'accession' and value = study.accession
        ) as ordered
        from study join record on record.study = study.uid or (
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


def record_content(connection: sqlite3.Connection, spool: Path, record: int) -> bytes:
    """What a record holds.

    Raises:
        OSError: it cannot be read.
    """
    row = connection.execute("select file from record where id = ?", (record,)).fetchone()
    return Path(spool, row["file"]).read_bytes()


def _named(document: Mapping[str, Any]) -> set[str]:
    return {str(value) for name, value in document.items() if field_key(name) == PATIENT_ID_KEY and value is not None}


def _named_by_fhir(document: dict[str, Any], name: str) -> tuple[set[str], set[str]]:
    entries = read_bundle(document, name, Notes())
    current, _ = Subject(entries, name).identifiers(None)
    accessions = set()
    for entry in entries:
        if entry.kind in _ORDERS:
            for identifier in listed(entry.resource, "identifier"):
                kind = identifier.get("type")
                types = listed(kind, "coding") if isinstance(kind, dict) else []
                if any((coding.get("system"), coding.get("code")) == _ACCESSION for coding in types):
                    accessions.add(str(identifier.get("value", "")))
    return set(current), accessions


def _digests(key: bytes, kind: str, values: set[str]) -> frozenset[str]:
    return frozenset(digest for value in values if (digest := keyed(key, kind, value)) is not None)
