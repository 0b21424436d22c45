"""LSTM and Scan of the torch programs against ONNX Runtime."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("pydantic", reason="pydantic is not installed")
pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from kernels.networks import shapes
from mmcaf_kernels.graph import Network, UnsupportedGraphError

DRAW = np.random.default_rng(5)
STEPS, BATCH, WIDTH, HIDDEN = 7, 2, 5, 3
Arrays = dict[str, NDArray[Any]]


def numbers(*shape: int) -> NDArray[np.float32]:
    return DRAW.normal(size=shape).astype(np.float32)


def write(
    path: Path, nodes: list[onnx.NodeProto], feed: Arrays, outputs: tuple[str, ...], constants: Arrays | None = None
) -> Path:
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in feed.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def compare(path: Path, feed: Arrays) -> dict[str, NDArray[np.float32]]:
    """What the program answers, which is what ONNX Runtime does."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_outputs()]
    found = Network(path).program(shapes(feed))(feed)
    for name, expected in zip(names, session.run(names, feed), strict=True):
        assert found[name].shape == expected.shape, name
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)
    return found


def lstm(directions: int, extras: str) -> Arrays:
    """Weights of an LSTM; `extras` are "b" for a bias, "h" and "c" for initial states."""
    every = {
        "w": numbers(directions, 4 * HIDDEN, WIDTH),
        "r": numbers(directions, 4 * HIDDEN, HIDDEN),
        "b": numbers(directions, 8 * HIDDEN),
        "h": numbers(directions, BATCH, HIDDEN),
        "c": numbers(directions, BATCH, HIDDEN),
    }
    return {name: array for name, array in every.items() if name in "wr" + extras}


@pytest.mark.parametrize("extras", ["", "b", "bh", "bhc"], ids=["plain", "bias", "output", "states"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm(direction: str, extras: str, tmp_path: Path) -> None:
    weights = lstm(2 if direction == "bidirectional" else 1, extras)
    places = [name if name in weights else "" for name in ("w", "r", "b", "", "h", "c")]
    outputs = ("y", "last_h", "last_c")
    node = helper.make_node("LSTM", ["x", *places], outputs, hidden_size=HIDDEN, direction=direction)
    feed = {"x": numbers(STEPS, BATCH, WIDTH)}
    compare(write(tmp_path / "lstm.onnx", [node], feed, outputs, weights), feed)


@pytest.mark.parametrize(
    ("places", "attributes", "said"),
    [
        (["w", "r", "", "lengths"], {}, "lengths of sequences or peepholes"),
        (["w", "r", "", "", "", "", "peepholes"], {}, "lengths of sequences or peepholes"),
        (["w", "r"], {"clip": 3.0}, "clip is 3.0"),
        (["w", "r"], {"layout": 1}, "layout is 1"),
        (["w", "r"], {"input_forget": 1}, "input_forget is 1"),
        (["w", "r"], {"activations": ["Relu", "Tanh", "Tanh"]}, "activations is"),
    ],
    ids=["lengths", "peepholes", "clip", "layout", "coupled", "activations"],
)
def test_other_lstms_are_refused(places: list[str], attributes: dict[str, Any], said: str, tmp_path: Path) -> None:
    constants = lstm(1, "") | {"lengths": np.full(BATCH, 3, np.int32), "peepholes": numbers(1, 3 * HIDDEN)}
    node = helper.make_node("LSTM", ["x", *places], ["y"], name="here", hidden_size=HIDDEN, **attributes)
    feed = {"x": numbers(STEPS, BATCH, WIDTH)}
    path = write(tmp_path / "lstm.onnx", [node], feed, ("y",), {n: a for n, a in constants.items() if n in places})
    with pytest.raises(UnsupportedGraphError, match=f"here .*{said}"):
        Network(path).program(shapes(feed))


def body(nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str], **constants: NDArray[Any]) -> Any:
    """The graph of one turn; every shape is left open."""
    values = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
              for names in (inputs, outputs)]  # fmt: skip
    return helper.make_graph(nodes, "turn", *values, [numpy_helper.from_array(a, n) for n, a in constants.items()])


def running_sum() -> Any:
    """sum' = 0.5 sum + slice; puts out sum' and twice the slice."""
    nodes = [
        helper.make_node("Mul", ["sum", "half"], ["held"]),
        helper.make_node("Add", ["held", "slice"], ["next"]),
        helper.make_node("Identity", ["next"], ["made"]),
        helper.make_node("Add", ["slice", "slice"], ["twice"]),
    ]
    return body(nodes, ["sum", "slice"], ["next", "made", "twice"], half=np.array(0.5, np.float32))


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((STEPS, BATCH, WIDTH), {}),
        ((1, BATCH, WIDTH), {}),
        ((STEPS, BATCH, WIDTH), {"scan_input_directions": [1]}),
        ((STEPS, BATCH, WIDTH), {"scan_output_directions": [1, 0]}),
        ((BATCH, STEPS, WIDTH), {"scan_input_axes": [1], "scan_output_axes": [0, 2]}),
        ((BATCH, WIDTH, STEPS), {"scan_input_axes": [-1], "scan_output_axes": [-1, 1], "scan_input_directions": [1]}),
    ],
    ids=["plain", "one turn", "from the end", "to the front", "along an axis", "last axis from the end"],
)
def test_scan(shape: tuple[int, ...], attributes: dict[str, Any], tmp_path: Path) -> None:
    outputs = ("last", "sums", "doubles")
    node = helper.make_node("Scan", ["start", "x"], outputs, body=running_sum(), num_scan_inputs=1, **attributes)
    feed = {"start": numbers(BATCH, WIDTH), "x": numbers(*shape)}
    found = compare(write(tmp_path / "scan.onnx", [node], feed, outputs), feed)
    assert found["last"].shape == (BATCH, WIDTH)


def test_a_scan_takes_values_and_settings_from_outside(tmp_path: Path) -> None:
    """Of two Scans with the same names inside, values made outside, constants outside and inside, and shapes."""
    nodes = [
        helper.make_node("Mul", ["part", "factor"], ["scaled"]),
        helper.make_node("Constant", [], ["front"], value_ints=[BATCH]),
        helper.make_node("Concat", ["front", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["scaled", "wanted"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weight"], ["product"]),
        helper.make_node("Add", ["state", "product"], ["moved"]),
        helper.make_node("Mul", ["moved", "own"], ["out_state"]),
        helper.make_node("Add", ["out_state", "other"], ["out"]),
    ]

    def turn(own: float) -> Any:
        return body(nodes, ["state", "part", "other"], ["out_state", "out"], own=np.array(own, np.float32))

    every = [
        helper.make_node("Exp", ["log_factor"], ["factor"]),
        helper.make_node("Scan", ["start", "x", "z"], ["unread", "first"], body=turn(0.5), num_scan_inputs=2),
        helper.make_node("Scan", ["start", "x", "first"], ["last", "second"], body=turn(0.25), num_scan_inputs=2),
    ]
    feed = {
        "log_factor": numbers(WIDTH),
        "start": numbers(BATCH, HIDDEN),
        "x": numbers(STEPS, 1, BATCH, WIDTH),
        "z": numbers(STEPS, BATCH, HIDDEN),
    }
    constants = {"rest": np.array([-1], np.int64), "weight": numbers(WIDTH, HIDDEN)}
    compare(write(tmp_path / "scan.onnx", every, feed, ("last", "second"), constants), feed)


def test_a_scan_within_a_scan(tmp_path: Path) -> None:
    inner = helper.make_node(
        "Scan", ["zero", "row"], ["total", "sums", "unread"], body=running_sum(), num_scan_inputs=1
    )
    nodes = [inner, helper.make_node("Add", ["carried", "total"], ["carry"])]
    outer = body(nodes, ["carried", "row"], ["carry", "sums"], zero=np.zeros((), np.float32))
    node = helper.make_node("Scan", ["start", "x"], ["end", "every"], body=outer, num_scan_inputs=1)
    feed = {"start": numbers(), "x": numbers(3, STEPS)}
    compare(write(tmp_path / "nested.onnx", [node], feed, ("end", "every")), feed)


@pytest.mark.parametrize(
    ("nodes", "inputs", "said"),
    [
        ([helper.make_node("Mish", ["a"], ["b"])], ["start", "x"], "the network uses Mish"),
        ([helper.make_node("Add", ["a", "s"], ["b"])], ["start", "", "x"], "3 inputs for a body of 2"),
        ([helper.make_node("Reshape", ["s", "a"], ["b"])], ["start", "x"], r"\(Reshape\): input 1 is not constant"),
    ],
    ids=["unknown inside", "older form", "moving shape"],
)
def test_other_scans_are_refused(nodes: list[onnx.NodeProto], inputs: list[str], said: str, tmp_path: Path) -> None:
    node = helper.make_node("Scan", inputs, ["y"], name="here", body=body(nodes, ["a", "s"], ["b"]), num_scan_inputs=1)
    feed = {"start": numbers(1), "x": numbers(STEPS, 1)}
    with pytest.raises(UnsupportedGraphError, match=said):
        Network(write(tmp_path / "scan.onnx", [node], feed, ("y",))).program(shapes(feed))


@pytest.mark.parametrize("lengths", [(STEPS, STEPS + 1), (0, 0)], ids=["different", "none"])
def test_sequences_without_common_steps_are_refused(lengths: tuple[int, int], tmp_path: Path) -> None:
    inside = body([helper.make_node("Add", ["p", "q"], ["sum"])], ["p", "q"], ["sum"])
    node = helper.make_node("Scan", ["x", "z"], ["y"], name="here", body=inside, num_scan_inputs=2)
    feed = {name: numbers(length, 1) for name, length in zip("xz", lengths, strict=True)}
    said = rf"here \(Scan\): sequences of \[{lengths[0]}, {lengths[1]}\] steps"
    with pytest.raises(UnsupportedGraphError, match=said):
        Network(write(tmp_path / "scan.onnx", [node], feed, ("y",))).program(shapes(feed))
