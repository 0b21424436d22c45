"""A folder that is watched for records: JSON, FHIR Bundles, tables with a record in each row, and reports."""

import logging
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import RecordError, ServiceError
from ..record.document import MAX_RECORD_BYTES
from .keys import keyed
from .receipt import folder_of
from .record_tables import split_table
from .records import REPORT, Given, keep_record, read_given, refuse_other_patient, tell_refused
from .settling import PATIENCE_S, SETTLED_S, Settling

log = logging.getLogger(__name__)

ASIDE = "refused"
SOURCE = "the records folder"
_TABLES = (".csv", ".tsv")
_JSON = (".json", ".fhir")
_NAME = "The file"


class RecordFolder:
    """Takes records that are put there; what cannot be taken is moved into its folder `refused`.

    A file whose name is a StudyInstanceUID with an ending is the record of that study; others say themselves whom they
    are of. A report (.txt) says nobody, so that it needs such a name.

    Args:
        folder: is made where it is missing.
        spool: where records are kept.
        key: of the spool.
        clock: only its differences count.
    """

    def __init__(self, folder: Path, spool: Path, key: bytes, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._spool, self._key = folder, spool, key
        self._settling = Settling(clock)
        make_records_folder(folder)

    def look(self, connection: sqlite3.Connection) -> int:
        """Take every file that is whole; how many that were."""
        files = sorted(self._files())
        self._settling.forget_all_but(files)
        taken = 0
        for file in files:
            try:
                taken += self._take(connection, file)
            except OSError as failure:
                if self._settling.is_new_trouble(file):
                    log.warning("a file of the records folder cannot be taken: %s", failure.strerror)
        return taken

    def _files(self) -> Iterator[Path]:
        for place, folders, names in os.walk(self._folder):
            folders[:] = [name for name in folders if name != ASIDE and not name.startswith(".")]
            yield from (Path(place, name) for name in names if not name.startswith((".", "~")))

    def _take(self, connection: sqlite3.Connection, file: Path) -> bool:
        try:
            unchanged_s = self._settling.unchanged_s(file)
            if unchanged_s < SETTLED_S:
                return False
            content = _read(file)
            if _seems_cut(file, content) and unchanged_s < PATIENCE_S:
                return False
            study, given = self._given(file, content)
            self._keep(connection, study, given)
        except RecordError as refusal:
            return self._refuse(connection, file, refusal.discreet)
        file.unlink(missing_ok=True)
        return True

    def _given(self, file: Path, content: bytes) -> tuple[str | None, list[tuple[str | None, Given]]]:
        """The study that the file's name says, and what it holds: each record with the study that it says itself."""
        named = file.stem if folder_of(file.stem) == file.stem and "." in file.stem else None
        ending = file.suffix.lower()
        if ending == REPORT:
            if named is None:
                raise RecordError(f"{_NAME} is a report, which says nobody; its name must be a StudyInstanceUID.")
            return named, [(None, Given(content, ending=REPORT))]
        if ending in _TABLES:
            return named, [
                (row.study or None, _of_row(row.content, row.patient, row.accession, self._key))
                for row in split_table(content, _NAME)
            ]
        if ending not in _JSON:
            raise RecordError(f"{_NAME} ends in none of {', '.join((*_JSON, *_TABLES, REPORT))}.")
        return named, [(None, read_given(content, self._key, _NAME))]

    def _keep(self, connection: sqlite3.Connection, named: str | None, every: list[tuple[str | None, Given]]) -> None:
        if named is not None and len(every) > 1:
            raise RecordError(f"{_NAME} has a study's name and {len(every)} records; one was expected.")
        for said, given in every:
            study = said or named
            if study is not None:
                refuse_other_patient(connection, given, study)
            elif not (given.patients or given.accessions):
                raise RecordError(f"{_NAME} does not say whom it is of; patient_id was expected.")
        for said, given in every:
            keep_record(connection, self._spool, given, source=SOURCE, study=said or named, now=time.time())

    def _refuse(self, connection: sqlite3.Connection, file: Path, why: str) -> bool:
        aside = self._folder / ASIDE
        aside.mkdir(exist_ok=True)
        number = time.time_ns()
        file.replace(aside / f"{number}-{file.name}")
        tell_refused(connection, f"{why} It lies in {ASIDE} as {number}-...", source=SOURCE, now=time.time())
        return False


def make_records_folder(folder: Path) -> None:
    """Where records are put, made where it is missing.

    Raises:
        ServiceError: it cannot be, or what lies in it cannot be moved.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        movable = os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    except OSError as failure:
        raise ServiceError(f"The records folder {folder} cannot be made: {failure.strerror}.") from None
    if not movable:
        raise ServiceError(f"The records folder {folder} cannot be written to.", "Check the folder's rights.")


def _read(file: Path) -> bytes:
    """Its content; of nothing but a plain file, and no more than a record may have.

    Raises:
        RecordError: it is no such file. OSError: it cannot be read.
    """
    if file.is_symlink():
        raise RecordError(f"{_NAME} is a link.")
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise RecordError(f"{_NAME} is no plain file.")
        content = stream.read(MAX_RECORD_BYTES + 1)
    if len(content) > MAX_RECORD_BYTES:
        raise RecordError(f"{_NAME} has more than {MAX_RECORD_BYTES} bytes.")
    return content


def _seems_cut(file: Path, content: bytes) -> bool:
    """Whether somebody may still be writing it: JSON ends with its brace, lines end with a line feed."""
    end = content.rstrip(b" \t\r\n")[-1:]
    return end != b"}" if file.suffix.lower() in _JSON else not content.endswith((b"\n", b"\r"))


def _of_row(content: bytes, patient: str, accession: str, key: bytes) -> Given:
    patients, accessions = keyed(key, "patient", patient), keyed(key, "accession", accession)
    return Given(
        content,
        frozenset() if patients is None else frozenset({patients}),
        frozenset() if accessions is None else frozenset({accessions}),
        ending=".csv",
    )
