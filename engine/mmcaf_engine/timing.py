"""Time spent on each stage of one answer; stages may run beside each other, and in several threads."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Collects named spans in milliseconds; a span that is entered again, or by several threads, adds up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.perf_counter()
        self.spans_ms: dict[str, float] = {}

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Time the block as `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, (time.perf_counter() - started) * 1e3)

    def add(self, name: str, milliseconds: float) -> None:
        """Add a duration that was measured elsewhere."""
        with self._lock:
            self.spans_ms[name] = self.spans_ms.get(name, 0.0) + milliseconds

    def total_ms(self) -> float:
        """Milliseconds since the stopwatch was made."""
        return (time.perf_counter() - self._started) * 1e3
