"""Two names on one file system that change places in one step, where kernel and file system can do that."""

import ctypes
import os
import sys
from collections.abc import Callable
from errno import EINVAL, ENOSYS, EOPNOTSUPP
from functools import cache
from pathlib import Path
from typing import Any

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT = (ENOSYS, EINVAL, EOPNOTSUPP)
"""An older kernel, or a file system without it, such as NFS."""


def exchange(one: Path, other: Path) -> bool:
    """Have what stands at two paths change places, at no moment with nothing at either; False where that cannot be.

    Raises:
        OSError: it can be, and failed; both are where they were.
    """
    renameat2 = system_call()
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


@cache
def system_call() -> Callable[..., Any] | None:
    """The C library's, of Linux; None where it has none."""
    if not sys.platform.startswith("linux"):
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function
