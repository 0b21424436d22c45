"""Stages of the GPU on the clock of the host: CUDA events between them, noted in a stopwatch."""

from dataclasses import dataclass
from time import perf_counter

from ...timing import Stopwatch
from .cuda import Event, Stream

COPYING, COMPUTING = "GPU copies", "GPU computing"
"""Tracks of the two streams; see `Stopwatch.tracks`."""


@dataclass(frozen=True)
class StageEvents:
    """Of one window, in order: its inputs are about to be copied, and are on the GPU; its inference begins, and has
    ended; its outputs are on the host."""

    sent: Event
    ready: Event
    begun: Event
    computed: Event
    done: Event


class StageClock:
    """Places what the events of one run tell on the host's clock.

    origin: recorded here, in a stream with nothing to do, so that the GPU reaches it at once.
    """

    def __init__(self, watch: Stopwatch, origin: Event, stream: Stream) -> None:
        origin.record(stream.handle)
        self._started = perf_counter()
        self._watch = watch
        self._origin = origin

    def note(self, window: StageEvents, *, copied: bool) -> None:
        """Add the stages of a window that is done; `copied`: whether its inputs came from the host."""
        if copied:
            self._add("copy_in", window.sent, window.ready, COPYING)
        self._add("infer", window.begun, window.computed, COMPUTING)
        self._add("copy_out", window.computed, window.done, COMPUTING)

    def _add(self, stage: str, start: Event, end: Event, track: str) -> None:
        since, until = (self._started + event.milliseconds_since(self._origin) / 1e3 for event in (start, end))
        self._watch.add(stage, since, until, track)
