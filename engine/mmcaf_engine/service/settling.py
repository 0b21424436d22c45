"""Files of a watched folder that somebody may still be writing: taken when they have not changed for a while.

By our own clock and by what we saw: the clock of a server of files is another, and its times may be set to any.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

SETTLED_S = 2.0
"""A file that has not changed for so long, while it was looked at, is whole."""
PATIENCE_S = 30.0
"""One that seems cut is waited for so long without a change before it is refused."""

AGAIN_S = 30.0
"""After so long what could not be taken is tried again."""


@dataclass
class _Seen:
    """How a file was when it last changed, and when that was noticed. told: that it could not be taken was said."""

    size: int
    changed: int
    at: float
    told: bool = False


class Settling:
    """Remembers how each file was.

    Args:
        clock: only its differences count.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[Path, _Seen] = {}

    def unchanged_s(self, file: Path) -> float:
        """For how long it is as it is now; below 0 of one that is left alone for a while.

        Raises:
            OSError: it is gone, or cannot be looked at.
        """
        facts, now = file.lstat(), self._clock()
        seen = self._seen.get(file)
        if seen is None or (seen.size, seen.changed) != (facts.st_size, facts.st_mtime_ns):
            seen = self._seen[file] = _Seen(facts.st_size, facts.st_mtime_ns, now)
        return now - seen.at

    def is_new_trouble(self, file: Path) -> bool:
        """It could not be taken or moved, and is left alone for a while; whether that is to be said."""
        seen = self._seen.get(file)
        if seen is None:
            return False
        is_new, seen.told = not seen.told, True
        seen.at = self._clock() + AGAIN_S - SETTLED_S
        return is_new

    def forget_all_but(self, files: Collection[Path]) -> None:
        """What is no longer there."""
        there = set(files)
        self._seen = {file: seen for file, seen in self._seen.items() if file in there}
