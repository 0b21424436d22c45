"""What this project's kernels gain: one network with them and with the runtime's own operators, run by run in turn."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Remedy, UsageError
from ..session.choice import backend_for
from ..session.session import Session
from .report import Kernels, Samples
from .steady import WARM_UP, Each, run_ms


def measure_kernels(
    session: Session, window: Mapping[str, NDArray[Any]], runs: int, threads: int, each: Each | None = None
) -> Kernels | None:
    """Time `Session.run` on a window, and the same without kernels; None where the session has none.

    The second network is opened beside the first for this alone, and answers nobody. The two take turns, so that a
    drift of the machine hits both alike.

    Args:
        window: inputs with N = 1.
        threads: as the session has.
        each: called after each pair of runs with how many there were.

    Raises:
        UsageError: runs below 1.
        BackendError: the network cannot be opened, or fails.
    """
    if runs < 1:
        raise UsageError(f"{runs} runs; at least 1 is needed.", Remedy("Leave it out for 20", option="runs"))
    placed = session.describe()["kernels"]
    if not placed:
        return None
    plain = backend_for(session.bundle, session.choice, threads=threads)
    plain.own_kernels = False
    with plain:
        without = Session(session.bundle, session.choice, plain)
        works: list[Callable[[], object]] = [lambda: session.run(window), lambda: without.run(window)]
        for _ in range(WARM_UP):
            for work in works:
                work()
        taken = np.empty((runs, len(works)))  # ms
        for run in range(runs):
            taken[run] = [run_ms(work) for work in works]
            if each is not None:
                each(run + 1)
    on, off = (Samples.of(column.tolist(), discarded=WARM_UP) for column in taken.T)
    return Kernels(layers=dict(placed), on=on, off=off)
