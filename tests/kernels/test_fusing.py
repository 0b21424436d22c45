"""Patterns and fusions on graphs made by hand: what is a mean, what is an upsampling by two, what would be a circle."""

import pytest

pytest.importorskip("onnx", reason="ONNX is not installed")

import torch
from torch import Tensor

from mmcaf_kernels.graph.fuse import Call, fuse
from mmcaf_kernels.graph.fusions import upsample_dw
from mmcaf_kernels.graph.graph import Graph, Node
from mmcaf_kernels.graph.pattern import Mean, Value, View

SHAPE = (1, 2, 3, 4, 5)
SPACE = 3 * 4 * 5


def graph(nodes: list[Node], constants: dict[str, Tensor], sizes: dict[str, tuple[int, ...]]) -> Graph:
    """All float32 but its constants; the last node makes the output."""
    made = Graph(nodes, constants, {"x": SHAPE}, nodes[-1].outputs)
    made.sizes.update({name: tuple(tensor.shape) for name, tensor in constants.items()}, x=SHAPE, **sizes)
    made.types.update({name: tensor.dtype for name, tensor in constants.items()})
    made.types.update(dict.fromkeys(("x", *sizes), torch.float32))
    return made


@pytest.mark.parametrize(
    ("operator", "factor", "fits"),
    [
        ("Mul", 1 / SPACE, True),
        ("Div", SPACE, True),
        ("Mul", SPACE, False),
        ("Div", 1 / SPACE, False),
        ("Mul", 1 / 20, False),
        ("Mul", 0.0, False),
    ],
)
def test_a_sum_is_a_mean_if_it_is_divided_by_the_number_of_its_values(operator: str, factor: float, fits: bool) -> None:
    nodes = [Node("ReduceSum", ("x", "axes"), ("sum",), {}), Node(operator, ("sum", "factor"), ("y",), {})]
    constants = {"axes": torch.tensor([2, 3, 4]), "factor": torch.tensor(factor)}
    view = View(graph(nodes, constants, {"sum": (1, 2, 1, 1, 1), "y": (1, 2, 1, 1, 1)}))
    assert (view.match(Mean(Value(), 2, 3, 4), "y") is not None) is fits


@pytest.mark.parametrize(
    ("size", "fits"), [((6, 8, 10), True), ((6, 8, 5), False), ((3, 4, 5), False), ((9, 12, 15), False)]
)
def test_only_an_upsampling_by_two_is_the_kernels(size: tuple[int, int, int], fits: bool) -> None:
    large = (1, 2, *size)
    settings = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    pads = {"group": 2, "pads": [1] * 6}
    nodes = [
        Node("Resize", ("x", "", "", "sizes"), ("large",), settings),
        Node("Conv", ("large", "weight"), ("convolved",), pads),
        Node("Relu", ("convolved",), ("y",), {}),
    ]
    constants = {"sizes": torch.tensor(large), "weight": torch.ones(2, 1, 3, 3, 3)}
    view = View(graph(nodes, constants, dict.fromkeys(("large", "convolved", "y"), large)))
    assert (upsample_dw.find(view, "y") is not None) is fits


@pytest.mark.parametrize(("reads", "fused"), [("x", True), ("later", False)])
def test_a_call_never_reads_what_follows_from_it(reads: str, fused: bool) -> None:
    nodes = [Node("Relu", ("x",), ("early",), {}), Node("Exp", ("early",), ("later",), {})]
    found = graph(nodes, {}, {"early": SHAPE, "later": SHAPE})
    fuse(found, [lambda view, name: Call("kernel", [reads], []) if name == "early" else None])
    assert any("kernel" in node.operator for node in found.nodes) is fused
