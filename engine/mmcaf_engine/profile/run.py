"""The whole profile of a bundle on this machine: every part in turn, for every backend and precision."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..bundle.bundle import Bundle
from ..cancel import Progress
from ..errors import MmcafError, Remedy, UsageError
from ..machine.cpu import usable_cores
from ..manifest import Precision
from ..outputs import temporary_folder
from ..session.session import Session, open_session
from .answer import measure_answer
from .cold import measure_cold, rounds
from .energy import measure_energy
from .kernels import measure_kernels
from .layers import measure_layers
from .machine import machine_facts
from .plan import Planned, plan
from .report import BundleFacts, Configuration, ProfileReport, Roofline, Settings
from .roofline import measure_roofline
from .steady import WARM_UP, measure_steady
from .subject import Measured, given_study, synthetic_study
from .throughput import measure_throughput


def profile_bundle(
    bundle: Bundle,
    *,
    study: str | Path | None = None,
    record: str | Path | None = None,
    backends: Sequence[str] = ("auto",),
    precisions: Sequence[str] = ("auto",),
    runs: int = 20,
    threads: int | None = None,
    batch: int = 1,
    concurrency: Sequence[int] = (1, 2, 4),
    progress: Progress | None = None,
) -> ProfileReport:
    """Measure a bundle from the start of a process to a single layer; KeyboardInterrupt ends it with what there is.

    Args:
        study, record: as for `pipeline.infer`; without them the synthetic study of the bundle's kind, or golden cases.
        backends: names, "auto" or "all". precisions: likewise, of those that the bundle holds.
        runs: of each thing that is repeated, after its warm-up; fresh processes at most `cold.MOST_ROUNDS`.
        threads: cores to use; by default all that this process may.
        batch: windows in one call of the steady state.
        concurrency: callers at a time, each measured.
        progress: called with (what is measured, steps done, steps).

    Raises:
        UsageError: a number below 1, or a record without a study that needs one.
        StudyError, RecordError: the study is refused.
        BackendError: a backend or precision that was named is not there, or nothing of what was asked for can run.
    """
    _check_numbers(runs, batch, threads, concurrency)
    cores = threads or usable_cores()
    planned = plan(bundle, backends, precisions, cores)
    settings = Settings(runs, WARM_UP, cores, batch, tuple(concurrency))
    with temporary_folder() as folder:
        if study is None and record is None:
            subject = synthetic_study(bundle, folder)
        else:
            subject = given_study(bundle, _path(study), _path(record))
        whole = _Profile(bundle, subject, settings, _Steps(planned, settings, subject, progress))
        interrupted = False
        try:
            whole.measure(planned)
        except KeyboardInterrupt:
            interrupted = True
    return whole.report(interrupted)


def _check_numbers(runs: int, batch: int, threads: int | None, concurrency: Sequence[int]) -> None:
    for name, value in (("runs", runs), ("batch", batch), ("threads", threads)):
        if value is not None and value < 1:
            raise UsageError(
                f"{name}: expected at least 1, got {value}.", Remedy("Leave it out for its default", option=name)
            )
    if not concurrency or min(concurrency) < 1:
        raise UsageError(
            f"concurrency: expected numbers of at least 1, got {', '.join(map(str, concurrency)) or 'none'}.",
            Remedy("Leave it out for 1, 2 and 4", option="concurrency"),
        )


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


class _Steps:
    """Tells of the progress: one step for each repeated run, and one for each thing that is measured once."""

    def __init__(
        self,
        planned: Sequence[Planned],
        settings: Settings,
        subject: Measured,
        progress: Progress | None,
    ) -> None:
        self._progress = progress
        answers = settings.runs if subject.is_study else 0
        each = rounds(settings.runs) + answers + 2 * settings.runs + len(settings.concurrency) + 2
        self._total = 1 + each * sum(one.skipped is None for one in planned)
        self._done = 0

    def begin(self, what: str) -> Callable[[int], None]:
        """Say what comes; the function that is returned is called after each of its runs, or once."""
        before = self._done

        def done(count: int) -> None:
            self._done = before + count
            self._tell(what)

        self._tell(what)
        return done

    def _tell(self, what: str) -> None:
        if self._progress is not None:
            self._progress(what, min(self._done, self._total), self._total)


@dataclass
class _Profile:
    """What is measured so far."""

    bundle: Bundle
    subject: Measured
    settings: Settings
    steps: _Steps
    roofline: Roofline | None = None
    configurations: list[dict[str, Any]] = field(default_factory=list)

    def measure(self, planned: Sequence[Planned]) -> None:
        """Everything, in an order in which what matters most comes first; entries fill as it goes."""
        done = self.steps.begin("roofline")
        precisions = [one.precision for one in planned if one.skipped is None]
        self.roofline = measure_roofline(precisions, self.settings.threads)
        done(1)
        for one in planned:
            entry: dict[str, Any] = {"backend": one.backend, "precision": one.precision, "notes": []}
            self.configurations.append(entry)
            if one.skipped is not None:
                entry["skipped"] = one.skipped
            else:
                self._configuration(entry, one.backend, one.precision)

    def report(self, interrupted: bool) -> ProfileReport:
        """The report of what there is."""
        manifest, model = self.bundle.manifest, self.bundle.summary
        notes = [self.subject.note] if self.subject.note else []
        notes += ["It was interrupted: what is missing was not measured."] if interrupted else []
        return ProfileReport(
            created_with=__version__,
            machine=machine_facts(),
            bundle=BundleFacts(
                name=model.name,
                sha256=model.bundle_sha256,
                network=manifest.network.name,
                demonstration=manifest.demonstration,
                flops=manifest.provenance.flops,
                signed_by=model.signed_by,
            ),
            subject=self.subject.facts,
            settings=self.settings,
            roofline=self.roofline,
            configurations=tuple(
                Configuration(**{**entry, "notes": tuple(entry["notes"])}) for entry in self.configurations
            ),
            notes=tuple(notes),
            interrupted=interrupted,
        )

    def _configuration(self, entry: dict[str, Any], backend: str, precision: Precision) -> None:
        called = f"{backend} {precision}"
        threads, runs, batch = self.settings.threads, self.settings.runs, self.settings.batch
        try:
            session = open_session(self.bundle, backend=backend, precision=precision, threads=threads)
        except MmcafError as failure:
            entry["skipped"] = failure.problem.rstrip(".")
            return
        with session:
            about = session.describe()
            facts = {"version": about["version"], "device": about["device"], "threads": about["threads"]}
            entry.update(facts, batch=batch)
            for part, measure in self._parts(session, entry, runs):
                done = self.steps.begin(f"{called}: {part}")
                try:
                    measure(done)
                except MmcafError as failure:
                    entry["notes"].append(f"Not measured, {part}: {failure.problem}")

    def _parts(
        self, session: Session, entry: dict[str, Any], runs: int
    ) -> Iterator[tuple[str, Callable[[Callable[[int], None]], None]]]:
        """What is measured of a session, in words, and how; each puts what it found into the entry."""
        subject, window = self.subject, self.subject.window
        threads = self.settings.threads

        def answer(done: Callable[[int], None]) -> None:
            entry["answer"] = measure_answer(session, subject.study, subject.record, runs, done)

        def steady(done: Callable[[int], None]) -> None:
            entry["steady"] = measure_steady(session, window, runs, self.settings.batch, done)

        def kernels(done: Callable[[int], None]) -> None:
            entry["kernels"] = measure_kernels(session, window, runs, threads, done)
            done(runs)

        def cold(done: Callable[[int], None]) -> None:
            found = measure_cold(self.bundle, subject, session.backend, session.precision, threads, runs, done)
            entry.update(cold=found.cold, memory=found.memory)
            entry["notes"] += found.notes

        def throughput(done: Callable[[int], None]) -> None:
            for at, callers in enumerate(self.settings.concurrency):
                found = measure_throughput(session, window, callers, runs)
                entry["throughput"] = (*entry.get("throughput", ()), found)
                done(at + 1)

        def layers(done: Callable[[int], None]) -> None:
            roofline = self.roofline if session.device == "CPU" else None
            entry["layers"] = measure_layers(session, window, runs, roofline)
            done(1)

        def energy(done: Callable[[int], None]) -> None:
            entry["energy"], why = measure_energy(session, window)
            entry["notes"] += [why] if why else []
            done(1)

        if subject.is_study:
            yield "answers", answer
        yield "steady state", steady
        yield "kernels on and off", kernels
        yield "cold start", cold
        yield "throughput", throughput
        yield "layers", layers
        yield "energy", energy
