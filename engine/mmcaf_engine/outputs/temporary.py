"""Folders among the system's temporary files, for what this process alone needs and for no longer than it does."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Remedy, UsageError
from ..files import reason
from .leftovers import remove

_PREFIX = "mmcaf-"


def new_temporary_folder() -> Path:
    """An empty one, of this user alone, which the caller removes.

    Raises:
        UsageError: the system has no folder for them that can be written to, as in a read-only container.
    """
    try:
        return Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as failure:
        raise UsageError(
            f"There is no place for temporary files: {reason(failure)}.",
            Remedy("Name a folder that can be written to", command="export TMPDIR=/path/to/folder"),
        ) from None


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """One that is gone after the block.

    Raises:
        UsageError: as `new_temporary_folder`.
    """
    folder = new_temporary_folder()
    try:
        yield folder
    finally:
        remove(folder)
