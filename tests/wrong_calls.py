"""Wrong calls of the C library: what is called, and what must be told of it."""

import json
from ctypes import byref, c_void_p
from typing import Any

import numpy as np
import pytest

from libmmcaf import (
    CVolume,
    Network,
    RefusedError,
    answer_options,
    c_volume,
    libmmcaf,
)
from mmcaf_engine import Volume

OK, USAGE, STUDY, RECORD, BUNDLE, BACKEND, STRICT = 0, 2, 3, 4, 5, 6, 7
DEADLINE, CANCELLED = 124, 130
GOOD = b'{"sex": "F", "age": 61}'


def study() -> Volume:
    """Five slices for the tiny network."""
    rng = np.random.default_rng(5)
    return Volume(rng.integers(-200, 800, (5, 20, 20), dtype=np.int16), "hounsfield", (2.5, 1.0, 1.0))


def refused(code: int, *words: str) -> Any:
    """The block is refused with this code, and these words are in what is said."""
    return pytest.raises(
        RefusedError, check=lambda failure: failure.code == code and all(one in str(failure) for one in words)
    )


def last_problem() -> str:
    return str(libmmcaf().mmcaf_last_error().contents.problem.decode())


def volume_with(**members: Any) -> CVolume:
    found = c_volume(KEPT)
    for name, value in members.items():
        if isinstance(value, tuple):
            getattr(found, name)[:] = value
        else:
            setattr(found, name, value)
    return found


KEPT = study()


def answer(network: Network | None, volume: CVolume | None, record: bytes | None = GOOD, **options: Any) -> int:
    """The code of mmcaf_answer_volume, of which nothing is left behind where it refuses."""
    library, result = libmmcaf(), c_void_p(1)
    told = answer_options(**options)
    handle = None if network is None else network.handle
    given = None if volume is None else byref(volume)
    code: int = library.mmcaf_answer_volume(handle, given, record, byref(told), byref(result))
    if code == OK:
        library.mmcaf_free_result(result)
    else:
        assert result.value is None
        told_error = library.mmcaf_last_error().contents
        assert told_error.code == code and told_error.problem and json.loads(told_error.json)["exit_code"] == code
    return code
