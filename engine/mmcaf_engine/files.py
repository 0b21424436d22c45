"""Files that somebody named to be read: within the caller's limits, and with the system's errors in our words."""

import errno
import os
import select
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .cancel import POLL_SECONDS, check
from .errors import MmcafError, printable

_BLOCK_BYTES = 1 << 20
_NAME_MAX = 255
"""Characters of a file's name that a file system takes at most."""
_SHOWN = 160
"""Characters of a path that cannot be opened; what was meant as a text may have come as a path."""

_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_REMEDIES = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG), "Check the path."),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "Give this user the right to read it, or copy it to another place."),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "Check the disk or the network share that it lies on."),
}


def unreadable(path: str | Path, failure: OSError | ValueError, error: type[MmcafError]) -> MmcafError:
    """A failure of the system, at a path that somebody named, as an error of ours.

    Args:
        path: what was named, where the failure does not say itself which file it was.
        failure: ValueError where the path itself is none: it holds a zero byte, or what no file system can spell.
        error: by what was to be read.
    """
    if isinstance(failure, ValueError):
        return error(f"{shown_path(path)}: {reason(failure)}.", "Check the path.")
    name = os.fsdecode(failure.filename) if isinstance(failure.filename, str | bytes) else str(path)
    at = shown_path(name)
    if _is_text(name):
        return error(
            f"{at}: expected a path, which this is not ({reason(failure)}).",
            "Save it to a file, and give the path of that; in Python, what a file holds may be given as bytes.",
        )
    if isinstance(failure, FileNotFoundError):
        return error(f"{at}: no such file.", "Check the path.")
    if isinstance(failure, IsADirectoryError):
        return error(f"{at}: expected a file, got a directory.", "Check the path.")
    return error(f"{at}: cannot be read: {reason(failure)}.", cure(failure))


def reason(failure: OSError | ValueError) -> str:
    """What the system says of it; of a path that is none, that."""
    if isinstance(failure, ValueError):
        return "not a path that a file can have"
    return failure.strerror or type(failure).__name__


def cure(failure: OSError) -> str:
    """What to do about it."""
    return _REMEDIES.get(failure.errno or 0, "Check the path and the rights of this user.")


@contextmanager
def reading(path: str | Path, error: type[MmcafError]) -> Iterator[None]:
    """Where a failure to read what somebody named becomes ours.

    Raises:
        error: the block raised OSError.
    """
    try:
        yield
    except OSError as failure:
        raise unreadable(path, failure, error) from None


def look_at(path: Path, error: type[MmcafError]) -> os.stat_result | None:
    """What stands at a path, links followed; None for nothing.

    Raises:
        error: it cannot be looked at.
    """
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as failure:
        raise unreadable(path, failure, error) from None


def in_words(found: os.stat_result) -> str:
    """What kind of thing it is."""
    return _KINDS.get(stat.S_IFMT(found.st_mode), "something that is no file")


def shown_path(path: str | Path) -> str:
    """As messages say it: on one line and not too long; what is JSON or a text in place of a path is not quoted."""
    text = str(path)
    return f"<a text of {len(text)} characters>" if _is_text(text) else printable(text, _SHOWN)


def _is_text(path: str) -> bool:
    return path.lstrip()[:1] in ("{", "[") or "\n" in path or any(len(part) > _NAME_MAX for part in path.split("/"))


def real_path(path: Path) -> Path:
    """A path without links; of links in a circle as far as they lead, where `Path.resolve` raises a RuntimeError."""
    return Path(os.path.realpath(path))


def require_file(path: Path, *, error: type[MmcafError], if_there: bool = False) -> None:
    """Refuse what is no regular file, without opening it.

    Args:
        if_there: leave a path where nothing is to those who read it.

    Raises:
        error: nothing is there, it cannot be looked at, or it is no file.
    """
    found = look_at(path, error)
    if found is None:
        if if_there:
            return
        raise error(f"{shown_path(path)}: no such file.", "Check the path.")
    _refuse_others(path, found, error)


def read_bounded(path: Path, *, error: type[MmcafError], max_bytes: int, streams: bool = False) -> bytes:
    """Read at most `max_bytes` + 1 bytes of a file.

    Args:
        streams: whether it may be a FIFO, device or pipe, which is waited for as long as the caller's limits allow;
            without, that is refused at once.

    Raises:
        error: it cannot be read, or is no file.
        CancelledError, DeadlineError: as `cancel.check`.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as failure:
        raise unreadable(path, failure, error) from None
    try:
        with reading(path, error):
            if not streams:
                _refuse_others(path, os.fstat(descriptor), error)
            return read_stream(descriptor, max_bytes)
    finally:
        os.close(descriptor)


def read_stream(descriptor: int, max_bytes: int) -> bytes:
    """Read at most `max_bytes` + 1 bytes of an open file, FIFO, pipe or terminal, up to its end.

    Raises:
        OSError: it cannot be read.
        CancelledError, DeadlineError: as `cancel.check`.
    """
    data = bytearray()
    waiting = None
    if os.name == "posix" and not stat.S_ISREG(os.fstat(descriptor).st_mode):
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
    while len(data) <= max_bytes:
        check()
        if waiting is not None and not waiting.poll(POLL_SECONDS * 1000):
            continue
        try:
            block = os.read(descriptor, min(_BLOCK_BYTES, max_bytes + 1 - len(data)))
        except BlockingIOError:  # Another reader of it was faster.
            continue
        if not block:
            break
        data += block
    return bytes(data)


def _refuse_others(path: Path, found: os.stat_result, error: type[MmcafError]) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise error(f"{shown_path(path)}: expected a file, got {in_words(found)}.", "Check the path.")
