"""A slice's steps in one pass of the processor's library: the bits of NumPy step by step, whatever the steps."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.inputs import windows
from mmcaf_engine.inputs.one_pass import in_one_pass
from mmcaf_engine.inputs.resize import native_missing
from mmcaf_engine.manifest import CenterCropStep, ClipScaleStep, ResizeStep, Step, SubtractStep
from mmcaf_engine.workers import Scratch

pytestmark = pytest.mark.skipif(native_missing() is not None, reason=f"{native_missing()}")

RESIZES = {
    "shrunk": ((96, 80), (36, 30)),
    "halved": ((96, 80), (48, 40)),
    "in blocks": ((96, 80), (32, 20)),
    "grown": ((31, 40), (36, 50)),
    "one axis grown": ((31, 80), (36, 30)),
    "as it is": ((36, 30), (36, 30)),
}
CLIP, SUBTRACT, CROP = (
    ClipScaleStep(lower=-100, upper=900),
    SubtractStep(value=0.15897),
    CenterCropStep(rows=25, columns=19),
)
FROM_ZERO = ClipScaleStep(lower=0, upper=1000)


def resized(size: tuple[int, int], rounding: str) -> ResizeStep:
    return ResizeStep(rows=size[0], columns=size[1], rounding=rounding)  # type: ignore[arg-type]


def drawn(shape: tuple[int, int], kind: type) -> NDArray[np.int16] | NDArray[np.float32]:
    values = np.random.default_rng(5).integers(-1100, 1500, shape)
    return values.astype(np.int16) if kind is np.int16 else values.astype(np.float32) / np.float32(3)


def by_numpy(
    values: NDArray[np.int16] | NDArray[np.float32], steps: tuple[Step, ...], monkeypatch: pytest.MonkeyPatch
) -> NDArray[np.float32]:
    with monkeypatch.context() as patched:
        patched.setattr("mmcaf_kernels.cpu.area_resize.missing", lambda: "none here")
        return np.array(windows.after_steps(values, steps, Scratch()))


@pytest.mark.parametrize("kind", [np.int16, np.float32])
@pytest.mark.parametrize("rounding", ["none", "half_even", "opencv"])
@pytest.mark.parametrize("size", RESIZES)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (CLIP, SUBTRACT)),
        ((CLIP, SUBTRACT), ()),
        ((SUBTRACT,), (CROP, FROM_ZERO)),
        ((CenterCropStep(rows=31, columns=29),), (FROM_ZERO, CROP, SUBTRACT)),
        ((), ()),
    ],
    ids=["after", "before", "both", "cropped", "alone"],
)
def test_the_bits_are_those_of_numpy(
    size: str,
    rounding: str,
    kind: type,
    before: tuple[Step, ...],
    after: tuple[Step, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape, wanted = RESIZES[size]
    steps = (*before, resized(wanted, rounding), *after)
    values = drawn(shape, kind)
    expected = by_numpy(values, steps, monkeypatch)
    assert windows.after_steps(values, steps, Scratch()).tobytes() == expected.tobytes()


def test_what_goes_along_and_what_is_left() -> None:
    steps = (CLIP, resized((36, 30), "none"), CROP, SUBTRACT, resized((9, 9), "none"), CLIP)
    made, left = in_one_pass(drawn((96, 80), np.int16), steps, Scratch())
    assert (made.shape, left) == ((25, 19), steps[4:])


@pytest.mark.parametrize("steps", [(CLIP, SUBTRACT), (resized((96, 80), "none"), CLIP)], ids=["none", "the same size"])
def test_without_a_resize_nothing_goes_along(steps: tuple[Step, ...]) -> None:
    values = drawn((96, 80), np.int16)
    made, left = in_one_pass(values, steps, Scratch())
    assert made is values and left == steps


def test_blocks_of_other_than_whole_numbers_are_left_to_numpy() -> None:
    steps = (resized((48, 40), "opencv"), CLIP)
    assert in_one_pass(drawn((96, 80), np.float32), steps, Scratch())[1] == steps
    assert in_one_pass(drawn((96, 80), np.int16), steps, Scratch())[1] == ()


def test_negative_zeros_and_large_values_keep_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([[-0.4, -0.0, 8388609.0, -8388607.5], [-0.3, -0.0, 8388609.0, -8388606.5]], np.float32)
    for after in ((FROM_ZERO,), (), (SubtractStep(value=0.25),)):
        steps = (resized((1, 4), "half_even"), *after)
        made = windows.after_steps(values, steps, Scratch())
        assert made.tobytes() == by_numpy(values, steps, monkeypatch).tobytes()


def test_a_slice_stays_as_it_is() -> None:
    values = drawn((96, 80), np.int16)
    before = values.copy()
    in_one_pass(values, (CLIP, resized((36, 30), "opencv"), CLIP), Scratch())
    assert np.array_equal(values, before)


def test_the_library_does_not_read_beyond_a_crop() -> None:
    values = drawn((64, 64), np.float32)
    values[:10] = values[54:] = values[:, :10] = values[:, 54:] = np.nan
    steps = (CenterCropStep(rows=44, columns=44), resized((20, 20), "none"))
    assert np.isfinite(in_one_pass(values, steps, Scratch())[0]).all()
