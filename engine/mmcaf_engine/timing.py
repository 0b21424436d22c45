"""Time spent on each stage of one answer: who was in which stage, from when to when.

`Stopwatch.active` makes a stopwatch the current one of a thread and, through `workers`, of those that help it; `span`
and `waiting` then note what they enclose, wherever in the engine that is. Without a stopwatch they do nothing.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

_WAITING = ""


@dataclass(frozen=True)
class Span:
    """A stretch of one stage. start_ms, end_ms: since the stopwatch was made; track: index into `Stopwatch.tracks`."""

    name: str
    start_ms: float
    end_ms: float
    track: int


@dataclass(frozen=True)
class Account:
    """A stopwatch's time until now, each instant counted once.

    stages: name -> ms, in order of first appearance; they and unaccounted_ms add up to total_ms.
    """

    stages: dict[str, float]
    unaccounted_ms: float
    total_ms: float


class Stopwatch:
    """Collects spans, from any thread; those of one thread lie beside or inside each other."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []  # Appending to a list is safe from any thread.
        self._names: dict[int | str, str] = {threading.get_ident(): "calling thread"}
        self.started = perf_counter()

    def span(self, name: str) -> AbstractContextManager[None]:
        """Time the block as `name`."""
        return _Running(self, name)

    def add(self, name: str, start: float, end: float, track: str) -> None:
        """Add a span that was measured elsewhere, in seconds of `perf_counter`; `track`: by whom it was spent."""
        self._names.setdefault(track, track)
        self._entries.append(_Entry(track, name, start, end))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this the current stopwatch for the block."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def total_ms(self) -> float:
        """Milliseconds since the stopwatch was made."""
        return (perf_counter() - self.started) * 1e3

    @property
    def tracks(self) -> tuple[str, ...]:
        """Who worked: the thread that made the stopwatch first, then other threads and the GPU's streams."""
        return tuple(self._names[owner] for owner in self._owners())

    @property
    def spans(self) -> tuple[Span, ...]:
        """All that has ended, in order of start; time spent on waiting for others is not among it."""
        index = {owner: at for at, owner in enumerate(self._owners())}
        return tuple(
            Span(entry.name, (entry.start - self.started) * 1e3, (entry.end - self.started) * 1e3, index[entry.owner])
            for entry in sorted(self._entries, key=lambda entry: entry.start)
            if entry.name != _WAITING
        )

    def stages_ms(self) -> dict[str, float]:
        """Stage -> milliseconds of all tracks together, without those of stages inside it; so more than wall time."""
        spent: dict[str, float] = {}
        ended: dict[int | str, list[tuple[float, float]]] = {}  # owner -> (start, seconds) of spans not yet inside one
        for owner, name, start, end in self._entries:  # Of one owner in order of end: what lies inside comes before.
            before = ended.setdefault(owner, [])
            own = end - start
            while before and before[-1][0] >= start:
                own -= before.pop()[1]
            before.append((start, end - start))
            if name != _WAITING:
                spent[name] = spent.get(name, 0.0) + own * 1e3
        return spent

    def account(self) -> Account:
        """Give each instant since the stopwatch was made to the stage that the calling thread was in.

        While that thread waited for others, an instant is shared evenly by the stages that those were in; if they were
        in none, it belongs to the stage that waited.
        """
        ended = perf_counter()
        owners = self._owners()
        by_owner = self._by_owner()
        changes = sorted(
            ((at, track, now) for track, owner in enumerate(owners) for at, now in _innermost(by_owner[owner])),
            key=lambda change: change[:2],
        )
        current = [_NOTHING] * len(owners)
        stages: dict[str, float] = {}
        since, unaccounted = self.started, 0.0
        for at, track, now in [*changes, (ended, 0, _NOTHING)]:
            until = min(max(at, since), ended)
            names = _credited(current)
            for name in names:
                stages[name] = stages.get(name, 0.0) + (until - since) * 1e3 / len(names)
            if not names:
                unaccounted += (until - since) * 1e3
            since, current[track] = until, now
        return Account(stages, unaccounted, (ended - self.started) * 1e3)

    def _owners(self) -> list[int | str]:
        return list(self._names)

    def _by_owner(self) -> dict[int | str, list["_Entry"]]:
        entries: dict[int | str, list[_Entry]] = {owner: [] for owner in self._owners()}
        for entry in self._entries:
            entries[entry.owner].append(entry)
        return entries


def span(name: str) -> AbstractContextManager[None]:
    """Time the block as `name` with the current stopwatch, if there is one."""
    watch = _current.get()
    return _UNTIMED if watch is None else _Running(watch, name)


def waiting() -> AbstractContextManager[None]:
    """Note that the block only waits for other threads or a GPU, whose spans tell what for."""
    return span(_WAITING)


def current_stopwatch() -> Stopwatch | None:
    """The stopwatch of this thread, for what is measured in another way."""
    return _current.get()


class _Entry(NamedTuple):
    """As it was noted: `owner` is a thread's number or a track's name; start, end in seconds of `perf_counter`."""

    owner: int | str
    name: str
    start: float
    end: float


class _Now(NamedTuple):
    """What a track is in: the innermost stage, and whether it only waits there."""

    name: str | None
    waits: bool


_NOTHING = _Now(None, False)
_UNTIMED = nullcontext()
_current: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


class _Running:
    """A span that is not over."""

    __slots__ = ("_name", "_start", "_watch")

    def __init__(self, watch: Stopwatch, name: str) -> None:
        self._watch = watch
        self._name = name

    def __enter__(self) -> None:
        self._start = perf_counter()

    def __exit__(self, *_: object) -> None:
        end = perf_counter()
        watch, owner = self._watch, threading.get_ident()
        if owner not in watch._names:
            watch._names[owner] = threading.current_thread().name
        watch._entries.append(_Entry(owner, self._name, self._start, end))


def _innermost(entries: Iterable[_Entry]) -> list[tuple[float, _Now]]:
    """When one track changed to what: (seconds, what from then on), in order; it ends in nothing."""
    changes: list[tuple[float, _Now]] = []
    inside: list[tuple[float, _Now]] = []  # (end, what) of the spans that are open, the outermost first

    def leave(until: float) -> None:
        while inside and inside[-1][0] <= until:
            end, _ = inside.pop()
            changes.append((end, inside[-1][1] if inside else _NOTHING))

    for entry in sorted(entries, key=lambda entry: (entry.start, -entry.end)):
        leave(entry.start)
        around = inside[-1][1].name if inside else None
        now = _Now(around, True) if entry.name == _WAITING else _Now(entry.name, False)
        inside.append((entry.end, now))
        changes.append((entry.start, now))
    leave(float("inf"))
    return changes


def _credited(current: Sequence[_Now]) -> list[str]:
    """The stages that an instant belongs to, evenly, by what the tracks are in; the calling thread is the first."""
    caller, *others = current
    if caller.waits:
        busy = [now.name for now in others if now.name is not None and not now.waits]
        if busy:
            return busy
    return [] if caller.name is None else [caller.name]
