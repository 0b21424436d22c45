"""Whether an installation is healthy, in about ten seconds: right answers, as fast as before, and room left."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from ..bundle.bundle import Bundle, load_bundle
from ..bundle.default import default_bundle
from ..bundle.golden import one_window
from ..errors import MmcafError, Remedy, UsageError, program
from ..machine.cpu import usable_cores
from ..machine.gpu import first_gpu, free_memory
from ..machine.memory import available_memory
from ..session.session import Session, open_session
from ..session.timings import Timing, Tuning, keep_tuning, read_tuning, tuned_for
from ..session.tune import WARM_UP_RUNS, run_ms
from ..settings import read_settings
from .check import Check
from .configured import trusted, values
from .raw_case import check_raw_case

SLOWEST = 1.25
"""The median may be so many times the recorded one; or the recorded p95, if that is more."""

FASTEST = 0.75
"""A median below so much of the recorded one is healthy, but the record is then no longer worth much."""

LEAST_DISK = 1_000_000_000
"""Bytes: room for a kept engine and an unpacked bundle of the full-size network."""

LEAST_MEMORY = 500_000_000
"""Bytes, with the network open: a study of 300 slices of 512 x 512, as float32, and what is made of it."""

MEASURE_SECONDS = 2.0
FEWEST_RUNS, MOST_RUNS = 5, 50

_RECORD_ANEW = (
    Remedy("After a change for good, forget the record", command=program("cache", "clear", "--kind", "tuning")),
    Remedy("Or tune again", command=program("tune", "BUNDLE")),
)


def quick_check(path: Path | None = None) -> list[Check]:
    """Check a bundle, by default the one that answers when none is named, and the machine it runs on.

    Every hash, the raw case and the golden cases run anew, one window's latency against what was recorded on this
    machine, and the disk and memory left. Where nothing was recorded for this bundle, machine and installation, by
    `mmcaf tune` or by an earlier check, this check records it and says so.

    Returns:
        What was found, in words; a "problem" is what keeps the installation from being healthy.
    """
    wrong = [one for one in (*values(), *trusted()) if one.status == "problem"]
    try:
        bundle, found = _bundle(path)
        found += _answers(bundle)
    except MmcafError as failure:
        found = [Check.refused("bundle", str(path or "default"), "problem", failure)]
    said = {one.detail for one in wrong}  # Of what cannot be read, what reads it says the same.
    return [*wrong, *(one for one in found if one.detail not in said), *_disk(), _memory()]


def _bundle(path: Path | None) -> tuple[Bundle, list[Check]]:
    default = default_bundle() if path is None else None
    bundle = load_bundle(default.path if default is not None else path or Path())
    bundle.verify()
    kind = "demonstration, " if bundle.manifest.demonstration else ""
    origin = f" ({default.source})" if default is not None else ""
    detail = f"{kind}{len(bundle.manifest.files)} files, every hash matches{origin}"
    return bundle, [Check("bundle", bundle.manifest.name, "ok", detail)]


def _answers(bundle: Bundle) -> list[Check]:
    """What "auto" takes: that it answers the golden cases now, and how long it takes for a window."""
    threads = usable_cores()
    try:
        with open_session(bundle, threads=threads) as session:
            passed_over = session.fallback
            found = [Check("engine", "backend", "note", f"passed over: {passed_over}")] if passed_over else []
            outcome = session.run_self_test()
            detail = (
                f"{session.backend} {session.precision} on {session.device}: {outcome.cases} golden cases within "
                f"{outcome.max_abs_error:.1e} (at most {outcome.tolerance:g})"
            )
            found += [Check("engine", "self-test", "ok", detail), _raw_case(session)]
            found += [_latency(session, threads), *_gpu_memory(session)]
    except MmcafError as failure:
        return [Check.refused("engine", "self-test", "problem", failure)]
    return found


def _raw_case(session: Session) -> Check:
    """Whether a stored study and record become the stored answer."""
    try:
        raw = check_raw_case(session.bundle)
        if raw is None:
            return Check("engine", "raw case", "note", "the bundle has none: its preprocessing was not checked")
        error = raw.answer_error(session.run, session.precision)
    except MmcafError as failure:
        return Check.refused("engine", "raw case", "problem", failure)
    return Check("engine", "raw case", "ok", f"{raw.in_words()}, its probability within {error:.1e}")


def _latency(session: Session, threads: int) -> Check:
    """One window against its record; a slow one is measured a second time, since a moment's load is no illness."""
    taken = _measure(session)
    known = _recorded(session, threads)
    if known is None:
        return _record(session, threads, taken)
    before, source = known
    highest = max(SLOWEST * before.median_ms, before.p95_ms)
    if np.median(taken) > highest:
        taken = _measure(session)
    median = float(np.median(taken))
    detail = (
        f"one window {median:.3g} ms; recorded by {source}: {before.median_ms:.3g} ms, and up to {highest:.3g} ms is "
        "healthy"
    )
    if median > highest:
        look = Remedy("See what else runs, how warm the machine is, and its power settings.")
        return Check("engine", "latency", "problem", detail, (look, *_RECORD_ANEW))
    if median < FASTEST * before.median_ms:
        return Check("engine", "latency", "note", f"{detail}; it is much faster now", _RECORD_ANEW)
    return Check("engine", "latency", "ok", detail)


def _measure(session: Session) -> list[float]:
    """Milliseconds of one window, again and again for about `MEASURE_SECONDS`."""
    inputs = one_window(session.bundle)
    for _ in range(WARM_UP_RUNS):
        run_ms(session, inputs)
    taken: list[float] = []
    while len(taken) < FEWEST_RUNS or (sum(taken) < MEASURE_SECONDS * 1e3 and len(taken) < MOST_RUNS):
        taken.append(run_ms(session, inputs))
    return taken


def _recorded(session: Session, threads: int) -> tuple[Timing, str] | None:
    """What was recorded for this backend and precision, and by what; `mmcaf tune` before an earlier check."""
    for record, source in (
        (read_tuning(session.bundle, threads), "tuning"),
        (read_tuning(session.bundle, threads, "quick check"), "an earlier quick check"),
    ):
        for timing in record.timings if record is not None else ():
            if (timing.backend, timing.precision) == (session.backend, session.precision):
                return timing, source
    return None


def _record(session: Session, threads: int, taken: list[float]) -> Check:
    """Keep the first measurement, beside those of other backends and precisions."""
    median, p95 = (float(value) for value in np.percentile(taken, (50, 95)))
    timing = Timing(backend=session.backend, precision=session.precision, median_ms=median, p95_ms=p95)
    earlier = read_tuning(session.bundle, threads, "quick check")
    record = Tuning(
        bundle=session.bundle.manifest.name,
        facts=tuned_for(session.bundle, threads),
        runs=len(taken),
        timings=(*(earlier.timings if earlier is not None else ()), timing),
    )
    try:
        keep_tuning(record, "quick check")
    except UsageError as failure:
        said = f"nothing to compare it with, and it cannot be recorded: {failure.problem}"
        remedies = failure.remedies
    else:
        said = "recorded now, since nothing was for this bundle, machine and installation"
        remedies = ()
    return Check("engine", "latency", "note", f"one window {median:.3g} ms; {said}", remedies)


def _gpu_memory(session: Session) -> list[Check]:
    gpu = first_gpu()
    free = None if session.device == "CPU" or gpu is None else free_memory(gpu)
    return [] if free is None else [_left("GPU memory", free, LEAST_MEMORY, "End other programs that use the GPU")]


def _disk() -> list[Check]:
    """The file systems of the cache and of temporary files, once where they are the same."""
    found: dict[int, Check] = {}
    for name, folder in (("disk of the cache", _cache()), ("disk of temporary files", _temporary())):
        if folder is None:
            continue
        existing = next(one for one in (folder, *folder.parents) if os.access(one, os.F_OK))
        left = _left(name, shutil.disk_usage(existing).free, LEAST_DISK, f"Make room on the disk of {existing}")
        found.setdefault(existing.stat().st_dev, left)
    return list(found.values())


def _cache() -> Path | None:
    """None without a home folder, and where the settings are wrong, of which more is said elsewhere."""
    try:
        return read_settings().cache
    except UsageError:
        return None


def _temporary() -> Path | None:
    """None where the system has no folder for them that can be written to; opening a session tells of that."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return None


def _memory() -> Check:
    free = available_memory()
    if free is None:
        return Check("room", "memory", "note", "this system does not say how much is left")
    return _left("memory", free, LEAST_MEMORY, "End other programs, or give this one more")


def _left(name: str, free: int, least: int, remedy: str) -> Check:
    detail = f"{free / 1e9:.1f} GB left, at least {least / 1e9:.1f} GB needed"
    return (
        Check("room", name, "ok", detail)
        if free >= least
        else Check("room", name, "problem", detail, (Remedy(remedy),))
    )
