"""Whole volumes: adaptive pooling and standardising against MONAI's values, and the axes that a network wants."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from mmcaf_engine.errors import StudyError, UsageError
from mmcaf_engine.inputs.pooling import pool_area
from mmcaf_engine.inputs.windows import lay_out, preprocess
from mmcaf_engine.manifest import PreprocessingSpec
from mmcaf_engine.orientation import AXIS_OF, canonical, oriented
from mmcaf_engine.volume import Volume
from refusals import refused

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "preproc.npz")
SAMPLE_TOLERANCE = 2e-6
"""Standardised values of about 1, averaged in float32 there and in float64 here; measured 7e-7."""

MRI = np.random.default_rng(3).gamma(2.0, 100.0, (1, 97, 110, 23)).astype(np.float32)[0]
"""[X, Y, Z], as the reference values were made from."""
PUBLISHED: tuple[dict[str, Any], ...] = (
    {"step": "resize_volume", "size": [128, 128, 16]},
    {"step": "standardise"},
)


def make_spec(*steps: dict[str, Any], axes: str = "LAS", **changes: Any) -> PreprocessingSpec:
    fields = {"modality": "MR", "intensity": "rescaled", "axes": axes, "steps": steps, **changes}
    return PreprocessingSpec.model_validate(fields)


def make_volume(values: NDArray[Any]) -> Volume:
    return Volume(values, "rescaled", (8.0, 1.5, 1.5), (0.0, 0.0, 0.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0)))


def drawn(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(50, 20, shape).astype(np.float32)


@pytest.mark.parametrize(("name", "steps"), [("mri_resized", PUBLISHED[:1]), ("mri_normalised", PUBLISHED)])
def test_matches_monai(name: str, steps: tuple[dict[str, Any], ...]) -> None:
    values = np.ascontiguousarray(canonical(MRI, "LAS"))
    (window,) = preprocess(make_volume(values), make_spec(*steps))
    assert window.shape[1:] == tuple(GOLDEN[f"{name}.shape"])
    assert window.flags.c_contiguous and not window.flags.writeable
    flat = window.ravel()
    samples, spread = flat[np.linspace(0, flat.size - 1, 64).astype(int)], float(GOLDEN[f"{name}.std"])
    np.testing.assert_allclose(samples, GOLDEN[f"{name}.samples"], rtol=0, atol=SAMPLE_TOLERANCE * spread)
    assert window.mean(dtype=np.float64) == pytest.approx(float(GOLDEN[f"{name}.mean"]), abs=1e-6 * spread)
    assert window.std(dtype=np.float64) == pytest.approx(spread, rel=1e-6)


@pytest.mark.parametrize("shape", [(3, 4, 5), (7, 9, 8), (6, 8, 10), (1, 16, 3), (13, 1, 1)], ids=str)
def test_pooling_is_the_mean_of_whole_voxels(shape: tuple[int, int, int]) -> None:
    values = drawn(6, 8, 10)

    def bins(source: int, target: int) -> list[slice]:
        share = Fraction(source, target)
        return [slice(int(at * share), -int(-(at + 1) * share // 1)) for at in range(target)]

    depth, rows, columns = (bins(source, target) for source, target in zip(values.shape, shape, strict=True))
    expected = [[[values[d, r, c].mean(dtype=np.float64) for c in columns] for r in rows] for d in depth]
    pooled = pool_area(values, shape)
    assert pooled.dtype == np.float32 and not np.shares_memory(pooled, values)
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)


def test_order_of_the_steps_is_the_manifests() -> None:
    values, size = drawn(5, 6, 7), [4, 4, 3]
    resize, standardise = {"step": "resize_volume", "size": size}, {"step": "standardise"}
    (after,) = preprocess(make_volume(values), make_spec(resize, standardise))
    (before,) = preprocess(make_volume(values), make_spec(standardise, resize))
    assert after.std() == pytest.approx(1, abs=1e-6) and before.std() < 0.9
    shown = pool_area(((values - values.mean()) / values.std()).astype(np.float32), (3, 4, 4))
    np.testing.assert_allclose(canonical(before[0, 0], "LAS"), shown, rtol=0, atol=1e-5)


def test_steps_of_single_values_follow_whole_volume_steps() -> None:
    steps = ({"step": "standardise"}, {"step": "clip_scale", "lower": -1, "upper": 1}, {"step": "subtract", "value": 2})
    values = drawn(4, 5, 6)
    (window,) = preprocess(make_volume(values), make_spec({"step": "resize_volume", "size": [6, 5, 4]}, *steps))
    z = (values - values.mean()) / values.std()
    np.testing.assert_allclose(canonical(window[0, 0], "LAS"), np.clip((z + 1) / 2, 0, 1) - 2, rtol=0, atol=1e-5)


def test_slice_steps_come_first() -> None:
    values = drawn(4, 9, 11)
    crop = {"step": "center_crop", "rows": 5, "columns": 6}
    for steps in ((crop, {"step": "resize_volume", "size": [6, 5, 4]}), (crop, *PUBLISHED)):
        windows = preprocess(make_volume(values), make_spec(*steps))
        expected = preprocess(make_volume(values[:, 2:7, 2:8]), make_spec(*steps[1:]))
        assert windows.slices.tobytes() == expected.slices.tobytes()


def test_a_constant_volume_becomes_zero() -> None:
    (window,) = preprocess(make_volume(np.full((3, 4, 4), 7, np.int16)), make_spec(*PUBLISHED))
    assert not window.any()


@pytest.mark.parametrize("axes", ["SPL", "LAS", "RAS", "LPS", "IAR", "ALS", "PLS", "RIA"])
def test_axes_rise_as_their_letters_say(axes: str) -> None:
    depth, rows, columns = np.meshgrid(np.arange(3), np.arange(4), np.arange(5), indexing="ij")
    volume = (100 * depth + 10 * rows + columns).astype(np.float32)  # rises to head, back and left
    turned = oriented(volume, axes)
    steps = {"S": 100, "I": -100, "P": 10, "A": -10, "L": 1, "R": -1}
    for axis, letter in enumerate(axes):
        assert (np.diff(turned, axis=axis) == steps[letter]).all()
    assert (canonical(turned, axes) == volume).all()


@pytest.mark.parametrize("axes", ["LAS", "LPS", "IAR", "PLS", "LSP", "ALS", "SRA", "RIA"])
def test_axes_and_resize_agree(axes: str) -> None:
    """Also of axes that are exchanged in turn, of which there and back are not the same."""
    values, target = drawn(5, 9, 7), (3, 6, 4)
    size = [target[AXIS_OF[letter]] for letter in axes]
    (first,) = preprocess(make_volume(values), make_spec({"step": "resize_volume", "size": size}, axes=axes))
    (other,) = preprocess(make_volume(values), make_spec({"step": "resize_volume", "size": [3, 6, 4]}, axes="SPL"))
    assert other.shape[2:] == target and first.shape[2:] == tuple(size)
    assert oriented(other[0, 0], axes).tobytes() == first[0, 0].tobytes()


def test_windows_can_have_other_axes_too() -> None:
    values = drawn(5, 4, 6)
    windows = {"slices": 3, "stride": 3, "pad_value": 0}
    turned = preprocess(make_volume(values), make_spec(windows=windows))
    plain = preprocess(make_volume(values), make_spec(windows=windows, axes="SPL"))
    assert turned.starts == plain.starts == (0, 2)
    for one, other in zip(turned, plain, strict=True):
        assert one.shape == (1, 1, 6, 4, 3)
        assert one[0, 0].tobytes() == np.ascontiguousarray(oriented(other[0, 0], "LAS")).tobytes()


def test_a_whole_volume_has_no_stride_and_more_than_one_slice() -> None:
    spec = make_spec(*PUBLISHED)
    assert lay_out((23, 110, 97), spec).shape == (16, 128, 128)
    with refused(UsageError, "stride", option="stride"):
        lay_out((23, 110, 97), spec, stride=4)
    with refused(StudyError, "single slice", "volume"):
        lay_out((1, 110, 97), spec)


def test_not_a_number_is_refused() -> None:
    values = drawn(3, 4, 4)
    values[1, 2, 3] = np.nan
    with refused(StudyError, 2, 3, 1, "16 pixels"):
        preprocess(make_volume(values), make_spec(*PUBLISHED))


WINDOWS = {"slices": 3, "stride": 3, "pad_value": 0}


@pytest.mark.parametrize(
    ("steps", "changes", "said"),
    [
        ((), {}, "windows.*resize_volume"),
        (PUBLISHED[1:], {}, "windows.*resize_volume"),
        (PUBLISHED, {"windows": WINDOWS}, "windows.*resize_volume"),
        (PUBLISHED[1:], {"windows": WINDOWS}, "volumes"),
        (PUBLISHED[:1] * 2, {}, "one resize_volume"),
        ((*PUBLISHED, {"step": "center_crop", "rows": 2, "columns": 2}), {}, "resize_volume"),
        (PUBLISHED, {"axes": "LRS"}, "L and R"),
        (PUBLISHED, {"axes": "DHW"}, "axes"),
        (({"step": "resize_volume", "size": [128, 128]},), {}, r"size\.2\n"),
        (({"step": "resize_volume", "size": [128, 128, 0]},), {}, r"size.*\n.* 1 "),
    ],
)
def test_contradictions_are_refused(steps: tuple[dict[str, Any], ...], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        make_spec(*steps, **changes)


def test_means_are_summed_in_double_precision() -> None:
    """In float32, 2**24 + 1 is 2**24."""
    values = np.array([2**24, 1, 1, 2, 4, 4, 4, 4], np.float32)
    assert pool_area(values, (2,)).tolist() == [2**22 + 1, 4]
