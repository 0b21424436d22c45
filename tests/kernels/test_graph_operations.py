"""Every ONNX operator of the torch programs against ONNX Runtime."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("pydantic", reason="pydantic is not installed")
pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from kernels.networks import answer, shapes
from mmcaf_kernels.graph import Network, UnsupportedGraphError
from mmcaf_kernels.graph.graph import KERNEL
from mmcaf_kernels.graph.operators import OPERATIONS

DRAW = np.random.default_rng(3)
X = DRAW.normal(size=(2, 4, 3, 6, 5)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
ROWS = DRAW.normal(size=(3, 6)).astype(np.float32)


def numbers(*shape: int) -> NDArray[np.float32]:
    return DRAW.normal(size=shape).astype(np.float32)


def whole(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def one(operator: str, x: NDArray[Any], *constants: NDArray[Any] | None, **attributes: Any) -> Any:
    """A case of one node that reads x and constants."""
    case = ",".join([operator, *(f"{key}={value}" for key, value in attributes.items() if not isinstance(value, list))])
    return pytest.param([(operator, len(constants), attributes)], x, list(constants), id=case)


CASES = [
    *(one(operator, X, numbers(4, 1, 1, 1)) for operator in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum")),
    one("MatMul", X, numbers(5, 7)),
    one("Einsum", numbers(2, 3, 4, 5), numbers(2, 3, 6, 5), equation="blxd,blyd->blxy"),
    one("Einsum", numbers(2, 3), equation="ij->ji"),
    one("GatherND", X, np.array([[0, 3], [-1, 1], [0, 3]])),
    one("GatherND", X, np.array([[[1]], [[-2]]])),
    one("ScatterND", X, np.array([[0, 3], [-1, 1]]), numbers(2, 3, 6, 5)),
    one("ScatterND", X, np.array([[1]]), numbers(1, 4, 3, 6, 5)),
    one("Pow", POSITIVE, np.array(2.5, np.float32)),
    *(one(operator, X) for operator in ("Neg", "Abs", "Exp", "Erf", "Tanh", "Sigmoid", "Relu", "Softplus", "Identity")),
    *(one(operator, POSITIVE) for operator in ("Sqrt", "Log", "Reciprocal")),
    *(one(operator, X) for operator in ("HardSwish", "Sin", "Cos", "Sign", "Floor", "Ceil", "Round")),
    one("Round", np.array([-1.5, -0.5, 0.5, 2.5], np.float32)),
    one("PRelu", X, numbers(4, 1, 1, 1)),
    one("HardSigmoid", X),
    one("HardSigmoid", X, alpha=0.1, beta=0.3),
    one("LeakyRelu", X, alpha=0.2),
    one("LeakyRelu", X),
    one("Elu", X, alpha=0.7),
    one("Gelu", X),
    one("Gelu", X, approximate="tanh"),
    one("Clip", X, np.array(-0.5, np.float32), np.array(0.25, np.float32)),
    one("Clip", X, None, np.array(0.25, np.float32)),
    one("Softmax", X, axis=1),
    one("Softmax", X),
    one("LogSoftmax", X),
    one("LogSoftmax", X, axis=2),
    one("Tile", ROWS, whole(2, 3)),
    one("CumSum", X, whole(-2)),
    one("GatherElements", ROWS, np.array([[0, -1], [2, 5], [1, 1]], np.int64), axis=1),
    one("ScatterElements", ROWS, np.array([[0, -1], [2, 5], [1, 3]], np.int64), numbers(3, 2), axis=1),
    one("ScatterElements", ROWS, whole(0, 0, 2).reshape(3, 1), numbers(3, 1), axis=0, reduction="add"),
    one("ScatterND", X, np.array([[0, 3], [-1, 1]], np.int64), numbers(2, 3, 6, 5)),
    one("Conv", X, numbers(6, 4, 1, 1, 1), numbers(6)),
    one("Conv", X, numbers(6, 4, 1, 1, 1), strides=[1, 2, 2]),
    one("Conv", X, numbers(6, 2, 3, 3, 1), numbers(6), group=2, pads=[1, 1, 0, 1, 1, 0], dilations=[1, 2, 1]),
    one("Conv", X, numbers(4, 1, 1, 3, 3), group=4, pads=[0, 1, 0, 0, 0, 2], strides=[1, 2, 1]),
    one("Conv", X[:, :, 0], numbers(3, 4, 3, 3), pads=[1, 1, 1, 1]),
    one("Gemm", ROWS, numbers(6, 2), numbers(2), alpha=0.5, beta=2.0),
    one("Gemm", ROWS, numbers(2, 6), numbers(1, 2), transB=1),
    one("Gemm", ROWS, numbers(3, 2), transA=1),
    one("BatchNormalization", X, numbers(4), numbers(4), numbers(4), np.abs(numbers(4)), epsilon=1e-3),
    one("LayerNormalization", X, numbers(6, 5), numbers(6, 5), axis=-2),
    one("LayerNormalization", X, numbers(5)),
    one("InstanceNormalization", X, numbers(4), numbers(4)),
    one("MaxPool", X, kernel_shape=[3, 3, 3], strides=[2, 2, 2], pads=[1] * 6),
    one("MaxPool", X[:, :, 0], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    one("AveragePool", X, kernel_shape=[2, 3, 3], pads=[1] * 6, count_include_pad=1),
    one("AveragePool", X, kernel_shape=[2, 3, 3], pads=[1] * 6),
    one("GlobalAveragePool", X),
    *(one(f"Reduce{kind}", X, whole(2, -1), keepdims=keep)
      for kind in ("Mean", "Sum", "Max", "Min", "L2") for keep in (0, 1)),
    one("ReduceSum", X),
    one("ReduceSum", X, noop_with_empty_axes=1),
    one("Reshape", X, whole(0, -1, 15)),
    one("Flatten", X, axis=2),
    one("Unsqueeze", X, whole(0, -1)),
    one("Squeeze", X[:, :1, :1], whole(1, 2)),
    one("Squeeze", X[:, :1, :1]),
    one("Transpose", X, perm=[0, 2, 1, 4, 3]),
    one("Transpose", ROWS),
    one("Expand", ROWS, whole(2, 1, 6)),
    one("Concat", X, numbers(2, 1, 3, 6, 5), axis=1),
    one("Slice", X, whole(1, 0), whole(2**62, -1), whole(3, -1), whole(2, 1)),
    one("Slice", X, whole(-1, 4), whole(-(2**62), 0), whole(3, -1), whole(-2, -1)),
    one("Slice", X, whole(1), whole(4), whole(3), whole(-1)),
    one("Gather", X, np.array([[0, -1], [2, 1]], np.int64), axis=1),
    one("Gather", X, whole(2, 0, 3), axis=-4),
    one("Gather", np.array([1.5, 2.5, 3.5], np.float32), np.array(-1, np.int64)),
    one("Pad", X, whole(0, 0, 1, 0, 2, 0, 0, 0, 0, 1), np.array(0.5, np.float32)),
    one("Pad", X, whole(1, 0, 2, 3), None, whole(-1, 2)),
    one("Resize", X, None, None, whole(2, 4, 6, 12, 10), mode="linear",
        coordinate_transformation_mode="align_corners"),
    one("Resize", X[:, :, 0], None, None, whole(2, 4, 12, 7), mode="linear"),
    one("Resize", X, None, np.array([1, 1, 2, 2, 2], np.float32), mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric"),
    *(pytest.param([(f"{operator}", 1, {}), ("Cast", 0, {"to": 1})], X, [numbers(4, 1, 1, 1)], id=operator)
      for operator in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")),
    pytest.param([("Less", 1, {}), ("Not", 0, {}), ("Where", 2, {})], X,
                 [np.array(0, np.float32), numbers(5), numbers(6, 1)], id="Not,Where"),
    *(pytest.param([("Less", 1, {}), (operator, 1, {}), ("Cast", 0, {"to": 1})], X,
                   [np.array(0, np.float32), numbers(6, 1) > 0], id=operator) for operator in ("And", "Or")),
]  # fmt: skip


def write(path: Path, nodes: list[onnx.NodeProto], feed: dict[str, NDArray[Any]], constants: dict[str, Any]) -> Path:
    """A network of one output, "out", of any shape."""
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in feed.items()],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize(("chain", "x", "constants"), CASES)
def test_as_onnx_runtime(
    chain: list[tuple[str, int, dict[str, Any]]], x: NDArray[Any], constants: list[NDArray[Any] | None], tmp_path: Path
) -> None:
    named = {f"c{index}": constant for index, constant in enumerate(constants) if constant is not None}
    left, nodes, value = [f"c{i}" if c is not None else "" for i, c in enumerate(constants)], [], "x"
    for place, (operator, count, attributes) in enumerate(chain):
        inputs, left = left[:count], left[count:]
        made = "out" if place == len(chain) - 1 else f"v{place}"
        nodes.append(helper.make_node(operator, [value, *inputs], [made], **attributes))
        value = made
    path = write(tmp_path / "case.onnx", nodes, {"x": x}, named)
    found, expected = Network(path).program({"x": x.shape})({"x": x})["out"], answer(path, {"x": x})
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_split_gives_all_its_parts(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["x", "lengths"], ["a", "b"], axis=2),
        helper.make_node("ReduceMax", ["b"], ["peak"]),
        helper.make_node("Mul", ["a", "peak"], ["out"]),
    ]
    path = write(tmp_path / "split.onnx", nodes, {"x": X}, {"lengths": whole(1, 2)})
    np.testing.assert_allclose(Network(path).program({"x": X.shape})({"x": X})["out"], answer(path, {"x": X}))


def test_what_follows_from_shapes_and_constants_alone_is_computed_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], start=0, end=2),
        helper.make_node("Constant", [], ["rest"], value_ints=[-1]),
        helper.make_node("Concat", ["shape", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["flat"]),
        helper.make_node("Mul", ["two", "two"], ["four"]),
        helper.make_node("Mul", ["flat", "four"], ["out"]),
    ]
    path = write(tmp_path / "shape.onnx", nodes, {"x": X}, {"two": np.array(2, np.float32)})
    program = Network(path).program({"x": X.shape})
    assert len(program._steps) == 2
    np.testing.assert_array_equal(program({"x": X})["out"], 4 * X.reshape(2, 4, -1))


def test_a_range_is_computed_once(tmp_path: Path) -> None:
    nodes = [helper.make_node("Range", ["start", "end", "step"], ["r"]), helper.make_node("Mul", ["x", "r"], ["out"])]
    numbers = {name: np.array(value, np.float32) for name, value in (("start", 4), ("end", -1), ("step", -1))}
    path = write(tmp_path / "range.onnx", nodes, {"x": X}, numbers)
    program = Network(path).program({"x": X.shape})
    assert len(program._steps) == 1
    np.testing.assert_array_equal(program({"x": X})["out"], answer(path, {"x": X}))


def test_every_operation_is_tried() -> None:
    tried = {operator for case in CASES for operator, _, _ in case.values[0]} | {"Split", "Constant", "Shape", "Range"}
    tried |= {"LSTM", "Scan"}  # in test_graph_loops.py
    assert {name for name in OPERATIONS if not name.startswith(KERNEL)} <= tried


def test_unknown_operators_are_refused_by_name(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mish", ["x"], ["y"]),
        helper.make_node("Strange", ["y"], ["z"], domain="org.example"),
        helper.make_node("Relu", ["z"], ["out"]),
    ]
    path = write(tmp_path / "unknown.onnx", nodes, {"x": X}, {})
    with pytest.raises(UnsupportedGraphError, match=r"the network uses Mish, org\.example\.Strange"):
        Network(path).program({"x": X.shape})


@pytest.mark.parametrize(
    ("operator", "constants", "attributes", "said"),
    [
        ("Conv", [numbers(4, 4, 3, 3, 3)], {"auto_pad": "SAME_UPPER"}, "auto_pad is 'SAME_UPPER'"),
        ("Pad", [whole(*[1] * 10)], {"mode": "reflect"}, "mode is 'reflect'"),
        ("Slice", [whole(0), whole(9), whole(4), whole(0)], {}, r"steps are \[0\]"),
        ("Resize", [None, None, whole(2, 4, 6, 12, 10)], {"mode": "cubic"}, "mode is 'cubic'"),
        ("Resize", [None, None, whole(2, 4, 6, 12, 10)], {"mode": "nearest"}, "nearest with half_pixel"),
        ("MaxPool", [], {"kernel_shape": [2, 2, 2], "pads": [0, 0, 0, 1, 1, 1]}, "the same at both ends"),
        ("Cast", [], {"to": 8}, "to is 8"),
        ("Reshape", [whole(7, 7)], {}, r"\(Reshape\) of \[\[2, 4, 3, 6, 5\]\]: shape"),
    ],
    ids=["auto_pad", "reflect", "no step", "cubic", "nearest", "one-sided", "string", "impossible"],
)
def test_unknown_settings_are_refused(
    operator: str, constants: list[Any], attributes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    named = {f"c{index}": constant for index, constant in enumerate(constants) if constant is not None}
    inputs = ["x", *(f"c{i}" if c is not None else "" for i, c in enumerate(constants))]
    node = helper.make_node(operator, inputs, ["out"], name="here", **attributes)
    path = write(tmp_path / "setting.onnx", [node], {"x": X}, named)
    with pytest.raises(UnsupportedGraphError, match=f"here .*{said}"):
        Network(path).program({"x": X.shape})


def test_settings_must_be_constant(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["sizes"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["x", "whole"], ["out"]),
    ]
    feed = {"x": X, "sizes": np.array([8, 90], np.float32)}
    path = write(tmp_path / "dynamic.onnx", nodes, feed, {})
    with pytest.raises(UnsupportedGraphError, match=r"\(Reshape\): input 1 is not constant"):
        Network(path).program(shapes(feed))


def test_other_inputs_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "relu.onnx", [helper.make_node("Relu", ["x"], ["out"])], {"x": X}, {})
    with pytest.raises(ValueError, match=r"inputs \['y'\] were given; the network takes \['x'\]"):
        Network(path).program({"y": X.shape})
    with pytest.raises(ValueError, match=r"input x is \[1, 4, 3, 6, 5\]; expected \[2, 4, 3, 6, 5\]"):
        Network(path).program({"x": X.shape})({"x": X[:1]})
