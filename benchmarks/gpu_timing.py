"""Honest times on a GPU: graphs of one call or several, their inputs outside the L2 cache and inside it.

What is written last lies in the cache as lines that somebody must still write to memory, and a graph's own launch takes
microseconds. So the cache is emptied by zeroing one buffer and then reading another, and a short call is recorded many
times over, each on buffers of its own, and the graph's time divided.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import cuda

WARM_UP = 5
EVICTING_BYTES = 256 * 2**20  # more than any L2 cache
BATCH = 20
SHORT_BYTES = 1_000_000  # a call that moves less takes about as long as the launch of a graph


@dataclass(frozen=True)
class Times:
    """Microseconds of a call in each run, the peak of memory in bytes during one, and the card's state meanwhile."""

    cold: list[float]
    warm: list[float]
    peak: int
    state: dict[str, str]


class Cache:
    """The current GPU's L2 cache, which two buffers of this size do not fit into."""

    def __init__(self, device: str = "cuda", evicting: int = EVICTING_BYTES) -> None:
        self.written = torch.zeros(evicting // 4, device=device)
        self.read = torch.zeros(evicting // 4, device=device)

    def empty(self) -> None:
        """Ask the GPU for it, before what it is asked for next."""
        self.written.zero_()
        self.read.amax()


def emptier() -> Callable[[], None]:
    """What empties the GPU's L2 cache and waits for that: whatever begins next, on whose stream ever, finds it cold."""
    cache = Cache()

    def empty() -> None:
        cache.empty()
        cuda.synchronize()

    return empty


class Timer:
    """Times calls on the current GPU; `state` is asked while it works."""

    def __init__(self, state: Callable[[], dict[str, str]], cache: Cache | None = None) -> None:
        self._state = state
        self._cache = cache or Cache()

    def __call__(self, calls: Sequence[Callable[[], Any]], runs: int) -> Times:
        """Times of one of the calls, which are recorded one after the other in a single graph."""
        stream = cuda.Stream()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(WARM_UP):
                calls[0]()
            for call in calls[1:]:
                call()
        cuda.current_stream().wait_stream(stream)
        cuda.synchronize()
        before = cuda.memory_allocated()
        cuda.reset_peak_memory_stats()
        calls[0]()
        peak = cuda.max_memory_allocated() - before
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            answers = [call() for call in calls]  # held, so that each writes to memory of its own
        times = self.launches(graph.replay, runs)
        del answers
        each = ([spent / len(calls) for spent in measured] for measured in (times.cold, times.warm))
        return Times(*each, peak, times.state)

    def launches(self, launch: Callable[[], Any], runs: int) -> Times:
        """Times of something that launches one recorded graph; its memory was taken before, and the peak is 0."""
        cold, state = self._spent(launch, runs, self._cache.empty)
        warm, _ = self._spent(launch, runs, lambda: None)
        return Times(cold, warm, 0, state)

    def _spent(
        self, launch: Callable[[], Any], runs: int, before: Callable[[], None]
    ) -> tuple[list[float], dict[str, str]]:
        pairs = [(cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)) for _ in range(runs)]
        for _ in range(WARM_UP):
            launch()
        for start, end in pairs:
            before()
            start.record()
            launch()
            end.record()
        state = self._state()  # the card still works at what was asked
        cuda.synchronize()
        return [1e3 * start.elapsed_time(end) for start, end in pairs], state


def gpu() -> dict[str, str]:
    """The card and what drives it."""
    properties, told = torch.cuda.get_device_properties(0), Path("/proc/driver/nvidia/version")
    return {
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": str(torch.version.cuda),
        "driver": told.read_text(encoding="utf-8").splitlines()[0] if told.exists() else "unknown",
    }
