"""Preprocessing against the values that MMCAF-Net's own CT transform gave, and the windows' layout."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from mmcaf_engine.errors import StudyError, UsageError
from mmcaf_engine.inputs.windows import Layout, lay_out, preprocess
from mmcaf_engine.manifest import Manifest, PreprocessingSpec, written_version
from mmcaf_engine.record.slices import SliceSpan
from mmcaf_engine.volume import Volume
from refusals import Fact, refused
from tiny_bundle import tiny_manifest

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "preproc.npz")
FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz")}
SAMPLE_TOLERANCE = 1e-6
"""float32 on values of about 1; measured 0."""

MEAN = {"step": "subtract", "value": 0.15897}
SCALE = {"step": "clip_scale", "lower": -100, "upper": 900}


def make_spec(
    *steps: dict[str, Any],
    slices: int = 12,
    stride: int = 12,
    pad_value: float = -1000,
    axes: str = "SPL",
    order: str = "head",
) -> PreprocessingSpec:
    return PreprocessingSpec.model_validate(
        {
            "modality": "CT",
            "intensity": "hounsfield",
            "windows": {"slices": slices, "stride": stride, "pad_value": pad_value, "order": order},
            "steps": steps,
            "axes": axes,
        }
    )


def resize(side: int, rounding: str = "half_even") -> dict[str, Any]:
    return {"step": "resize", "method": "area", "rows": side, "columns": side, "rounding": rounding}


def crop(rows: int, columns: int) -> dict[str, Any]:
    return {"step": "center_crop", "rows": rows, "columns": columns}


def make_volume(values: NDArray[Any]) -> Volume:
    return Volume(values, "hounsfield", (2.5, 1.0, 1.0), (0.0, 0.0, 0.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0)))


def drawn(seed: int, slices: int) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-1200, 1500, (slices, 512, 512)).astype(np.int16)


TRAINED = (resize(192), SCALE, MEAN)
GOLDEN_CASES = {
    "ct12_int16": (drawn(0, 12), make_spec(*TRAINED)),
    "ct12_float32": (drawn(0, 12).astype(np.float32), make_spec(resize(192, "none"), SCALE, MEAN)),
    "ct12_short7_int16": (drawn(0, 12)[:7], make_spec(*TRAINED)),
    "ct12_short7_int16, stored from the head": (
        drawn(0, 12)[:7][::-1],
        make_spec(*TRAINED, axes="IPL", order="axes"),
    ),
    "ct12_int16, as OpenCV": (drawn(0, 12), make_spec(resize(192, "opencv"), SCALE, MEAN)),
    "ct12_long15_int16": (drawn(2, 15)[1:13], make_spec(*TRAINED)),
    "ct24_int16": (
        drawn(1, 24),
        make_spec(resize(208), crop(192, 192), SCALE, MEAN, slices=24, stride=24),
    ),
}


@pytest.mark.parametrize("name", GOLDEN_CASES)
def test_matches_the_authors_transform(name: str) -> None:
    values, spec = GOLDEN_CASES[name]
    window = preprocess(make_volume(values), spec).window(0)[0]
    name = name.partition(",")[0]
    assert window.shape == tuple(GOLDEN[f"{name}.shape"])
    at = np.linspace(0, window.size - 1, 64).astype(int)
    assert np.abs(window.ravel()[at] - GOLDEN[f"{name}.samples"]).max() <= SAMPLE_TOLERANCE
    assert window.mean(dtype=np.float64) == pytest.approx(float(GOLDEN[f"{name}.mean"]), abs=1e-9)
    assert window.std(dtype=np.float64) == pytest.approx(float(GOLDEN[f"{name}.std"]), abs=1e-9)


@pytest.mark.parametrize(
    ("slices", "stride", "starts"),
    [
        (12, 12, (0,)),
        (5, 12, (0,)),
        (1, 1, (0,)),
        (13, 12, (0, 1)),
        (24, 12, (0, 12)),
        (30, 12, (0, 12, 18)),
        (30, 6, (0, 6, 12, 18)),
        (14, 1, (0, 1, 2)),
    ],
)
def test_windows_cover_every_slice_once_started(slices: int, stride: int, starts: tuple[int, ...]) -> None:
    values = np.arange(slices, dtype=np.int16)[:, None, None] * np.ones((1, 3, 5), np.int16)
    windows = preprocess(make_volume(values), make_spec(pad_value=-7), stride=stride)
    assert windows.starts == starts
    assert lay_out((slices, 3, 5), make_spec(), stride=stride) == Layout((max(slices, 12), 3, 5), starts)
    assert windows.values.shape == (len(starts), 1, 12, 3, 5)
    assert windows.values.dtype == np.float32
    assert set(range(slices)) <= set(windows.values.ravel().astype(int))
    for index, start in enumerate(starts):
        expected = [start + offset if start + offset < slices else -7 for offset in range(12)]
        assert windows.values[index, 0, :, 0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("slices", "span", "stride", "starts"),
    [
        (40, (3, 14), 12, (2,)),
        (40, (3, 26), 12, (2, 14)),
        (40, (3, 28), 12, (2, 14, 16)),
        (40, (3, 28), 6, (2, 8, 14, 16)),
        (40, (1, 40), 12, (0, 12, 24, 28)),
        (60, (41, 44), 12, (35,)),
        (60, (41, 41), 12, (34,)),
        (60, (2, 3), 12, (0,)),
        (60, (59, 60), 12, (48,)),
        (5, (2, 3), 12, (0,)),
        (5, (1, 5), 12, (0,)),
    ],
)
def test_windows_over_a_part(slices: int, span: tuple[int, int], stride: int, starts: tuple[int, ...]) -> None:
    """Of a short one, where MMCAF-Net's authors centred them: at (first + last) // 2 - 6, of indices from 0."""
    found = lay_out((slices, 3, 5), make_spec(), stride=stride, span=SliceSpan(*span))
    assert found == Layout((max(slices, 12), 3, 5), starts)


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_a_part_is_seen_whole_and_alone(count: int, depth: int) -> None:
    """Every slice of it in a window, and no other where it fills one; never beyond the series, padding apart."""
    for first, last, stride in product(range(1, count + 1), range(1, count + 1), range(1, depth + 1)):
        if last < first:
            continue
        spec = make_spec(slices=depth, stride=depth)
        starts = lay_out((count, 3, 5), spec, stride=stride, span=SliceSpan(first, last)).starts
        seen = {start + at for start in starts for at in range(depth)}
        part = set(range(first - 1, last))
        assert part <= seen and starts == tuple(sorted(set(starts))) and starts[0] >= 0
        assert starts[-1] + depth <= max(count, depth)
        assert seen == part if len(part) >= depth else len(starts) == 1
        if len(part) == count:
            assert starts == lay_out((count, 3, 5), spec, stride=stride).starts


def test_windows_are_read_only_contiguous_views() -> None:
    windows = preprocess(make_volume(np.zeros((30, 4, 4), np.int16)), make_spec())
    assert len(windows) == 3
    for window in windows:
        assert np.shares_memory(window, windows.slices)
        assert window.flags.c_contiguous
        assert not window.flags.writeable


@pytest.mark.parametrize("stride", [0, -1, 13])
def test_refuses_a_stride_that_skips_slices(stride: int) -> None:
    with refused(UsageError, "stride", stride, 1, 12):
        preprocess(make_volume(np.zeros((30, 4, 4), np.int16)), make_spec(), stride=stride)
    with refused(UsageError, "stride", stride, 1, 12):
        lay_out((30, 4, 4), make_spec(), stride=stride)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_values_that_are_not_finite(value: float) -> None:
    values = np.zeros((30, 4, 4), np.float32)
    values[17, 2, 1] = value
    with refused(StudyError, 18, 30, 1, "16 pixels"):
        preprocess(make_volume(values), make_spec())


def test_refuses_another_intensity() -> None:
    volume = Volume(
        np.zeros((1, 4, 4), np.int16), "stored", (0.0, 1.0, 1.0), (0, 0, 0), ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    )
    with refused(UsageError, "stored", "hounsfield"):
        preprocess(volume, make_spec())


@pytest.mark.parametrize(
    ("shape", "steps", "facts"),
    [
        ((2, 63, 100), (crop(64, 64),), ("63 x 100", "64 x 64")),
        ((2, 100, 63), (crop(64, 64),), ("100 x 63", "64 x 64")),
        ((2, 512, 512), (resize(48), crop(64, 64)), ("48 x 48", "64 x 64")),
        ((2, 512, 512), (crop(40, 40), SCALE, crop(41, 1)), ("40 x 40", "41 x 1")),
        ((0, 64, 64), (), ("no slices",)),
    ],
)
def test_refuses_a_shape_that_the_steps_do_not_fit(
    shape: tuple[int, int, int], steps: tuple[dict[str, Any], ...], facts: tuple[Fact, ...]
) -> None:
    with refused(StudyError, *facts):
        preprocess(make_volume(np.zeros(shape, np.int16)), make_spec(*steps))
    with refused(StudyError, *facts):
        lay_out(shape, make_spec(*steps))


@pytest.mark.parametrize(
    "steps",
    [(), (resize(7),), (crop(5, 9),), (resize(20), crop(6, 7), resize(9), SCALE, crop(3, 8))],
    ids=["none", "resize", "crop", "several"],
)
def test_the_layout_tells_the_shape_beforehand(steps: tuple[dict[str, Any], ...]) -> None:
    windows = preprocess(make_volume(np.zeros((13, 30, 40), np.int16)), make_spec(*steps))
    assert lay_out((13, 30, 40), make_spec(*steps)) == Layout(windows.slices.shape, windows.starts)


def test_an_odd_margin_leaves_the_smaller_half_in_front() -> None:
    values = np.arange(35, dtype=np.int16).reshape(1, 5, 7)
    windows = preprocess(make_volume(values), make_spec(crop(2, 4), slices=1, stride=1))
    assert windows.slices[0].tolist() == values[0, 1:3, 1:5].tolist()


def test_same_bits_every_time() -> None:
    volume = make_volume(drawn(5, 3).astype(np.float32) / 3)
    spec = make_spec(resize(191, "none"), SCALE, MEAN)
    assert np.array_equal(preprocess(volume, spec).slices, preprocess(volume, spec).slices)


@pytest.mark.parametrize(
    ("slices", "axes", "order", "starts", "first"),
    [
        (7, "SPL", "head", (0,), [0, 1, 2, 3, 4, 5, 6, *[-7] * 5]),
        (7, "SPL", "axes", (0,), [0, 1, 2, 3, 4, 5, 6, *[-7] * 5]),
        (7, "IPL", "axes", (0,), [6, 5, 4, 3, 2, 1, 0, *[-7] * 5]),
        (7, "IPL", "head", (0,), [*[-7] * 5, 6, 5, 4, 3, 2, 1, 0]),  # as bundles without the field have it
        (30, "IPL", "axes", (0, 6, 18), [*range(11, -1, -1)]),
        (30, "IPL", "head", (0, 12, 18), [*range(11, -1, -1)]),
    ],
)
def test_padding_lies_behind_the_last_slice_in_the_order_that_the_manifest_says(
    slices: int, axes: str, order: str, starts: tuple[int, ...], first: list[int]
) -> None:
    """As MMCAF-Net's authors pad: behind the last stored slice, whichever end of the patient that is."""
    values = np.arange(slices, dtype=np.int16)[:, None, None] * np.ones((1, 3, 5), np.int16)
    windows = preprocess(make_volume(values), make_spec(pad_value=-7, axes=axes, order=order))
    assert windows.starts == starts
    assert windows.window(0)[0, 0, :, 0, 0].tolist() == first


@pytest.mark.parametrize(
    ("slices", "span", "starts"),
    [
        (40, (27, 38), (26,)),  # each of these is a case of the test above, counted from the other end
        (40, (15, 38), (14, 26)),
        (40, (13, 38), (12, 14, 26)),
        (60, (17, 20), (13,)),
        (60, (20, 20), (14,)),
        (60, (58, 59), (48,)),
        (5, (3, 4), (0,)),
    ],
)
def test_windows_over_a_part_counted_from_the_head(slices: int, span: tuple[int, int], starts: tuple[int, ...]) -> None:
    found = lay_out((slices, 3, 5), make_spec(axes="IPL", order="axes"), span=SliceSpan(*span))
    assert found.starts == starts


def test_an_order_along_axes_and_roundings_as_opencvs_are_of_version_2() -> None:
    fields = {**tiny_manifest(), "files": FILES, "format_version": 1}
    Manifest.model_validate(fields)
    fields["preprocessing"]["windows"]["order"] = "axes"
    with pytest.raises(ValidationError, match=r"preprocessing\.windows\.order"):
        Manifest.model_validate(fields)
    del fields["preprocessing"]["windows"]["order"]
    fields["preprocessing"]["steps"][0]["rounding"] = "opencv"
    with pytest.raises(ValidationError, match=r"preprocessing\.steps\.0\.rounding opencv"):
        Manifest.model_validate(fields)
    assert written_version({**fields, "format_version": 1}) == 2


def halving(rows: int, columns: int) -> NDArray[np.int16]:
    """Whole values of which many means of four are halves, below and above 0."""
    at = np.arange(rows * columns, dtype=np.int64)
    found: NDArray[np.int16] = ((at * 7919 + 314187 + at * at % 1013 * 31) % 2701 - 1200).astype(np.int16)
    return found.reshape(rows, columns)


OPENCV = {
    ((6, 10), (3, 5)): [[380, -533, 153, -263, 243], [389, 435, 225, 263, 548], [-298, 373, 617, 92, -518]],
    ((6, 15), (3, 5)): [[-140, -182, 333, 506, 337], [-105, 85, 328, -53, 292], [576, 380, 69, 484, 894]],
    ((4, 8), (2, 2)): [[132, -95], [113, 478]],
    ((8, 16), (2, 4)): [[-145, 200, 269, 360], [26, 435, 232, 282]],
    ((6, 5), (3, 5)): [[-402, -400, -336, -210, -22], [1058, 330, -337, 409, -134], [614, 506, 460, 475, 552]],
    ((7, 10), (3, 5)): [[444, -396, 170, -174, 310], [76, 381, 502, 1, 231], [333, 339, 446, 367, -234]],
}
"""Before and after -> what cv2.resize of `halving` by INTER_AREA gave, of opencv-python-headless 4.10.0 and 5.0.0."""


@pytest.mark.parametrize(("before", "after"), OPENCV)
def test_whole_intensities_are_rounded_as_opencv_rounds_them(before: tuple[int, int], after: tuple[int, int]) -> None:
    step = {**resize(after[0], "opencv"), "columns": after[1]}
    plane = preprocess(make_volume(halving(*before)[None]), make_spec(step, slices=1, stride=1)).slices[0]
    assert plane.tolist() == OPENCV[before, after]


def test_halves_to_even_stay_so_in_bundles_that_say_so() -> None:
    """Where both axes are halved, means in the middle of two values differ, by 1."""
    step = {**resize(3, "half_even"), "columns": 5}
    plane = preprocess(make_volume(halving(6, 10)[None]), make_spec(step, slices=1, stride=1)).slices[0]
    expected = np.rint(halving(6, 10).reshape(3, 2, 5, 2).mean(axis=(1, 3)))
    assert np.array_equal(plane, expected) and np.abs(plane - OPENCV[(6, 10), (3, 5)]).max() == 1
