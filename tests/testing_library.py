"""Parts of the C library that no program may call, for tests."""

import ctypes
import logging
import random
from functools import cache

import pytest

from mmcaf_engine.capi.library import c_library
from mmcaf_engine.errors import BackendError


@cache
def _loaded() -> ctypes.CDLL | None:
    try:
        file = c_library().file.with_name("libmmcaf_testing.so")
    except BackendError:
        return None
    if not file.is_file():
        return None
    library = ctypes.CDLL(str(file))
    library.mmcaf_testing_free.argtypes = [ctypes.c_void_p]
    return library


def native_parts() -> ctypes.CDLL:
    """The library; without it, the test is skipped."""
    library = _loaded()
    if library is None:
        pytest.skip("libmmcaf_testing.so was not built; with OpenSSL's headers: pip install --editable .")
    return library


def call(function: str, *texts: str) -> str:
    """What a function of texts gives: its text or, of an error, the JSON of that."""
    library = native_parts()
    found = library[function]
    found.restype = ctypes.c_void_p
    given: int = found(*(ctypes.c_char_p(text.encode("utf-8", "surrogatepass")) for text in texts))
    try:
        return ctypes.string_at(given).decode("utf-8", "surrogatepass")
    finally:
        library.mmcaf_testing_free(given)


def fresh_random() -> random.Random:
    """Numbers that no run has drawn before; a test that fails shows the seed."""
    seed = random.SystemRandom().randrange(2**32)
    logging.getLogger(__name__).warning("seed %d", seed)
    return random.Random(seed)
