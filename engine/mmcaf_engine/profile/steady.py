"""One call after another until they are steady, and then so many that the percentiles mean something."""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Remedy, UsageError
from ..session.session import Session
from .report import Samples, Steady

COMPARED = 3
WARM_UP = 2 * COMPARED
"""Fewest calls that are discarded."""

LONGEST_WARM_UP = 20
SETTLED = 0.05
"""Warm when the median of the last COMPARED calls is at most this fraction below that of the COMPARED calls before."""

Each = Callable[[int], None]
"""Called after each measured run with how many are done."""


def measure_steady(
    session: Session, window: Mapping[str, NDArray[Any]], runs: int, batch: int = 1, each: Each | None = None
) -> Steady:
    """Time `Session.run` on `batch` copies of a window.

    Args:
        window: inputs with N = 1.

    Raises:
        UsageError: runs or batch below 1.
        BackendError: the session failed.
    """
    inputs = {name: np.concatenate([array] * batch) for name, array in window.items()} if batch > 1 else dict(window)
    samples = timed(lambda: session.run(inputs), runs, each)
    return Steady(samples, batch, samples.p50 / batch)


def timed(work: Callable[[], object], runs: int, each: Each | None = None) -> Samples:
    """Milliseconds of so many runs, after a warm-up by the rule above.

    Raises:
        UsageError: runs below 1.
    """
    if runs < 1:
        raise UsageError(f"{runs} runs; at least 1 is needed.", Remedy("Leave it out for 20", option="runs"))
    warming: list[float] = []
    while not is_warm(warming) and len(warming) < LONGEST_WARM_UP:
        warming.append(run_ms(work))
    values = []
    for run in range(runs):
        values.append(run_ms(work))
        if each is not None:
            each(run + 1)
    restless = f"Still getting faster after {len(warming)} runs of warm-up." if not is_warm(warming) else None
    samples = Samples.of(values, discarded=len(warming), note=restless)
    if samples.outliers and restless is None:
        words = f"{samples.outliers} of {runs} runs took far longer than the others; is something else running?"
        return Samples.of(values, discarded=len(warming), note=words)
    return samples


def is_warm(taken: list[float]) -> bool:
    """Whether these runs, ms, say that the next ones are steady."""
    if len(taken) < WARM_UP:
        return False
    before, last = np.median(taken[-2 * COMPARED : -COMPARED]), np.median(taken[-COMPARED:])
    return bool(last >= (1 - SETTLED) * before)


def run_ms(work: Callable[[], object]) -> float:
    """Milliseconds of one run."""
    started = perf_counter()
    work()
    return (perf_counter() - started) * 1e3
