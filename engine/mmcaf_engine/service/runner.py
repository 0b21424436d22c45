"""Answers what is queued for one bundle, one study at a time, and freezes the result on the disk."""

import hashlib
import json
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Literal

from ..cancel import CancelToken
from ..errors import CancelledError, MmcafError, RecordError, Remedy, StrictError, StudyError
from ..pipeline import Answerer
from ..result.answer import Answer
from ..result.writers.dicom import NAMES
from ..result.writers.kinds import USUAL
from .answers import LEASE_S, Claimed, FrozenObject, claim, freeze, give_up, put_back, renew
from .compare import compare_new
from .config import Config, Route
from .database import open_database
from .disk import is_full, make_folder, sync_folders, write_synced
from .headers import read_header, text_of
from .records import record_source
from .routing import Routed, destinations_of, files_of, gathered, in_words, route_study

log = logging.getLogger(__name__)

RESULTS = "results"
RESULT, FHIR, PAGE = "result.json", "fhir.json", "answer.html"
"""What lies beside the DICOM objects of an answer."""
_Ended = Literal["refused", "failed"]


class Runner:
    """Works for one bundle.

    Args:
        bundle: its name in the configuration.
        answerer: with its open session.
        owner: of leases, the same whenever this process is started again.
        ended: set where the service stops: the answer under way goes back to the queue.
    """

    def __init__(
        self,
        config: Config,
        bundle: str,
        answerer: Answerer,
        owner: str,
        *,
        ended: threading.Event | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ended = ended or threading.Event()
        self._config = config
        self._bundle = bundle
        self._answerer = answerer
        self._owner = owner
        self._clock = clock
        self._interrupted: Claimed | None = None
        own = next(one for one in config.bundle if one.name == bundle)
        self._routed_as = own.shadow_of or own.name

    def step(self, connection: sqlite3.Connection) -> bool:
        """Answer the most urgent study; False where none is queued.

        Raises:
            OSError, sqlite3.Error: the disk is full; the answer goes back to the queue, now or with the next step.
        """
        if self._interrupted is not None:
            put_back(connection, self._interrupted, self._owner, self._clock())
            self._interrupted = None
        claimed = claim(connection, self._bundle, self._owner, self._clock())
        if claimed is None:
            return False
        started = time.monotonic()
        try:
            with self._alive(claimed) as token:
                self._answer(connection, claimed, token)
        except CancelledError:
            if self._ended.is_set():
                put_back(connection, claimed, self._owner, self._clock())
            log.info("answer %d ended: it is no longer wanted, or the service stops", claimed.id)
        except MmcafError as refusal:
            state: _Ended = "refused" if isinstance(refusal, StudyError | RecordError | StrictError) else "failed"
            self._give_up(connection, claimed, state, refusal.discreet, refusal.remedies, refusal.exit_code)
        except Exception as failure:
            if is_full(failure):
                self._interrupted = claimed
                raise
            self._fail(connection, claimed, failure)
        else:
            log.info("answer %d written in %.1f s", claimed.id, time.monotonic() - started)
        return True

    def _fail(self, connection: sqlite3.Connection, claimed: Claimed, failure: Exception) -> None:
        """Its words may quote the study."""
        if isinstance(failure, OSError):
            problem = f"The answer could not be written: {failure.strerror}."
            self._give_up(connection, claimed, "failed", problem, [Remedy("Look at the spool's disk")], 9)
        else:  # A bug of ours ends one answer, not the service.
            log.error("answer %d: a bug: %s", claimed.id, type(failure).__name__)
            problem = f"A bug of mmcaf-infer ended it: {type(failure).__name__}."
            self._give_up(connection, claimed, "failed", problem, [Remedy("Report it to its authors")], 1)

    def _give_up(
        self,
        connection: sqlite3.Connection,
        claimed: Claimed,
        state: _Ended,
        problem: str,
        remedies: Sequence[Remedy],
        exit_code: int,
    ) -> None:
        log.warning("answer %d %s: exit code %d", claimed.id, state, exit_code)
        now, said = self._clock(), in_words(problem, self._config.spool)
        give_up(connection, claimed, self._owner, now, state, problem=said, remedies=remedies, exit_code=exit_code)

    def _answer(self, connection: sqlite3.Connection, claimed: Claimed, token: CancelToken) -> None:
        routed = self._routed(connection, claimed)
        options = routed.route.options
        record = None if claimed.record is None else record_source(connection, self._config.spool, claimed.record)
        series = files_of(connection, claimed.study, claimed.generation)
        files = [file for uid in routed.series for file in series[uid]]
        with gathered(self._config.spool, f"answer-{self._bundle}", files) as folder:
            answer = self._answerer.answer(
                folder,
                record,
                **(options.model_dump() | claimed.options),
                created=claimed.created,
                cancel=token,
            )
            contents = self._contents(answer, routed.route, self._report_before(connection, claimed))
        objects = self._write(claimed, contents)
        bundle = self._answerer.bundle
        frozen = freeze(
            connection,
            claimed,
            self._owner,
            self._clock(),
            objects,
            result_sha256=hashlib.sha256(contents[RESULT]).hexdigest(),
            bundle_sha256=bundle.sha256,
            destinations=destinations_of(self._config, routed.route, self._clock()),
        )
        if not frozen:
            raise CancelledError("It is no longer wanted.")
        compare_new(connection, self._config, claimed.study)

    def _routed(self, connection: sqlite3.Connection, claimed: Claimed) -> Routed:
        series = files_of(connection, claimed.study, claimed.generation)
        for routed in route_study(self._config, series):
            if routed.route.bundle == self._routed_as:
                return routed
        raise StudyError(
            f"No route leads this study to {self._routed_as} any more.", "Correct the routes, or cancel the answer."
        )

    def _report_before(self, connection: sqlite3.Connection, claimed: Claimed) -> Path | None:
        """The structured report that this answer's takes the place of."""
        row = connection.execute(
            "select file from object where answer = ? and kind = ?", (claimed.replaces, NAMES["sr"])
        ).fetchone()
        return None if row is None else Path(self._config.spool, row["file"])

    def _contents(self, answer: Answer, route: Route, before: Path | None) -> dict[str, bytes]:
        """Name -> bytes of all that is kept of an answer."""
        kinds: list[str] = list(USUAL)
        for one in self._config.destination:
            if one.kind != "fhir" and (route.destinations is None or one.name in route.destinations):
                kinds += [kind for kind in one.objects if kind not in kinds]
        contents = answer.to_dicom(kinds, replaces=before)
        contents[PAGE] = answer.to_html().encode()
        contents[FHIR] = json.dumps(answer.to_fhir(), ensure_ascii=False, indent=2).encode()
        contents[RESULT] = answer.result.to_json(indent=2).encode()
        return contents

    def _write(self, claimed: Claimed, contents: dict[str, bytes]) -> list[FrozenObject]:
        """All on the disk, in a folder of this attempt: a process that has lost its lease writes into another."""
        place = PurePosixPath(RESULTS, f"{claimed.id}-{claimed.attempt}")
        folder = self._config.spool / place
        shutil.rmtree(folder, ignore_errors=True)  # Of an attempt that was put back, or a study that was purged.
        make_folder(folder)
        objects = []
        for name, content in contents.items():
            part = folder / f".{name}.part"
            write_synced(part, content)
            part.replace(folder / name)
            objects.append(frozen_object(place / name, content))
        sync_folders(folder, self._config.spool)
        return objects

    @contextmanager
    def _alive(self, claimed: Claimed) -> Iterator[CancelToken]:
        """Signs of life while the work lasts; the token ends it where the answer is no longer wanted."""
        token, done = CancelToken(), threading.Event()

        def beat() -> None:
            with closing(open_database(self._config.spool)) as connection:
                while not done.wait(min(1.0, LEASE_S / 4)):
                    if self._ended.is_set():
                        token.cancel()
                        return
                    try:
                        wanted = renew(connection, claimed, self._owner, self._clock())
                    except sqlite3.Error:
                        log.exception("no sign of life could be written")
                        continue
                    if not wanted:
                        token.cancel()
                        return

        thread = threading.Thread(target=beat, name="heartbeat")
        thread.start()
        try:
            yield token
        finally:
            done.set()
            thread.join()


def frozen_object(file: PurePosixPath, content: bytes) -> FrozenObject:
    """A file of an answer, as the memory knows it."""
    digest = hashlib.sha256(content).hexdigest()
    if file.suffix != ".dcm":
        return FrozenObject(file.stem, "", f"{file.parent.name}/{file.name}", file, digest)
    header, _ = read_header(content, file.name, ("SOPClassUID", "SOPInstanceUID"))
    return FrozenObject(file.stem, text_of(header, "SOPClassUID"), text_of(header, "SOPInstanceUID"), file, digest)
