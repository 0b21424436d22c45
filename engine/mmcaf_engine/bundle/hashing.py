"""Files that a manifest lists: of the listed size and SHA-256, or refused; and copies of which that is known.

What is hashed is the copy, or what is written to it: whoever may change a listed file cannot change its copy.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, TypeVar

from ..cache.cache import MAKE_ROOM
from ..errors import BundleError, Remedy, UsageError
from ..files import reason
from ..manifest import FileEntry
from ..outputs import create

COPY_AGAIN = "Copy the bundle again from its source; do not use this copy."

_Stream = TypeVar("_Stream", bound=IO[bytes])
_BLOCK = 1 << 20
_COPIED = 4 << 20
"""Bytes that are hashed while they are written."""
_SENT = 32 << 20
"""Bytes that the system copies at once; those are then hashed beside the next."""
_FICLONE = 0x40049409
"""Linux's request to let two files share their blocks (ioctl_ficlone(2)); a change of one is not seen in the other."""


def file_sha256(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return stream_sha256(stream)


def stream_sha256(stream: IO[bytes]) -> str:
    """Of all that is left of a stream."""
    digest = hashlib.sha256()
    while block := stream.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def open_listed(
    file: Path, name: str, entry: FileEntry, *, shown: Path, remedy: Remedy | str = COPY_AGAIN
) -> Iterator[BinaryIO]:
    """A listed file, opened without following a link in its place.

    Raises:
        BundleError: it is missing, no regular file, or not of the listed size.
        OSError: it cannot be opened.
    """
    flags = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    check_file(file, name, entry, shown=shown, remedy=remedy)
    with os.fdopen(os.open(file, os.O_RDONLY | flags), "rb") as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise _missing(name, entry, shown, remedy)
        _check_size(found.st_size, name, entry, shown, remedy)
        yield stream


def copy_listed(
    stream: BinaryIO, output: IO[bytes], name: str, entry: FileEntry, *, shown: Path, remedy: Remedy | str = COPY_AGAIN
) -> None:
    """Copy a listed file; the bytes that are hashed are those that are written.

    Args:
        output: empty, and written to by nobody else.

    Raises:
        BundleError: it does not have the listed hash.
        UsageError: there is no room for it.
        OSError: it cannot be read.
    """
    digest, left = hashlib.sha256(), entry.size
    # In two threads, since either takes about as long, and a session is not open before both are done.
    with ThreadPoolExecutor(1, thread_name_prefix="hash") as beside:
        while block := stream.read(min(_COPIED, left)):
            left -= len(block)
            hashed = beside.submit(digest.update, block)
            with _writing(name, shown):
                output.write(block)
            hashed.result()
    with _writing(name, shown):
        output.flush()
    check_digest(digest.hexdigest(), name, entry, shown=shown, remedy=remedy)


def clone_listed(
    stream: BinaryIO,
    target: Path,
    name: str,
    entry: FileEntry,
    *,
    shown: Path,
    copied: Callable[[int], object] = lambda _bytes: None,
) -> None:
    """Copy a listed file to a new one, as fast as the system can; what the copy holds is still to be checked.

    Its blocks are the other's until one of them is changed, where the file system can do that.

    Args:
        copied: told, now and then, how many bytes of the copy are written.

    Raises:
        UsageError: there is no room for it.
        OSError: it cannot be read.
    """
    with _writing(name, shown):
        output = create(target)
    with closed_after(output):
        if share_blocks(stream, output):
            return
        done = _copied_by_the_system(stream, output, entry.size, copied)
        # From there on, for what was copied may be hashed already, and must not be written again.
        stream.seek(done)
        output.seek(done)
        left = entry.size - done
        while block := stream.read(min(_COPIED, left)):
            left -= len(block)
            with _writing(name, shown):
                output.write(block)
        with _writing(name, shown):
            output.flush()


@contextmanager
def closed_after(stream: _Stream) -> Iterator[_Stream]:
    """Close what was written to, whose failure to flush was told before: the same again would hide that it was."""
    try:
        yield stream
    finally:
        with suppress(OSError):
            stream.close()


def check_file(file: Path, name: str, entry: FileEntry, *, shown: Path, remedy: Remedy | str = COPY_AGAIN) -> None:
    """Refuse what is missing, a link, no file, or of another size.

    Raises:
        BundleError: it is.
    """
    if file.is_symlink() or not file.is_file():
        raise _missing(name, entry, shown, remedy)
    _check_size(file.stat().st_size, name, entry, shown, remedy)


class GrowingCopy:
    """A copy that may be hashed as far as it is written, by one thread at a time; nothing is read twice."""

    def __init__(self, copy: Path) -> None:
        self._copy, self._digest, self._at = copy, hashlib.sha256(), 0

    def read_to(self, end: int | None = None) -> None:
        """Hash what was written since, up to a place in it, or to its end.

        Raises:
            OSError: it cannot be read.
        """
        with self._copy.open("rb") as stream:
            stream.seek(self._at)
            while block := stream.read(_BLOCK if end is None else min(_BLOCK, end - self._at)):
                self._digest.update(block)
                self._at += len(block)

    def check(self, name: str, entry: FileEntry, *, shown: Path, remedy: Remedy | str = COPY_AGAIN) -> None:
        """Refuse it, once it is whole, if it does not hold what is listed.

        Raises:
            BundleError: it holds something else.
            OSError: it cannot be read.
        """
        self.read_to()
        check_digest(self._digest.hexdigest(), name, entry, shown=shown, remedy=remedy)


def check_digest(digest: str, name: str, entry: FileEntry, *, shown: Path, remedy: Remedy | str = COPY_AGAIN) -> None:
    """Refuse another SHA-256 than the listed one.

    Raises:
        BundleError: it is another.
    """
    if digest != entry.sha256:
        raise BundleError(
            f"{shown}: {name} is damaged or altered: SHA-256 {digest[:16]}..., the manifest has {entry.sha256[:16]}...",
            remedy,
        )


def share_blocks(stream: BinaryIO, output: BinaryIO) -> bool:
    """Let an empty file share the blocks of another; False where there is no such thing."""
    try:
        from fcntl import ioctl

        ioctl(output.fileno(), _FICLONE, stream.fileno())
    except (ImportError, OSError):
        return False
    return True


def _copied_by_the_system(stream: BinaryIO, output: BinaryIO, size: int, told: Callable[[int], object]) -> int:
    """How many bytes the system copied, without passing them through this process."""
    at = 0
    try:
        while at < size:
            copied = os.sendfile(output.fileno(), stream.fileno(), at, min(size - at, _SENT))
            if copied == 0:
                break
            at += copied
            told(at)
    except (AttributeError, OSError):  # Not between files on this system, or a fault, which a plain copy then tells.
        pass
    return at


@contextmanager
def _writing(name: str, shown: Path) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise UsageError(f"{shown}: {name} cannot be copied: {reason(failure)}.", MAKE_ROOM) from None


def _missing(name: str, entry: FileEntry, shown: Path, remedy: Remedy | str) -> BundleError:
    return BundleError(f"{shown}: {name} is missing (listed in the manifest with {entry.size} bytes).", remedy)


def _check_size(size: int, name: str, entry: FileEntry, shown: Path, remedy: Remedy | str) -> None:
    if size != entry.size:
        raise BundleError(f"{shown}: {name} has {size} bytes; the manifest says {entry.size}.", remedy)
