"""Slices resized by the processor kernels: the bits of NumPy's sums, whatever comes; and what comes that must not."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.inputs import resize
from mmcaf_engine.inputs.resize import native_missing, resize_area, sum_by_numpy
from mmcaf_engine.workers import Scratch
from mmcaf_kernels.cpu.area_resize import AreaResize

pytestmark = pytest.mark.skipif(native_missing() is not None, reason=f"{native_missing()}")

SIZES = [
    ((512, 512), (192, 192)),
    ((512, 512), (208, 208)),
    ((511, 513), (192, 192)),
    ((100, 63), (3, 63)),
    ((63, 100), (1, 1)),
    ((3, 1), (2, 1)),
    ((256, 256), (512, 512)),
    ((160, 300), (208, 100)),
    ((97, 13), (96, 13)),
]


def drawn(shape: tuple[int, ...], kind: type) -> NDArray[np.int16] | NDArray[np.float32]:
    values = np.random.default_rng(3).integers(-2048, 32767, shape)
    return values.astype(np.int16) if kind is np.int16 else values.astype(np.float32) / np.float32(3)


def by_numpy(stack: NDArray[np.int16] | NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    resized = np.full((len(stack), *size), np.nan, np.float32)
    sum_by_numpy(stack, resized, Scratch())
    return resized


@pytest.mark.parametrize("kind", [np.int16, np.float32])
@pytest.mark.parametrize(("shape", "size"), SIZES, ids=str)
def test_the_bits_are_those_of_numpy(shape: tuple[int, int], size: tuple[int, int], kind: type) -> None:
    stack = drawn((2, *shape), kind)
    resized = resize_area(stack, *size)
    assert resized.tobytes() == by_numpy(stack, size).tobytes()
    assert resize_area(stack[1], *size).tobytes() == resized[1].tobytes()


@pytest.mark.parametrize("cut", ["rows apart", "columns apart", "upside down", "in Fortran's order"])
def test_slices_that_do_not_lie_whole_in_memory(cut: str) -> None:
    image = drawn((128, 130), np.int16)
    seen = {"rows apart": image[::2, 1:66], "columns apart": image[:64, ::2], "upside down": image[63::-1, :65]}
    one = seen.get(cut, np.asfortranarray(image[:64, :65]))
    assert resize_area(one, 24, 31).tobytes() == by_numpy(one.copy()[np.newaxis], (24, 31)).tobytes()


def test_the_library_is_what_resizes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("by NumPy")

    expected = by_numpy(drawn((1, 61, 62), np.int16), (20, 21))
    monkeypatch.setattr(resize, "sum_by_numpy", fail)
    assert resize_area(drawn((1, 61, 62), np.int16), 20, 21).tobytes() == expected.tobytes()


def test_without_the_library_numpy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    image = drawn((59, 58), np.int16)
    expected = by_numpy(image[np.newaxis], (20, 22))
    monkeypatch.setattr("mmcaf_kernels.cpu.area_resize.missing", lambda: "none here")
    assert native_missing() == "none here"
    monkeypatch.setattr(AreaResize, "__init__", None)
    assert resize_area(image, 20, 22).tobytes() == expected.tobytes()


def test_many_threads_at_once() -> None:
    images = drawn((16, 256, 250), np.int16)
    expected = by_numpy(images, (96, 93))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda image: resize_area(image, 96, 93, Scratch()), images))
    assert np.stack(found).tobytes() == expected.tobytes()


def test_negative_zeros_stay() -> None:
    image = np.full((4, 4), -0.0, np.float32)
    assert (
        np.signbit(by_numpy(image[np.newaxis], (2, 2))).tolist() == np.signbit(resize_area(image, 2, 2)[None]).tolist()
    )


@pytest.mark.parametrize(
    ("rows", "columns"),
    [([[(2, 1.0)]], [[(0, 1.0)]]), ([[(-1, 1.0)]], [[(0, 1.0)]]), ([[]], [[(0, 1.0)]]), ([[(0, 1.0)]], [[(3, 1.0)]])],
)
def test_terms_beyond_the_slice_are_refused(
    rows: list[list[tuple[int, float]]], columns: list[list[tuple[int, float]]]
) -> None:
    with pytest.raises(ValueError, match="terms of 0 to"):
        AreaResize((2, 3), rows, columns)


def test_other_slices_and_results_are_refused() -> None:
    one = AreaResize((2, 3), [[(0, 1.0)]], [[(0, 1.0)]])
    into = np.empty((1, 1), np.float32)
    for image in (np.zeros((3, 2), np.int16), np.zeros((2, 3), np.uint16), np.zeros((2, 3))):
        with pytest.raises(ValueError, match="int16 or float32"):
            one(image, into)
    for wrong in (np.empty((1, 2), np.float32), np.empty((1, 1)), np.empty((1,), np.float32)):
        with pytest.raises(ValueError, match="contiguous float32"):
            one(np.zeros((2, 3), np.int16), wrong)  # type: ignore[arg-type]
