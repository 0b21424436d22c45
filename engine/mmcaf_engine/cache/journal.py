"""What long work has measured so far, so that it goes on from there after it was killed.

A journal is a file of JSON lines, each a key and a value, which is appended to and so outlives the process at any
moment; a line that was cut short is not read. It is removed when the work has come to its end.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ..errors import UsageError
from ..outputs import PRIVATE, remove
from .cache import CacheKind, open_own


def _describe(file: Path) -> str:
    if not (entries := len(_read(file))):
        raise ValueError("no line of it is a measurement")
    return f"{entries} measurements"


MEASUREMENTS = CacheKind("measurements", "interrupted measurement", r"[0-9a-f]{64}\.jsonl", _describe)
_MAX_BYTES = 256 * 2**20
_log = logging.getLogger(__name__)
_Value = TypeVar("_Value")


class Journal:
    """The values of one work, by what they depend on; None for a file keeps them nowhere."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, Any] = {} if file is None else _read(file)

    @classmethod
    def of(cls, facts: object) -> "Journal":
        """The journal of a work that depends on these facts, as JSON; where nothing can be kept, one of no file."""
        try:
            return cls(MEASUREMENTS.folder() / f"{_key(facts)}.jsonl")
        except UsageError as failure:
            _log.warning("What is measured is lost if this is interrupted. %s", failure.problem)
            return cls(None)

    def __len__(self) -> int:
        return len(self._known)

    def measured(self, facts: object, measure: Callable[[], _Value]) -> _Value:
        """What was measured of this, in this run or an earlier one, else what `measure` gives now.

        It must be the same as JSON, and nobody may change it.
        """
        key = _key(facts)
        if key in self._known:
            found: _Value = self._known[key]
            return found
        value = self._known[key] = measure()
        self._append(key, value)
        return value

    def finish(self) -> None:
        """The work has come to its end, and what it measured is of no use any more."""
        if self._file is not None:
            remove(self._file)

    def _append(self, key: str, value: object) -> None:
        if self._file is None:
            return
        flags = os.O_APPEND | os.O_CREAT | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(self._file, flags, PRIVATE)
            try:
                os.write(descriptor, f"\n{json.dumps([key, value])}\n".encode())
            finally:
                os.close(descriptor)
        except OSError as failure:
            _log.warning("%s: what is measured is lost if this is interrupted: %s.", self._file, failure.strerror)
            self._file = None


def _key(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    """The entries that are whole; none without a file, or of one that is not this user's."""
    found = {}
    try:
        with open_own(file) as stream:
            lines = stream.read(_MAX_BYTES).splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            key, value = json.loads(line)
            found[str(key)] = value
        except (ValueError, TypeError, RecursionError):
            continue
    return found
