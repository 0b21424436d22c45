"""One-pass variances: numpy's variance, where the pattern is, and where it is not."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper
from torch import nn

from export.conftest import Exported
from mmcaf_export.networks.mmcaf import MmcafNet
from mmcaf_export.onnx_files import load_model, save_model
from mmcaf_export.precision import one_pass_variance
from small_networks import answer, save_network

SHAPE = (3, 4, 5, 7)
SPACE = np.array([2, 3, 4], dtype=np.int64)


def network(
    path: Path,
    inner: NDArray[np.int64] = SPACE,
    outer: NDArray[np.int64] = SPACE,
    inner_kept: int = 1,
    outer_kept: int = 1,
    more: tuple[onnx.NodeProto, ...] = (),
) -> Path:
    """mean((x - mean(x))^2), and what else is asked for."""
    nodes = [
        helper.make_node("ReduceMean", ["x", "inner"], ["mean"], keepdims=inner_kept),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "centred"], ["square"]),
        helper.make_node("ReduceMean", ["square", "outer"], ["variance"], keepdims=outer_kept),
        *more,
        helper.make_node("Identity", ["variance"], ["y"]),
    ]
    outputs = {"y": [None] * (5 if outer_kept else 5 - len(outer))} | {node.output[0]: [None] * 5 for node in more}
    return save_network(path, nodes, {"x": ["N", *SHAPE]}, outputs, {"inner": inner, "outer": outer})


def rewritten(path: Path) -> tuple[int, Path]:
    model = load_model(path)
    count = one_pass_variance.apply(model)
    output = path.with_name("one_pass.onnx")
    save_model(model, output)
    return count, output


@pytest.mark.parametrize("mean", [0.0, -1.0, 10.0])
@pytest.mark.parametrize("axes", [(2, 3, 4), (-1, -2, -3), (1, 2, 3, 4)], ids=str)
def test_equals_numpy(tmp_path: Path, mean: float, axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(3).normal(mean, 1, (2, *SHAPE)).astype(np.float32)
    positions = np.array(axes, dtype=np.int64)
    count, output = rewritten(network(tmp_path / "two_pass.onnx", positions, positions))
    assert count == 1
    expected = x.astype(np.float64).var(axis=axes, keepdims=True)
    np.testing.assert_allclose(answer(output, {"x": x}), expected, rtol=1e-4)
    nodes = onnx.load(output).graph.node
    assert not any(node.op_type == "Sub" and node.input[0] == "x" for node in nodes), "the centred map is still made"


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3, 1000.7])
def test_never_negative(tmp_path: Path, value: float) -> None:
    _, output = rewritten(network(tmp_path / "two_pass.onnx"))
    found = answer(output, {"x": np.full((1, *SHAPE), value, np.float32)})
    assert (found >= 0).all()
    np.testing.assert_allclose(found, 0, atol=1e-5 * max(value**2, 1))


def test_batch_of_any_size(tmp_path: Path) -> None:
    _, output = rewritten(network(tmp_path / "two_pass.onnx"))
    x = np.random.default_rng(4).normal(size=(3, *SHAPE)).astype(np.float32)
    together = answer(output, {"x": x})
    for at in range(3):
        np.testing.assert_array_equal(answer(output, {"x": x[at : at + 1]}), together[at : at + 1])


CENTRED_AGAIN = helper.make_node("Identity", ["centred"], ["again"], name="again")
SQUARE_AGAIN = helper.make_node("Identity", ["square"], ["again"], name="again")
CHANNELS = np.array([1], dtype=np.int64)
BATCH = np.array([0, 2, 3, 4], dtype=np.int64)
NOTHING = np.array([], dtype=np.int64)


@pytest.mark.parametrize(
    "changes",
    [
        {"outer": CHANNELS},
        {"outer_kept": 0},
        {"inner": BATCH, "outer": BATCH},
        {"inner": NOTHING, "outer": NOTHING},
        {"more": (CENTRED_AGAIN,)},
        {"more": (SQUARE_AGAIN,)},
    ],
    ids=["other axes", "axes dropped", "over the batch", "over everything", "centred map used", "square used"],
)
def test_other_patterns_stay(tmp_path: Path, changes: dict[str, object]) -> None:
    source = network(tmp_path / "two_pass.onnx", **changes)  # type: ignore[arg-type]
    count, output = rewritten(source)
    assert count == 0
    assert onnx.load(output).graph.node == onnx.load(source).graph.node


def test_a_mean_without_axes_stays(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"]),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "centred"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["y"]),
    ]
    count, _ = rewritten(save_network(tmp_path / "all.onnx", nodes, {"x": ["N", *SHAPE]}, {"y": [1] * 5}, {}))
    assert count == 0


def test_a_product_of_two_maps_is_no_square(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"]),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "x"], ["square"]),
        helper.make_node("ReduceMean", ["square", "axes"], ["y"]),
    ]
    shapes = {"x": ["N", *SHAPE]}, {"y": ["N", 3, 1, 1, 1]}
    assert rewritten(save_network(tmp_path / "other.onnx", nodes, *shapes, {"axes": SPACE}))[0] == 0


def test_every_group_norm_of_the_network(slim_export: Exported, slim_network: MmcafNet, tmp_path: Path) -> None:
    bundle = slim_export.report.output
    model = load_model(bundle / "model.onnx")
    norms = sum(isinstance(module, nn.GroupNorm) for module in slim_network.modules())
    assert one_pass_variance.apply(model) == norms > 0
    save_model(model, tmp_path / "one_pass.onnx")
    with np.load(bundle / "golden.npz") as golden:
        found = answer(tmp_path / "one_pass.onnx", {name: golden[name] for name in ("image", "table")})
        np.testing.assert_allclose(found, golden["logit"], atol=1e-3)
