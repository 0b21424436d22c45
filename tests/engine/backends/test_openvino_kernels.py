"""Kernels in OpenVINO's networks: how many, the same answer as without them, and the same bits."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed")
pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import openvino
from openvino import opset13

from kernels.near_misses import other_slope
from kernels.networks import Feed, answer, change, lowered, window
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.backends.openvino.operators import add_operators, place_kernels
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_engine.session.session import open_session
from mmcaf_kernels.cpu.extension import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no operators for OpenVINO here: {missing()}")
FOUND = {"groupnorm_act": 43, "max_pool": 1, "msdc": 3, "upsample_dw": 2}
LOGIT = {"fp32": 1e-4, "bf16": 5e-2}
log = logging.getLogger(__name__)
Open = Callable[..., OpenVinoBackend]


@pytest.fixture(scope="module")
def demo() -> Path:
    return default_bundle().path / "model.onnx"


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens a network as the demonstration's; closed at the end."""
    manifest, backends = load_bundle(default_bundle().path).manifest, []

    def open_(path: Path, *, precision: Any = "fp32", threads: int = 1) -> OpenVinoBackend:
        backend = OpenVinoBackend(path, manifest.inputs, manifest.outputs, threads, precision)
        backend.open()
        backends.append(backend)
        return backend

    yield open_
    for backend in backends:
        backend.close()


def logit(backend: OpenVinoBackend, feed: Feed) -> np.ndarray:
    return np.asarray(backend.infer(feed)["logit"])


def close(found: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    error = float(np.abs(found - expected).max())
    log.info("%s: error %.2e, tolerance %.0e", what, error, tolerance)
    assert error <= tolerance, what


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_answer_as_without_kernels(
    precision: Any, demo: Path, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = demo if precision == "fp32" else lowered(demo, precision, tmp_path)
    feed = window(demo, seed=1)
    expected = answer(demo, feed)
    if not (runs := OpenVinoBackend.can_run(precision)).available:
        pytest.skip(runs.reason)
    with_kernels = opened(path, precision=precision)
    assert with_kernels.describe()["kernels"] == FOUND
    close(logit(with_kernels, feed), expected, LOGIT[precision], f"{precision} with kernels")
    monkeypatch.setenv("MMCAF_KERNELS", "0")
    without = opened(path, precision=precision)
    assert without.describe()["kernels"] == {}
    close(logit(without, feed), expected, LOGIT[precision], f"{precision} without")


def test_the_same_bits_for_any_number_of_threads_and_in_every_run(demo: Path, opened: Open) -> None:
    """OpenVINO's own operators keep them here too."""
    feed = window(demo, seed=2)
    one, two = (opened(demo, threads=threads) for threads in (1, 2))
    first = logit(one, feed).tobytes()
    assert first == logit(one, feed).tobytes() == logit(two, feed).tobytes()


def test_a_network_that_only_resembles_one_answers_as_it_is_written(demo: Path, opened: Open, tmp_path: Path) -> None:
    path = change(demo, tmp_path / "changed.onnx", other_slope)
    feed = window(path, seed=3)
    backend = opened(path)
    assert backend.describe()["kernels"] == FOUND | {"groupnorm_act": FOUND["groupnorm_act"] - 1}
    close(logit(backend, feed), answer(path, feed), LOGIT["fp32"], "another slope")


def place(network: Any, core: Any) -> None:
    add_operators(core)
    place_kernels(core, network)


def test_a_caller_may_leave_them_out(demo: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the gate does, which judges a network with kernels and without."""
    facts = opened(demo).engine_facts()
    monkeypatch.setattr(OpenVinoBackend, "own_kernels", False)
    without = opened(demo)
    assert without.describe()["kernels"] == {} and without.engine_facts() != facts


def test_an_engine_with_kernels_is_not_loaded_without_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path))
    bundle = load_bundle(default_bundle().path)
    seen = []
    for kernels in ("1", "0", "1"):
        monkeypatch.setenv("MMCAF_KERNELS", kernels)
        with open_session(bundle, backend="openvino", threads=1) as session:
            about = session.describe()
            seen.append((about["cache"], about["kernels"]))
    assert seen == [("built, kept", FOUND), ("built, kept", {}), ("loaded", FOUND)]


def group_norm(x: Any, groups: int, draw: np.random.Generator) -> Any:
    """As the exporter writes it, of a map [1, C, D, H, W]."""
    channels, space = x.output(0).get_shape()[1], np.array([2, 3, 4])
    weight, bias = (draw.normal(1, 0.1, (1, groups, channels // groups)).astype(np.float32) for _ in range(2))

    def mean(value: Any, axes: np.ndarray) -> Any:
        return opset13.reduce_mean(value, axes, True)

    def grouped(value: Any) -> Any:
        return opset13.reshape(value, np.array([1, groups, channels // groups]), False)

    means = mean(x, space)
    centred = opset13.subtract(x, means)
    own, last = grouped(means), np.array([2])
    middle = mean(own, last)
    offset = opset13.subtract(own, middle)
    inside = grouped(mean(opset13.multiply(centred, centred), space))
    variance = mean(opset13.add(inside, opset13.multiply(offset, offset)), last)
    scale = opset13.divide(weight, opset13.sqrt(opset13.add(variance, np.float32(1e-5))))
    shift = opset13.subtract(bias, opset13.multiply(middle, scale))
    wide = np.array([1, channels, 1, 1, 1])
    scaled = opset13.multiply(x, opset13.reshape(scale, wide, False))
    return opset13.add(scaled, opset13.reshape(shift, wide, False))


def rounded(x: Any, step: float, kind: str = "f32") -> Any:
    """QuantizeLinear and DequantizeLinear to a type, as OpenVINO reads them."""
    low, high = (np.float32(whole * step) for whole in (-128, 127))
    whole = opset13.fake_quantize(x, low, high, np.float32(-128), np.float32(127), 256)
    scale = opset13.convert(opset13.constant(np.float32(step)), kind)
    return opset13.multiply(opset13.convert(opset13.convert(whole, "i8"), kind), scale)


def network_of(make: Callable[[Any, np.random.Generator], list[Any]], channels: int = 16) -> Any:
    x = opset13.parameter([1, channels, 3, 5, 4], np.float32, name="x")
    return openvino.Model(make(x, np.random.default_rng(0)), [x], "small")


def kinds(network: Any) -> Counter[str]:
    return Counter(node.get_type_name() for node in network.get_ops() if node.get_type_name() != "Constant")


def answers_of(make: Callable[[Any, np.random.Generator], list[Any]]) -> tuple[Counter[str], list[np.ndarray]]:
    """The operators with kernels; and without and with kernels the largest difference of each output."""
    core, found = openvino.Core(), []
    x = np.random.default_rng(1).normal(3, 2, (1, 16, 3, 5, 4)).astype(np.float32)
    for placed in (False, True):
        network = network_of(make)
        if placed:
            place(network, core)
        compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found.append([np.array(value) for value in compiled([x]).values()])
    return kinds(network), [np.abs(one - other).max() for one, other in zip(*found, strict=True)]


def test_norms_that_follow_each_other_pass_their_maps_on_as_they_are() -> None:
    def make(x: Any, draw: np.random.Generator) -> list[Any]:
        return [group_norm(group_norm(group_norm(x, 4, draw), 2, draw), 16, draw)]

    operators, differences = answers_of(make)
    assert operators == {"Parameter": 1, "GroupNormAct": 3, "Transpose": 2, "Result": 1}
    assert max(differences) < 1e-5


def test_a_map_is_rounded_where_it_is_made_and_its_step_stands_before_the_axes_are_turned() -> None:
    step = 0.03

    def make(x: Any, draw: np.random.Generator) -> list[Any]:
        normed = opset13.prelu(group_norm(x, 4, draw), np.array([0.01], np.float32))
        return [rounded(normed, step)]

    operators, differences = answers_of(make)
    assert operators == {
        "Parameter": 1,
        "GroupNormAct": 1,
        "Transpose": 2,
        "Result": 1,
        "Convert": 1,
        "Multiply": 1,
    }
    assert differences[0] <= step * 1.01  # a value between two steps may fall to either


def test_a_rounded_map_that_is_read_as_it_was_too_is_written_in_both_forms() -> None:
    def make(x: Any, draw: np.random.Generator) -> list[Any]:
        normed = group_norm(x, 8, draw)
        return [rounded(normed, 0.05), opset13.relu(normed)]

    operators, differences = answers_of(make)
    assert operators["GroupNormAct"] == 1 and operators["FakeQuantize"] == 0
    assert differences[0] <= 0.05 * 1.01 and differences[1] < 1e-5


def test_a_rounded_map_is_read_in_the_type_in_which_it_is_multiplied_with_its_step() -> None:
    def make(x: Any, draw: np.random.Generator) -> list[Any]:
        weight = opset13.convert(draw.normal(0, 0.2, (4, 16, 1, 1, 1)).astype(np.float32), "bf16")
        source = rounded(group_norm(x, 4, draw), 0.0625, "bf16")
        return [opset13.convert(opset13.convolution(source, weight, [1] * 3, [0] * 3, [0] * 3, [1] * 3), "f32")]

    operators, differences = answers_of(make)
    assert operators["GroupNormAct"] == 1 and operators["FakeQuantize"] == 0
    assert differences[0] <= 0.05


def test_a_map_that_is_rounded_to_nothing_stays_with_openvino() -> None:
    operators, differences = answers_of(lambda x, draw: [rounded(group_norm(x, 4, draw), 0.0)])
    assert operators["FakeQuantize"] == operators["GroupNormAct"] == 1
    assert differences[0] == 0


def test_other_steps_of_one_map_stay_as_they_are() -> None:
    def make(x: Any, draw: np.random.Generator) -> list[Any]:
        normed = group_norm(x, 8, draw)
        return [rounded(normed, 0.05), rounded(normed, 0.02)]

    operators, differences = answers_of(make)
    assert operators["GroupNormAct"] == 1 and operators["FakeQuantize"] == 1
    assert differences[0] <= 0.05 * 1.01 and differences[1] <= 0.02 * 1.01


def test_a_value_inside_of_a_block_that_is_read_elsewhere_is_still_made() -> None:
    def make(x: Any, draw: np.random.Generator) -> list[Any]:
        normed = group_norm(x, 8, draw)
        scaled = normed.input_value(0)
        return [normed, opset13.relu(scaled)]

    operators, differences = answers_of(make)
    assert operators["GroupNormAct"] == 1 and operators["ReduceMean"] > 0
    assert max(differences) < 1e-5


def test_half_precision_stays_with_openvino() -> None:
    def make(x: Any, draw: np.random.Generator) -> list[Any]:
        half = opset13.convert(opset13.convert(x, "f16"), "f32")
        return [opset13.convert(opset13.convert(group_norm(half, 8, draw), "f16"), "f32")]

    operators, _ = answers_of(make)
    assert operators["GroupNormAct"] == 0


def weights(shape: tuple[int, ...], draw: np.random.Generator, step: float | None) -> Any:
    """In FP32 or, with a step for the largest of each channel, as a file of INT8 layers holds them."""
    drawn = draw.normal(0, 0.2, shape).astype(np.float32)
    if step is None:
        return opset13.constant(drawn)
    largest = np.abs(drawn).max(axis=tuple(range(1, drawn.ndim)), keepdims=True)
    whole = np.rint(drawn / largest * 127).astype(np.int8)
    return opset13.multiply(opset13.convert(opset13.constant(whole), "f32"), (largest / 127).astype(np.float32))


def convolved(
    x: Any, draw: np.random.Generator, groups: int, side: int, *, stride: int = 1, step: float | None = None
) -> Any:
    """A grouped convolution with a bias that keeps the size, or halves it."""
    channels = x.output(0).get_shape()[1]
    width = channels // groups
    stored = weights((channels, width, side, side, side), draw, step)
    taps = opset13.reshape(stored, np.array([groups, width, width, side, side, side]), False)
    pads = [side // 2] * 3
    source = rounded(x, step) if step is not None else x
    made = opset13.group_convolution(source, taps, [stride] * 3, pads, pads, [1] * 3)
    return opset13.add(made, draw.normal(0, 0.5, (1, channels, 1, 1, 1)).astype(np.float32))


def many_scales(x: Any, draw: np.random.Generator, step: float | None = None) -> Any:
    """The sum of three depthwise convolutions, each clipped; that of one tap is a product and a sum."""
    channels = x.output(0).get_shape()[1]
    scale, shift = (draw.normal(0, 0.5, (channels, 1, 1, 1)).astype(np.float32) for _ in range(2))
    one = opset13.add(opset13.multiply(x, scale), shift)
    parts = [one, *(convolved(x, draw, channels, side, step=step) for side in (3, 5))]
    first, second, third = (opset13.clamp(part, 0.0, 6.0) for part in parts)
    return opset13.add(opset13.add(first, second), third)


def resized(x: Any, sides: list[int]) -> Any:
    return opset13.interpolate(
        x, np.array(sides), "linear_onnx", "sizes", axes=np.array([2, 3, 4]),
        coordinate_transformation_mode="align_corners",
    )  # fmt: skip


def pooled(x: Any, stride: int = 2) -> Any:
    return opset13.max_pool(x, [stride] * 3, [1] * 3, [1] * 3, [1] * 3, [3] * 3)


def doubled(x: Any, draw: np.random.Generator) -> Any:
    larger = resized(x, [2 * length for length in x.output(0).get_shape()[2:]])
    return opset13.relu(convolved(larger, draw, 16, 3))


@pytest.mark.parametrize(
    ("operator", "make"),
    [
        ("MultiScaleDepthwise", many_scales),
        ("MultiScaleDepthwise", lambda x, draw: resized(many_scales(x, draw), [2, 3, 2])),
        ("GroupedConvolution", lambda x, draw: convolved(x, draw, 4, 3)),
        ("GroupedConvolution", lambda x, draw: convolved(x, draw, 4, 3, stride=2)),
        ("UpsampleDepthwise", doubled),
        ("MaxPool", lambda x, draw: pooled(x)),
    ],
    ids=["msdc", "msdc resized", "groups of four", "every second place", "upsample_dw", "max_pool"],
)
def test_blocks_are_one_operator_and_answer_the_same(operator: str, make: Callable[..., Any]) -> None:
    operators, differences = answers_of(lambda x, draw: [make(x, draw)])
    assert operators == {"Parameter": 1, operator: 1, "Transpose": 2, "Result": 1}
    log.info("%s: error %.2e, tolerance 1e-4", operator, differences[0])
    assert differences[0] <= 1e-4


@pytest.mark.parametrize("kind", ["i32", "boolean"])
@pytest.mark.parametrize("make", [many_scales, lambda x, draw: pooled(x).output(0)], ids=["msdc", "max_pool"])
def test_a_block_that_whole_numbers_or_truths_are_made_of_is_computed_in_its_own_type(
    make: Callable[..., Any], kind: str
) -> None:
    operators, differences = answers_of(lambda x, draw: [opset13.convert(opset13.convert(make(x, draw), kind), "f32")])
    assert operators["MultiScaleDepthwise"] + operators["MaxPool"] == 1 and operators["Transpose"] == 2
    assert differences[0] <= 1


@pytest.mark.parametrize(("before", "own"), [("bf16", "f32"), ("f32", "bf16")])
def test_a_pool_answers_in_its_own_type_whatever_its_map_was_made_in(before: str, own: str) -> None:
    """A layer that reads it takes no other."""

    def make(x: Any, draw: np.random.Generator) -> list[Any]:
        small = pooled(opset13.convert(opset13.relu(opset13.convert(x, before)), own)).output(0)
        weight = opset13.convert(draw.normal(0, 0.2, (4, 16, 1, 1, 1)).astype(np.float32), own)
        mixed = opset13.convolution(small, weight, [1] * 3, [0] * 3, [0] * 3, [1] * 3)
        return [opset13.convert(mixed, "f32")]

    operators, differences = answers_of(make)
    assert operators["MaxPool"] == 1 and operators["Transpose"] == 2
    assert differences[0] <= 1e-4


def test_clips_by_bounds_of_five_axes_are_those_of_a_sum_of_scales() -> None:
    def clip(x: Any) -> Any:
        low, high = (np.full((1,) * 5, bound, np.float32) for bound in (0, 6))
        return opset13.minimum(opset13.maximum(x, low), high)

    def make(x: Any, draw: np.random.Generator) -> list[Any]:
        first, second, third = (clip(convolved(x, draw, 16, side)) for side in (1, 3, 5))
        return [opset13.add(opset13.add(first, second), third)]

    operators, differences = answers_of(make)
    assert operators["MultiScaleDepthwise"] == 1
    assert differences[0] <= 1e-4


@pytest.mark.parametrize(
    ("operator", "make"),
    [
        ("MultiScaleDepthwise", many_scales),
        ("GroupedConvolution", lambda x, draw, step: convolved(x, draw, 4, 3, step=step)),
    ],
    ids=["msdc", "grouped_convolution"],
)
def test_blocks_of_rounded_maps_read_the_whole_numbers(operator: str, make: Callable[..., Any]) -> None:
    """What is made before is rounded there, and the sum of one tap takes the rounded map too."""
    step = 0.04

    def network(x: Any, draw: np.random.Generator) -> list[Any]:
        return [make(group_norm(x, 4, draw), draw, step=step)]

    operators, differences = answers_of(network)
    assert operators[operator] == operators["GroupNormAct"] == 1
    assert operators["FakeQuantize"] == operators["Convert"] == 0 and operators["Transpose"] == 2
    log.info("%s of a rounded map: error %.2e, tolerance %.2e", operator, differences[0], 2 * step)
    assert differences[0] <= 2 * step


@pytest.mark.parametrize(
    "make",
    [
        lambda x, draw: pooled(x, stride=1),
        lambda x, draw: convolved(x, draw, 1, 3),
        lambda x, draw: convolved(x, draw, 8, 3),
        lambda x, draw: convolved(x, draw, 4, 5),
        lambda x, draw: opset13.relu(convolved(resized(x, [3, 10, 8]), draw, 16, 3)),
    ],
    ids=["a pool of every place", "one group", "groups of two", "five taps", "one axis as it was"],
)
def test_other_layers_stay_with_openvino(make: Callable[..., Any]) -> None:
    operators, differences = answers_of(lambda x, draw: [make(x, draw)])
    ours = {"MultiScaleDepthwise", "GroupedConvolution", "UpsampleDepthwise"}
    assert not ours & operators.keys() and operators["Transpose"] == 0
    assert differences[0] == 0


@pytest.mark.parametrize(("groups", "stride"), [(2, 1), (4, 1), (4, 2)])
def test_groups_of_more_than_four_stay_with_openvino_in_fp32(groups: int, stride: int) -> None:
    """Its own convolution takes less time."""
    x = opset13.parameter([1, 32, 3, 5, 4], np.float32, name="x")
    network = openvino.Model([convolved(x, np.random.default_rng(0), groups, 3, stride=stride)], [x], "wide")
    place(network, openvino.Core())
    assert kinds(network)["GroupedConvolution"] == 0
