"""Studies that wait for their record have it searched for at a FHIR server, until it is there or their time is over."""

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from ..errors import CancelledError, MmcafError, RecordError, Remedy, ServiceError, StudyError
from ..manifest import Manifest
from ..record.record import read_record
from .answers import as_json
from .config import Config
from .database import transaction
from .fhir_client import FhirClient, SearchError
from .fhir_search import Sought, find_bundle
from .headers import series_header, text_of
from .records import keep_record, read_given

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 120.0
"""Between two searches for one study; where the server is down, for any: doubled each time."""
SOURCE = "fhir"
_REMEDIES = (Remedy("Put it right at the FHIR server, which is asked again"), Remedy("Or give the record on its page"))


@dataclass
class _Asked:
    """How often a study was asked for, and when it is next."""

    tries: int = 0
    due: float = 0.0


class RecordSearch:
    """Asks for one study at a time.

    Args:
        manifests: bundle -> its manifest: a record is taken once one of the bundles that wait can use it.
        key: of the spool.
        between: called before each request; what it raises ends the search.
    """

    def __init__(
        self,
        config: Config,
        manifests: Mapping[str, Manifest],
        key: bytes,
        *,
        between: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._manifests, self._key = config, manifests, key
        self._between, self._clock = between, clock
        self._asked: dict[str, _Asked] = {}
        self._server = _Asked()

    def step(self, connection: sqlite3.Connection) -> bool:
        """Ask for the study that has been due for longest; False where none is."""
        now = self._clock()
        rows = connection.execute(
            "select distinct study from answer where state = 'waiting-record' order by study"
        ).fetchall()
        self._asked = {row["study"]: self._asked.get(row["study"], _Asked()) for row in rows}
        due = [study for study, asked in self._asked.items() if asked.due <= now]
        if not due or self._server.due > now:
            return False
        study = min(due, key=lambda one: self._asked[one].due)
        try:
            content = self._find(connection, study)
            self._server = _Asked()
        except CancelledError:
            raise
        except (SearchError, MmcafError) as failure:
            down = isinstance(failure, ServiceError) or (isinstance(failure, SearchError) and failure.down)
            why = failure.discreet if not isinstance(failure, SearchError) else f"{failure}."
            _wait(self._server if down else self._asked[study], now)
            if not down:
                self._server = _Asked()
            self._say(connection, study, f"The record was not found at {_host(self._config)}: {why}")
            return True
        given = read_given(content, self._key)
        _, queued = keep_record(connection, self._config.spool, given, source=SOURCE, study=study, now=now)
        log.info("a record was found for %d answers", len(queued))
        return True

    def _find(self, connection: sqlite3.Connection, study: str) -> bytes:
        sought, made = self._sought(connection, study)
        content = find_bundle(FhirClient(self._config.records, self._between), sought)
        rows = connection.execute(
            "select distinct bundle from answer where study = ? and state = 'waiting-record'", (study,)
        ).fetchall()
        manifests = []
        for row in rows:
            with suppress(KeyError, MmcafError):  # Of one that is no longer there, or a shadow that cannot be loaded.
                manifests.append(self._manifests[row["bundle"]])
        _refuse_unusable(content, manifests, made)
        return content

    def _sought(self, connection: sqlite3.Connection, study: str) -> tuple[Sought, date | None]:
        row = connection.execute(
            "select file from instance where study = ? and file <> '' limit 1", (study,)
        ).fetchone()
        if row is None:
            raise StudyError("The study's images are gone.")
        file = Path(self._config.spool, row["file"])
        header = series_header(file, ("PatientID", "AccessionNumber", "StudyDate"))
        patient = text_of(header, "PatientID")
        if not patient:
            raise StudyError("The study has no PatientID (0010,0020) to search for.")
        return Sought(patient, text_of(header, "AccessionNumber")), _date(text_of(header, "StudyDate"))

    def _say(self, connection: sqlite3.Connection, study: str, problem: str) -> None:
        """On the answers that wait; in the log where it is new."""
        with transaction(connection):
            changed = connection.execute(
                "update answer set problem = ?, remedies = ? where study = ? and state = 'waiting-record' "
                "and problem is not ? returning id",
                (problem, as_json(_REMEDIES), study, problem),
            ).fetchall()
        for row in changed:
            log.warning("answer %d: %s", row["id"], problem)


def _refuse_unusable(content: bytes, manifests: Sequence[Manifest], made: date | None) -> None:
    """Raises RecordError where none of these networks can use a record: what it lacks may still be entered."""
    refusal: RecordError | None = None
    for manifest in manifests:
        try:
            read_record(content, manifest.table, text=manifest.text, lesion=manifest.lesion_field, study_date=made)
            return
        except RecordError as failure:
            refusal = failure
    if refusal is not None:
        raise refusal


def _wait(asked: _Asked, now: float) -> None:
    pause = min(FIRST_WAIT_S * 2.0 ** min(asked.tries, 20), LONGEST_WAIT_S)
    asked.due = now + pause * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
    asked.tries += 1


def _host(config: Config) -> str:
    from urllib.parse import urlsplit

    return urlsplit(str(config.records.fhir_url)).hostname or "the FHIR server"


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None
