"""Which convolutions are candidates for INT8, what they cost, and which of them are worth it."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from mmcaf_export.onnx_files import load_model
from mmcaf_export.precision.layers import LEAST_SHARE, Layer, candidates, multiplied, worthwhile
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
    assert candidates(model) == (
        Layer("first", "image", 2 * (8 * 4 * 5 * 6) * (3 * 27)),
        Layer("last", "fourth", 2 * (2 * 4 * 5 * 6) * 5),
    )
    assert candidates(model, grouped=True)[1:3] == (
        Layer("second", "first", 2 * (8 * 4 * 5 * 6) * 2),
        Layer("third", "second", 2 * (8 * 4 * 5 * 6)),
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


LAYERS = (Layer("a", "x", 3_000_000_000), Layer("b", "y", 1_000_000), Layer("c", "z", 0))


def test_arithmetic_stands_for_time_that_was_not_measured() -> None:
    assert worthwhile(LAYERS, None) == {"a": 3.0, "b": 0.001, "c": 0.0}


@pytest.mark.parametrize(
    ("spent", "expected"),
    [
        ({"a": (4.0, 1.5), "b": (3.0, 3.5), "c": (3.0, 2.0)}, {"a": 2.5, "c": 1.0}),
        ({"a": (4.0, 4.0), "b": (6.0, 6.0)}, {}),
        ({"a": (5.0, 5.0 - 5.1 * LEAST_SHARE), "b": (5.0, 5.0 - 11 * LEAST_SHARE)}, {"b": 11 * LEAST_SHARE}),
        ({}, {}),
    ],
    ids=["slower in INT8", "as fast", "hardly faster", "nothing measured"],
)
def test_only_what_is_faster(spent: dict[str, tuple[float, float]], expected: dict[str, float]) -> None:
    assert worthwhile(LAYERS, spent) == pytest.approx(expected)
