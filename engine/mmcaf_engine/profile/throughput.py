"""How many windows a second a session answers to several callers at a time."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..session.session import Session
from .report import Throughput
from .steady import run_ms


def measure_throughput(session: Session, window: Mapping[str, NDArray[Any]], concurrency: int, runs: int) -> Throughput:
    """Have `concurrency` threads begin together and call with one window each, again and again.

    Args:
        window: inputs with N = 1.
        runs: calls of all threads together, at least one for each.

    Raises:
        BackendError: the session failed.
    """
    each = max(1, -(-runs // concurrency))
    session.run(window)
    together = Barrier(concurrency + 1)

    def calls() -> list[float]:
        together.wait()
        return [run_ms(lambda: session.run(window)) for _ in range(each)]

    with ThreadPoolExecutor(concurrency, thread_name_prefix="caller") as pool:
        futures = [pool.submit(calls) for _ in range(concurrency)]
        together.wait()
        started = perf_counter()
        waits = [wait for future in futures for wait in future.result()]
        seconds = perf_counter() - started
    p50, p95 = (float(value) for value in np.percentile(waits, (50, 95)))
    return Throughput(concurrency, len(waits), len(waits) / seconds, p50, p95)
