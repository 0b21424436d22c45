"""What a program starts ends with it, also what has gone into a session of its own.

A process whose parent ends belongs to the nearest ancestor that has asked for such orphans (prctl of Linux), so that
none is lost, whatever group, session or terminal it is in.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import usage

_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
PATIENCE = 10.0
"""Seconds after which one that cannot be killed, as where it waits for a driver, is left."""
_PAUSE = 0.01


@contextmanager
def ended_together() -> Iterator[None]:
    """Whatever is started within the block, by this process or by what it starts, is killed where the block ends.

    What was started before is left alone. Of one thread at a time; no more than a block on systems without /proc.
    """
    before = {pid for pid, (parent, _) in _processes().items() if parent == os.getpid()}
    adopted = _adopt(1)
    try:
        yield
    finally:
        with usage.uninterrupted():
            _end(before)
            _adopt(adopted)


def _adopt(orphans: int) -> int:
    """Have orphans among the descendants become this process's children, or not; what was so until now."""
    if sys.platform != "linux":
        return 0
    system, before = ctypes.CDLL(None), ctypes.c_int()
    system.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    system.prctl(_PR_SET_CHILD_SUBREAPER, orphans, 0, 0, 0)
    return before.value


def _end(spared: set[int]) -> None:
    """Kill again and again, for what is killed may have started others meanwhile, and reap what became ours."""
    last = time.monotonic() + PATIENCE
    while found := _descendants(spared):
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > last:
            print(f"still there, though killed: process {', '.join(map(str, found))}", file=sys.stderr)
            return
        time.sleep(_PAUSE)


def _descendants(spared: set[int]) -> list[int]:
    """Of this process, but `spared` and theirs; one that has ended counts until it is reaped, where that is for us."""
    known = _processes()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in known.items():
        children.setdefault(parent, []).append(pid)
    left = [pid for pid in children.get(os.getpid(), []) if pid not in spared]
    found = [*left]
    while left:
        below = [pid for pid in children.get(left.pop(), []) if known[pid][1] != "Z"]
        found += below
        left += below
    return found


def _processes() -> dict[int, tuple[int, str]]:
    """Every process -> its parent and its state, a letter as ps has it."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = file.read_text(errors="replace").rpartition(")")[2].split()[:2]
            found[int(file.parent.name)] = int(parent), state
    return found
