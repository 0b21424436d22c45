"""What a caller gives a session, checked by itself: no runtime is needed to refuse it."""

from typing import Any

import numpy as np
import pytest

from mmcaf_engine.backends.device_arrays import DeviceArray
from mmcaf_engine.backends.inputs import checked_inputs
from mmcaf_engine.errors import UsageError
from mmcaf_engine.manifest import TensorSpec
from refusals import Fact, refused

IMAGE = TensorSpec(name="image", kind="image", shape=("N", 1, 2, 3))
TOKENS = TensorSpec(name="ids", kind="tokens", dtype="int64", shape=("N", "L"))
MASK = TensorSpec(name="mask", kind="token_mask", dtype="int64", shape=("N", "L"))
LENGTHS = (4, 8)


def given(batch: int = 2, length: int = 5, **changes: Any) -> dict[str, Any]:
    return {
        "image": np.ones((batch, 1, 2, 3), np.float32),
        "ids": np.ones((batch, length), np.int64),
        "mask": np.ones((batch, length), np.int64),
        **changes,
    }


def checked(arrays: dict[str, Any]) -> dict[str, Any]:
    return checked_inputs(arrays, (IMAGE, TOKENS, MASK), LENGTHS, lambda name, array: array)


def test_what_fits_is_taken_contiguous_and_in_its_types() -> None:
    turned = np.arange(12, dtype=np.float32).reshape(3, 2, 1, 2).transpose(3, 2, 1, 0)
    found = checked(given(image=turned, ids=np.ones((2, 5), np.int32)))
    assert [*found] == ["image", "ids", "mask"]
    assert found["ids"].dtype == np.int64 and found["image"].flags.c_contiguous
    np.testing.assert_array_equal(found["image"], turned)


def test_the_first_word_piece_of_a_vocabulary_is_number_zero() -> None:
    ids = np.array([[2, 7, 3, 0, 0], [2, 3, 0, 0, 0]])
    np.testing.assert_array_equal(checked(given(ids=ids))["ids"], ids)


@pytest.mark.parametrize("length", [1, 8])
def test_texts_may_have_any_length_up_to_the_longest(length: int) -> None:
    assert checked(given(length=length))["ids"].shape == (2, length)


def with_value(value: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
    array = np.ones(shape, dtype)
    array[(-1,) * len(shape)] = value
    return array


def masked(*rows: list[int]) -> Any:
    return np.array(rows, np.int64)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"image": with_value(np.nan, np.float32, (2, 1, 2, 3))}, ("image", "NaN")),
        ({"image": with_value(np.inf, np.float32, (2, 1, 2, 3))}, ("image", "NaN")),
        ({"image": with_value(-np.inf, np.float32, (2, 1, 2, 3))}, ("image", "NaN")),
        ({"image": np.ones((2, 1, 2, 3))}, ("image", "float64", "float32")),
        ({"image": np.ones((2, 1, 3, 2), np.float32)}, ("image", "[2, 1, 3, 2]")),
        ({"image": np.ones((2, 2, 3), np.float32)}, ("image", "[2, 2, 3]")),
        ({"image": np.ones((0, 1, 2, 3), np.float32)}, ("image", "[0, 1, 2, 3]")),
        ({"image": np.ones((1, 1, 2, 3), np.float32)}, ("[1, 2]",)),
        ({"ids": with_value(-1, np.int64, (2, 5))}, ("ids", -1)),
        ({"ids": np.ones((2, 9), np.int64)}, ("ids", "[2, 9]", "[N, L]", 1, 8)),
        ({"ids": np.ones((2, 0), np.int64)}, ("ids", "[2, 0]")),
        ({"ids": np.ones((2, 4), np.int64)}, ("[4, 5]",)),
        ({"ids": np.ones((2, 5), np.float32)}, ("ids", "float32", "int64")),
        ({"mask": masked([1, 1, 0, 0, 0], [0, 0, 0, 0, 0])}, ("mask", 1, 0)),
        ({"mask": masked([1, 2, 0, 0, 0], [1, 0, 0, 0, 0])}, ("mask", 1, 0)),
        ({"other": np.ones(1)}, ("'other'",)),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(changes: dict[str, Any], facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, *facts):
        checked(given(**changes))


def test_a_missing_input_is_named() -> None:
    arrays = given()
    del arrays["mask"]
    with refused(UsageError, "['ids', 'image']", "['ids', 'image', 'mask']"):
        checked(arrays)


def test_an_array_on_a_gpu_is_not_searched_for_what_is_no_number() -> None:
    there = DeviceArray(256, (2, 1, 2, 3), np.dtype(np.float32), 1, None)
    assert checked(given(image=there))["image"] is there
