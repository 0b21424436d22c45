"""Resizing by pixel coverage against OpenCV, and against exact arithmetic where that is known."""

from collections.abc import Callable

import numpy as np
import pytest

from mmcaf_engine.errors import UsageError
from mmcaf_engine.inputs.resize import resize_area

TOLERANCE_HU = 1e-3
"""float32 sums of up to 4096 values near 1000 HU, added in another order than OpenCV's; measured 3.7e-4."""

SIZES = [
    ((512, 512), (192, 192)),
    ((512, 512), (208, 208)),
    ((512, 512), (191, 63)),
    ((512, 512), (511, 512)),
    ((512, 512), (1, 1)),
    ((384, 300), (192, 192)),
    ((100, 63), (63, 1)),
    ((7, 5), (7, 3)),
    ((128, 128), (192, 192)),
    ((160, 160), (208, 208)),
    ((68, 136), (192, 192)),
    ((63, 100), (192, 191)),
    ((3, 1), (5, 7)),
    ((1, 1), (3, 3)),
    ((192, 100), (192, 192)),
    ((512, 128), (192, 192)),
    ((100, 513), (192, 192)),
]


@pytest.mark.parametrize(("before", "after"), SIZES, ids=[f"{a[0]}x{a[1]}-to-{b[0]}x{b[1]}" for a, b in SIZES])
def test_equals_opencv(
    before: tuple[int, int], after: tuple[int, int], record_property: Callable[[str, object], None]
) -> None:
    cv2 = pytest.importorskip("cv2", reason="the reference is OpenCV")
    image = np.random.default_rng(0).uniform(-1200, 1500, before).astype(np.float32)
    expected = cv2.resize(image, after[::-1], interpolation=cv2.INTER_AREA)
    error = float(np.abs(resize_area(image, *after) - expected).max())
    record_property("max_error_hu", error)
    assert error <= TOLERANCE_HU


def test_equals_opencv_for_random_sizes() -> None:
    cv2 = pytest.importorskip("cv2", reason="the reference is OpenCV")
    draw = np.random.default_rng(1)
    worst = 0.0
    for _ in range(400):
        height, width, rows, columns = (int(side) for side in draw.integers(1, 130, 4))
        image = draw.uniform(-1200, 1500, (height, width)).astype(np.float32)
        expected = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
        worst = max(worst, float(np.abs(resize_area(image, rows, columns) - expected).max()))
    assert worst <= TOLERANCE_HU


def test_means_over_whole_pixels() -> None:
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert resize_area(image, 2, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_replicates_when_doubling() -> None:
    image = np.array([[1, 2], [3, 4]], np.float32)
    assert resize_area(image, 4, 4).tolist() == np.kron(image, np.ones((2, 2))).tolist()


def test_512_to_192_is_exact_for_whole_intensities() -> None:
    """Weights in eighths: no rounding, so that half-way cases later round to even as they should."""
    image = np.random.default_rng(2).integers(-1200, 1500, (512, 512))
    eighths = np.zeros((192, 512), np.int64)
    for output in range(192):
        for eighth in range(8):
            eighths[output, (output * 8 + eighth) // 3] += 1
    expected = eighths @ image @ eighths.T / 64
    assert np.array_equal(resize_area(image.astype(np.float32), 192, 192), expected)


def test_same_bits_alone_and_in_a_stack() -> None:
    stack = np.random.default_rng(3).normal(size=(3, 100, 63)).astype(np.float32)
    once, twice = resize_area(stack, 63, 31), resize_area(stack, 63, 31)
    assert np.array_equal(once, twice)
    assert np.array_equal(once[1], resize_area(stack[1], 63, 31))


def test_same_size_gives_a_copy() -> None:
    image = np.ones((3, 5), np.float32)
    result = resize_area(image, 3, 5)
    result[:] = 0
    assert image.all()


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [((5,), 3, 3), ((1, 2, 3, 4), 3, 3), ((0, 5), 3, 3), ((5, 5), 0, 3), ((5, 5), 3, 4097)],
    ids=["1-axis", "4-axes", "empty", "to-nothing", "too-large"],
)
def test_refuses(shape: tuple[int, ...], rows: int, columns: int) -> None:
    with pytest.raises(UsageError):
        resize_area(np.zeros(shape, np.float32), rows, columns)
