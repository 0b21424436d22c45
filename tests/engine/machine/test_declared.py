"""Values of other packages against the types that are declared here: what fits, what does not, and how that is said."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.machine.declared import JsonObject, Positive, UndeclaredTypeError, expect

SECRET = "Doe^Jane"


def shown(value: object) -> str:
    """As text without addresses, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


@dataclass(frozen=True)
class Point:
    x: float
    name: str | None = None


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (1, int),
        (True, bool),
        (1, float),
        (1.5, float),
        ("a", str),
        (None, None),
        (None, int | None),
        (1, ClassVar[int]),
        (1, Positive),
        ({"a": [1, None]}, JsonObject),
        ("b", Literal["a", "b"]),
        (Point, type[Point]),
        (Point(1.0), Point),
        ([1, 2], Sequence[int]),
        ((1, "a"), tuple[int, str]),
        ((1, 2, 3), tuple[int, ...]),
        ((), tuple[int, ...]),
        ({"a": 1.0}, Mapping[str, float]),
        (np.zeros(2, np.float32), NDArray[np.float32]),
        (np.zeros(2, np.float16), NDArray[np.float32]),
        (object(), Any),
    ],
    ids=shown,
)
def test_what_fits(value: object, declared: Any) -> None:
    expect(value, declared)


@pytest.mark.parametrize(
    ("value", "declared", "said"),
    [
        (True, int, "expected int, got bool"),
        (False, float, "expected float, got bool"),
        (1, bool, "expected bool, got int"),
        (1.0, int, "expected int, got float"),
        (float("nan"), float, "expected a finite number, got nan"),
        (float("-inf"), float, "expected a finite number, got -inf"),
        (SECRET + "\x1b", str, "expected text without control characters"),
        ("\ud800", str, "expected text without control characters"),
        (SECRET, int | None, "expected int or NoneType, got str"),
        (0, Positive, "expected a number of at least 1, got 0"),
        ({"a": {1}}, JsonObject, "expected what JSON can hold, got dict"),
        ({"a": float("nan")}, JsonObject, "expected what JSON can hold, got dict"),
        (SECRET, Literal["a", "b"], "expected 'a' or 'b', got str"),
        (int, type[Point], "expected a subclass of Point, got type"),
        (Point(True), Point, "x: expected float, got bool"),
        (Point(1.0, "\n"), Point, "name: expected text without control characters"),
        ("ab", Sequence[str], "expected a Sequence, got str"),
        ([1, SECRET], Sequence[int], "[1]: expected int, got str"),
        ((1,), tuple[int, str], "expected 2 values, got 1"),
        ((1, 2, True), tuple[int, ...], "[2]: expected int, got bool"),
        ({1: 1.0}, Mapping[str, float], "key: expected str, got int"),
        ({"a": True}, Mapping[str, float], "['a']: expected float, got bool"),
        (np.zeros(2, np.int64), NDArray[np.float32], "expected an array of float32, got an array of int64"),
        ([1.0], NDArray[np.float32], "expected an array of float32, got list"),
    ],
    ids=shown,
)
def test_what_does_not(value: object, declared: Any, said: str) -> None:
    with pytest.raises(UndeclaredTypeError) as caught:
        expect(value, declared)
    assert said in str(caught.value) and SECRET not in str(caught.value)
