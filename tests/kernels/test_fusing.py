"""Patterns and fusions on graphs made by hand: what is a mean, what is an upsampling by two, what would be a circle."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_kernels.graph.fuse import Call, fuse
from mmcaf_kernels.graph.fusions import upsample_dw
from mmcaf_kernels.graph.graph import Graph, Node
from mmcaf_kernels.graph.pattern import Mean, Value, View

SHAPE = (1, 2, 3, 4, 5)
SPACE = 3 * 4 * 5


def graph(nodes: list[Node], constants: dict[str, NDArray[Any]], sizes: dict[str, tuple[int, ...]]) -> Graph:
    """All float32 but its constants; the last node makes the output."""
    made = Graph(nodes, constants, {"x": SHAPE}, nodes[-1].outputs)
    made.sizes.update({name: array.shape for name, array in constants.items()}, x=SHAPE, **sizes)
    made.types.update({name: array.dtype.name for name, array in constants.items()})
    made.types.update(dict.fromkeys(("x", *sizes), "float32"))
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
    constants = {"axes": np.array([2, 3, 4]), "factor": np.array(factor, np.float32)}
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
    constants = {"sizes": np.array(large), "weight": np.ones((2, 1, 3, 3, 3), np.float32)}
    view = View(graph(nodes, constants, dict.fromkeys(("large", "convolved", "y"), large)))
    assert (upsample_dw.find(view, "y") is not None) is fits


@pytest.mark.parametrize(("reads", "fused"), [("x", True), ("later", False)])
def test_a_call_never_reads_what_follows_from_it(reads: str, fused: bool) -> None:
    nodes = [Node("Relu", ("x",), ("early",), {}), Node("Exp", ("early",), ("later",), {})]
    found = graph(nodes, {}, {"early": SHAPE, "later": SHAPE})
    fuse(found, [lambda view, name: Call("kernel", [reads], []) if name == "early" else None])
    assert any("kernel" in node.operator for node in found.nodes) is fused


@pytest.mark.parametrize("one_type", [True, False])
def test_casts_to_whole_numbers_say_nothing_of_the_type_to_compute_in(one_type: bool) -> None:
    nodes = [
        Node("Cast", ("x",), ("of_x",), {"to": 7}),
        Node("Relu", ("x",), ("y",), {}),
        Node("Cast", ("y",), ("of_y",), {"to": 7}),
        Node("Add", ("of_x", "of_y"), ("sum",), {}),
    ]
    found = graph(nodes, {}, dict.fromkeys(("of_x", "y", "of_y", "sum"), SHAPE))
    found.types.update(dict.fromkeys(("of_x", "of_y", "sum"), "int64"))
    fuse(found, [lambda view, name: Call("kernel", ["x"], []) if name == "y" else None], one_type=one_type)
    assert sorted(node.operator for node in found.nodes) == ["Add", "Cast", "Cast", "mmcaf.kernel"]
    assert found.types["y"] == "float32"


def test_patterns_and_shared_fusions_need_neither_torch_nor_onnx() -> None:
    """A workstation has neither."""
    program = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None;"
        "from mmcaf_kernels.graph import UnsupportedGraphError, fuse, pattern;"
        "from mmcaf_kernels.graph.fusions import groupnorm_act, kan, msca_attention, msdc, upsample_dw"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
