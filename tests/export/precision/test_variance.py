"""One-pass variances: numpy's variance, where the pattern is, and where it is not."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import NodeProto as Node
from onnx import helper
from torch import nn

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet
from mmcaf_export.onnx_files import load_model, save_model
from mmcaf_export.precision import one_pass_variance
from small_networks import answer, save_network

SHAPE = (3, 4, 5, 7)
ROWS, REST = np.array([4], dtype=np.int64), np.array([2, 3], dtype=np.int64)


def mean(of: str, to: str, rows: str = "rows", rest: str = "rest", count: str = "count", kept: int = 1) -> list[Node]:
    """The nodes of a mean: rows averaged, added up, divided by how many they are."""
    return [
        helper.make_node("ReduceMean", [of, rows], [f"{to}.rows"], keepdims=1),
        helper.make_node("ReduceSum", [f"{to}.rows", rest], [f"{to}.sum"], keepdims=kept),
        helper.make_node("Div", [f"{to}.sum", count], [to]),
    ]


def network(
    path: Path,
    rows: NDArray[np.int64] = ROWS,
    rest: NDArray[np.int64] = REST,
    count: float = 20.0,
    outer_rows: NDArray[np.int64] = ROWS,
    outer_kept: int = 1,
    more: tuple[Node, ...] = (),
) -> Path:
    """mean((x - mean(x))^2), and what else is asked for."""
    nodes = [
        *mean("x", "mean"),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "centred"], ["square"]),
        *mean("square", "variance", rows="outer_rows", kept=outer_kept),
        *more,
        helper.make_node("Identity", ["variance"], ["y"]),
    ]
    outputs = {"y": [None] * (5 if outer_kept else 5 - len(rest))} | {node.output[0]: [None] * 5 for node in more}
    constants = {"rows": rows, "rest": rest, "outer_rows": outer_rows, "count": np.float32(count)}
    return save_network(path, nodes, {"x": ["N", *SHAPE]}, outputs, constants)


def rewritten(path: Path) -> tuple[int, Path]:
    model = load_model(path)
    count = one_pass_variance.apply(model)
    output = path.with_name("one_pass.onnx")
    save_model(model, output)
    return count, output


@pytest.mark.parametrize("centre", [0.0, -1.0, 10.0])
@pytest.mark.parametrize("axes", [(4, 2, 3), (-1, -2, -3), (1, 2, 3, 4)], ids=str)
def test_equals_numpy(tmp_path: Path, centre: float, axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(3).normal(centre, 1, (2, *SHAPE)).astype(np.float32)
    rows, rest = np.array(axes[:1], dtype=np.int64), np.array(axes[1:], dtype=np.int64)
    summed = float(np.prod([x.shape[axis] for axis in axes[1:]]))
    count, output = rewritten(network(tmp_path / "two_pass.onnx", rows, rest, summed, outer_rows=rows))
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
BATCH = np.array([0], dtype=np.int64)
NOTHING = np.array([], dtype=np.int64)


@pytest.mark.parametrize(
    "changes",
    [
        {"outer_rows": CHANNELS},
        {"outer_kept": 0},
        {"rows": BATCH, "outer_rows": BATCH},
        {"rows": NOTHING, "outer_rows": NOTHING},
        {"count": 21.0},
        {"more": (CENTRED_AGAIN,)},
        {"more": (SQUARE_AGAIN,)},
    ],
    ids=[
        "other axes",
        "axes dropped",
        "over the batch",
        "over everything",
        "no mean",
        "centred map used",
        "square used",
    ],
)
def test_other_patterns_stay(tmp_path: Path, changes: dict[str, object]) -> None:
    source = network(tmp_path / "two_pass.onnx", **changes)  # type: ignore[arg-type]
    count, output = rewritten(source)
    assert count == 0
    assert onnx.load(output).graph.node == onnx.load(source).graph.node


def test_a_mean_in_one_step_stays(tmp_path: Path) -> None:
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
        *mean("x", "mean"),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "x"], ["square"]),
        *mean("square", "y"),
    ]
    shapes = {"x": ["N", *SHAPE]}, {"y": ["N", 3, 1, 1, 1]}
    constants = {"rows": ROWS, "rest": REST, "count": np.float32(20)}
    assert rewritten(save_network(tmp_path / "other.onnx", nodes, *shapes, constants))[0] == 0


def test_every_group_norm_of_the_network(mmcaf_bundle: Path, tmp_path: Path) -> None:
    bundle = mmcaf_bundle
    model = load_model(bundle / "model.onnx")
    with torch.device("meta"):
        network = MmcafNet(MmcafConfig(**load_bundle(bundle).manifest.network.config))  # type: ignore[arg-type]
    norms = sum(isinstance(module, nn.GroupNorm) for module in network.modules())
    assert one_pass_variance.apply(model) == norms > 0
    save_model(model, tmp_path / "one_pass.onnx")
    with np.load(bundle / "golden.npz") as golden:
        found = answer(tmp_path / "one_pass.onnx", {name: golden[name] for name in ("image", "table")})
        np.testing.assert_allclose(found, golden["logit"], atol=1e-3)
