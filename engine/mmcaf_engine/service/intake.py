"""When a study is whole: nobody sends it, the archive's count is reached, and the engine accepts its geometry."""

import logging
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ..errors import BundleError, MmcafError, StudyError
from ..manifest import Manifest
from ..study import Oblique, Policies, open_inputs
from .choice import Lineup, lineups, read_choices
from .config import AnswerSettings, Config
from .delivery import takes
from .routing import Routed, files_of, gathered, in_words, route_study
from .studies import Quiet, Wanted, bring_back, complete, doubt, expect, quiet

log = logging.getLogger(__name__)

AHEAD_S = 3.0
"""So long before a study's silence is over, its geometry is looked at."""
CountInstances = Callable[[str], int | None]
"""How many instances an archive says that a study has; None where it does not say."""
FindRecord = Callable[[sqlite3.Connection, str], int | None]
"""The record that is here for a study; None where there is none."""


class Intake:
    """Looks at what has arrived, from time to time, and queues the answers that are wanted of whole studies.

    Args:
        manifests: bundle -> its manifest, for its geometry.
        count: asks the archive, where the configuration names one.
        find_record: looks for a study's record.
        since: when the service began to listen; what was silent before may have found nobody to send to.
    """

    def __init__(
        self,
        config: Config,
        manifests: dict[str, Manifest],
        *,
        count: CountInstances = lambda study: None,
        find_record: FindRecord = lambda connection, study: None,
        since: float = 0.0,
    ) -> None:
        self._config = config
        self._manifests = manifests
        self._count = count
        self._find_record = find_record
        self._since = since
        peers = () if config.dicom is None else config.dicom.peers
        self._quiet_s = {peer.ae_title.strip(): peer.quiet_s for peer in peers if peer.quiet_s is not None}
        self._judged: dict[str, tuple[object, str]] = {}
        self._geometry: dict[str, tuple[object, str | None]] = {}

    def look(self, connection: sqlite3.Connection, busy: Collection[str], now: float) -> int:
        """Queue what is whole by now; how many studies that were.

        Args:
            busy: studies that are being sent.
        """
        bring_back(connection, now)
        self._since = min(self._since, now)  # The clock may have been set back.
        usual = self._config.completeness.quiet_s
        shortest = min([usual, *self._quiet_s.values()])
        whole = 0
        soon: list[Quiet] = []
        for study in quiet(connection, now, max(0.0, shortest - AHEAD_S)):
            left = self._quiet_s.get(study.source, usual) - (now - max(study.last, self._since))
            if study.uid in busy or left > AHEAD_S:
                continue
            if left <= 0:
                whole += self._judge(connection, study, now)
            else:
                soon.append(study)
        if soon and not whole:
            self._look_ahead(connection, soon)
        return whole

    def _look_ahead(self, connection: sqlite3.Connection, studies: Sequence[Quiet]) -> None:
        """The geometry of one that is whole soon, so that nothing but its silence is waited for then."""
        lines = lineups(self._config, read_choices(connection))
        for study in studies:
            series = files_of(connection, study.uid, study.generation)
            try:
                routed = route_study(self._config, series)
            except StudyError:
                continue
            state = _state(study, routed, lines)
            if self._geometry.get(study.uid, (None, None))[0] != state:
                self._geometry[study.uid] = state, self._refused(study, routed, series, lines)
                return

    def _judge(self, connection: sqlite3.Connection, study: Quiet, now: float) -> bool:
        series = files_of(connection, study.uid, study.generation)
        waited = now - max(study.last, self._since)
        late = study.closed is not None or waited >= self._config.completeness.deadline_s
        missing = None
        choices = read_choices(connection)
        lines = lineups(self._config, choices)
        try:
            routed = route_study(self._config, series)
            problem = (
                self._too_few(connection, study) if late else self._lacks(connection, study, routed, series, lines)
            )
        except StudyError as refusal:
            routed, problem = [], refusal.discreet
        if late:
            missing, problem = problem, None
        if problem is not None:
            if study.problem != problem:
                doubt(connection, study, problem)
            return False
        self._judged.pop(study.uid, None)
        self._geometry.pop(study.uid, None)
        created = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        wanted = self._wanted(connection, study, routed, lines, now, missing)
        return complete(connection, study, wanted, created, now, choices=choices)

    def _lacks(
        self,
        connection: sqlite3.Connection,
        study: Quiet,
        routed: Sequence[Routed],
        series: dict[str, list[Path]],
        lines: Mapping[str, Lineup],
    ) -> str | None:
        """Why it cannot be whole, in words; nothing is looked at twice unless something came."""
        state = _state(study, routed, lines)
        seen = self._judged.get(study.uid)
        if seen is not None and seen[0] == state:
            return seen[1]
        problem = self._too_few(connection, study)
        if problem is None:
            before, found = self._geometry.get(study.uid, (None, None))
            problem = found if before == state else self._refused(study, routed, series, lines)
        if problem is not None:
            self._judged[study.uid] = (state, problem)
        return problem

    def _too_few(self, connection: sqlite3.Connection, study: Quiet) -> str | None:
        if study.owed:
            return f"{study.owed} images were refused since the disk had no room, and have not come again."
        expected = study.expected
        if self._config.completeness.count_from is not None:
            with suppress(MmcafError):  # The archive is down: then silence and geometry decide.
                expected = self._count(study.uid)
                if expected is not None:
                    expected -= self._own(connection, study.uid)
                expect(connection, study.uid, expected)
        if expected is None or study.instances >= expected:
            return None
        who = self._config.completeness.count_from
        return f"{study.instances} of {expected} images have come{f', as {who} counts them' if who else ''}."

    def _own(self, connection: sqlite3.Connection, study: str) -> int:
        """Of what the archive counts, so many are results of ours, which it was sent with the generation before."""
        archive = next(one for one in self._config.destination if one.name == self._config.completeness.count_from)
        there = [one for one in self._config.destination if one.name == archive.name or one.machine == archive.machine]
        found = set[str]()
        for one in there:
            rows = connection.execute(_DELIVERED, (study, one.name)).fetchall()
            found |= {str(row["uid"]) for row in rows if takes(one, row["kind"])}
        return len(found)

    def _refused(
        self, study: Quiet, routed: Sequence[Routed], series: dict[str, list[Path]], lines: Mapping[str, Lineup]
    ) -> str | None:
        """What the engine says against its headers and geometry."""
        for one in routed:
            manifest = self._manifests[lines[one.route.bundle].answers]
            if manifest.preprocessing is None:
                continue  # An image has no geometry that others could complete.
            files = [file for uid in one.series for file in series[uid]]
            with gathered(self._config.spool, f"intake-{one.route.bundle}", files) as folder:
                try:
                    with open_inputs(
                        folder, manifest, policies=_policies(one.route.options, manifest.preprocessing.oblique)
                    ):
                        pass
                except StudyError as refusal:
                    return in_words(refusal.discreet, self._config.spool)
                except BundleError as refusal:
                    log.error("%s", refusal.discreet)
        return None

    def _wanted(
        self,
        connection: sqlite3.Connection,
        study: Quiet,
        routed: Sequence[Routed],
        lines: Mapping[str, Lineup],
        now: float,
        missing: str | None,
    ) -> list[Wanted]:
        """An answer of each bundle that a route leads to, and of its shadows."""
        record = self._find_record(connection, study.uid)
        wanted = []
        for one in routed:
            line = lines[one.route.bundle]
            for name in line.names:
                reads = self._reads_record(name, line)
                needs = reads if one.route.record is None else one.route.record == "required"
                wanted.append(
                    Wanted(
                        name,
                        beside=tuple(other for other in line.names if other != name),
                        shadow=name != line.answers,
                        record=record if reads else None,
                        deadline=now + self._config.records.wait_s if needs else None,
                        refused=missing,
                    )
                )
        return wanted

    def _reads_record(self, name: str, line: Lineup) -> bool:
        try:
            manifest = self._manifests[name]
        except MmcafError:  # Of a shadow that cannot be loaded: its runner says so.
            manifest = self._manifests[line.answers]
        return manifest.table is not None or manifest.text is not None


def _state(study: Quiet, routed: Sequence[Routed], lines: Mapping[str, Lineup]) -> object:
    """What a verdict is of: another image, another route or another bundle needs another one."""
    answers = [(one.series, one.route, lines[one.route.bundle].answers) for one in routed]
    return study.generation, study.instances, study.last, study.owed, answers


def _policies(options: AnswerSettings, usual: Oblique) -> Policies:
    return Policies(options.gaps, options.tilt, options.duplicates, options.oblique or usual)


_DELIVERED = """
    select object.uid, object.kind from object join answer on answer.id = object.answer
        join delivery on delivery.answer = answer.id
    where answer.study = ? and delivery.destination = ? and delivery.state in ('delivered', 'done')
"""
