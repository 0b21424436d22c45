"""Which convolutions are candidates for INT8, and how large they are."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from mmcaf_export.onnx_files import load_model
from mmcaf_export.precision.layers import Layer, candidates, multiplied
from small_networks import save_network


def test_candidates_and_their_arithmetic(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "dense"], ["first"], strides=[1, 2, 2], pads=[1] * 6),
        helper.make_node("Conv", ["first", "grouped"], ["second"], group=4),
        helper.make_node("Conv", ["second", "depthwise"], ["third"], group=8),
        helper.make_node("Conv", ["third", "made"], ["fourth"]),
        helper.make_node("Conv", ["fourth", "pointwise", "bias"], ["y"], name="last"),
    ]
    constants = {
        "dense": np.zeros((8, 3, 3, 3, 3), np.float32),
        "grouped": np.zeros((8, 2, 1, 1, 1), np.float32),
        "depthwise": np.zeros((8, 1, 1, 1, 1), np.float32),
        "pointwise": np.zeros((2, 5, 1, 1, 1), np.float32),
        "bias": np.zeros(2, np.float32),
    }
    inputs = {"image": ["N", 3, 4, 10, 12], "made": [5, 8, 1, 1, 1]}
    model = load_model(save_network(tmp_path / "m.onnx", nodes, inputs, {"y": ["N", 2, 4, 5, 6]}, constants))
    read, made = 3 * 4 * 10 * 12, 8 * 4 * 5 * 6
    assert candidates(model) == (
        Layer("first", "image", 2 * made * 81, read=read, written=made, weights=8 * 81, inputs=3, outputs=8),
        Layer("last", "fourth", 2 * 240 * 5, read=5 * 120, written=240, weights=10, inputs=5, outputs=2),
    )
    assert candidates(model, grouped=True)[1:3] == (
        Layer("second", "first", 2 * made * 2, read=made, written=made, weights=16, inputs=2, outputs=2),
        Layer("third", "second", 2 * made, read=made, written=made, weights=8, inputs=1, outputs=1),
    )


@pytest.mark.parametrize(
    ("operator", "attributes", "first", "second", "flops"),
    [
        ("MatMul", {}, [3, 5], [5, 2], 60),
        ("MatMul", {}, ["N", 4, 5], [5, 2], 80),
        ("MatMul", {}, ["N", 4, 3, 5], ["N", 4, 5, 2], 240),
        ("Gemm", {}, [3, 5], [5, 2], 60),
        ("Gemm", {"transB": 1}, [3, 5], [2, 5], 60),
        ("Gemm", {"transA": 1}, [5, 3], [5, 2], 60),
        ("Gemm", {"transA": 1, "transB": 1}, [5, 3], [2, 5], 60),
        ("Relu", {}, [3, 5], None, 0),
    ],
)
def test_the_arithmetic_of_products_is_that_of_what_is_summed(
    operator: str,
    attributes: dict[str, int],
    first: list[int | str],
    second: list[int | str] | None,
    flops: int,
    tmp_path: Path,
) -> None:
    inputs = {"a": first} if second is None else {"a": first, "b": second}
    output = first if second is None else [*first[:-2], 3 if operator == "Gemm" else first[-2], 2]
    node = helper.make_node(operator, list(inputs), ["y"], **attributes)
    model = load_model(save_network(tmp_path / "m.onnx", [node], inputs, {"y": output}, {}))
    (found,) = model.graph
    assert multiplied(found) == flops


def test_what_reads_a_concatenation(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", ["image", "image"], ["twice"], axis=1),
        helper.make_node("Conv", ["twice", "weight"], ["first"], name="of both"),
        helper.make_node("Conv", ["first", "weight"], ["y"], name="of one"),
    ]
    constants = {"weight": np.zeros((4, 4, 1, 1, 1), np.float32)}
    path = save_network(tmp_path / "m.onnx", nodes, {"image": ["N", 2, 3, 4, 5]}, {"y": ["N", 4, 3, 4, 5]}, constants)
    assert [(layer.node, layer.joined) for layer in candidates(load_model(path))] == [
        ("of both", True),
        ("of one", False),
    ]
