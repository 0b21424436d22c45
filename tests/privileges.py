"""Rights that tests must not have: root may write everywhere, which hides what a user would meet."""

import ctypes
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Outcome = TypeVar("_Outcome")

_VERSION_3 = 0x20080522


def as_ordinary_user(work: Callable[[], _Outcome]) -> _Outcome:
    """Do the work with the rights of files' owners alone: root does it on a thread that gave up its capabilities.

    capabilities(7), capset(2): Linux keeps them per thread, and threads that the work starts inherit what is left.
    """
    if os.geteuid() != 0:
        return work()
    assert sys.platform == "linux", "as root, only Linux can take a thread's rights away"
    with ThreadPoolExecutor(1, initializer=_give_up_capabilities) as pool:
        return pool.submit(work).result()


def _give_up_capabilities() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)  # of this thread
    none = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: two words each
    if libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")
