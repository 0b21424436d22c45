"""Matrix products in fewer bits: which take part, what is stored, and the answers of numpy and of every runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from mmcaf_engine.backends.factory import Network, make_backend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.machine.cpu import processor
from mmcaf_engine.manifest import TensorSpec
from mmcaf_export.onnx_files import load_model, save_model
from mmcaf_export.precision import int8
from mmcaf_export.precision.calibration import largest_magnitudes
from mmcaf_export.precision.costs import Family, family_for
from mmcaf_export.precision.course import Course
from mmcaf_export.precision.layers import PRODUCT_FLOPS, Layer, candidates
from mmcaf_export.precision.qdq import insert_qdq
from mmcaf_export.precision.typed import Low, lower_precision, simulate_precision
from small_networks import answer, save_network
from tiny_bert import bert_network

ROWS, SUMMED, COLUMNS = 65, 96, 129
LARGEST = 2.25
GENERATOR = np.random.default_rng(17)
BIAS = GENERATOR.normal(size=COLUMNS).astype(np.float32)
SIZES = np.geomspace(1e-3, 1e2, COLUMNS).astype(np.float32)
"""The columns differ by orders of magnitude: one scale for several of them would be seen."""
WEIGHT = GENERATOR.normal(size=(SUMMED, COLUMNS)).astype(np.float32) * SIZES
WEIGHT[:, 3] = 0
KINDS: Mapping[str, tuple[int, ...]] = {
    "matmul rank 2": (ROWS, SUMMED),
    "matmul rank 3": (2, ROWS, SUMMED),
    "matmul rank 4": (1, 3, ROWS, SUMMED),
    "gemm": (ROWS, SUMMED),
    "gemm transB": (ROWS, SUMMED),
}
NUMPY: dict[Low, DTypeLike] = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}
LOW: dict[Low, int] = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
LENGTHS = (5, 16, 64)
INT8_UNITS = {"avx512_vnni", "avx_vnni", "amx_int8"}


def save_product(kind: str, folder: Path, rows: int = ROWS) -> Path:
    """y = -(x @ WEIGHT), with BIAS added in a Gemm."""
    operator, transposed = ("Gemm" if "gemm" in kind else "MatMul"), kind.endswith("transB")
    shape = (*KINDS[kind][:-2], rows, SUMMED)
    inputs = ["x", "weight", "bias"] if operator == "Gemm" else ["x", "weight"]
    attributes = {"transB": 1} if transposed else {}
    nodes = [
        helper.make_node(operator, inputs, ["product"], **attributes),
        helper.make_node("Neg", ["product"], ["y"]),
    ]
    constants = {"weight": np.ascontiguousarray(WEIGHT.T) if transposed else WEIGHT, "bias": BIAS}
    constants = {name: constants[name] for name in inputs[1:]}
    return save_network(folder / "fp32.onnx", nodes, {"x": shape}, {"y": (*shape[:-1], COLUMNS)}, constants)


def activation(kind: str) -> NDArray[np.float32]:
    return GENERATOR.normal(size=KINDS[kind]).astype(np.float32)


def in_int8(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Fake quantisation of an activation that is taken to reach LARGEST."""
    scale = np.float32(LARGEST / 127)
    return np.clip(np.rint(x / scale), -128, 127).astype(np.float64) * scale


def weight_in_int8() -> NDArray[np.float64]:
    """Fake quantisation of WEIGHT, column by column."""
    scales = [float(np.float32(np.abs(column).max() / np.float32(127))) or 1.0 for column in WEIGHT.T]
    return np.asarray(np.rint(WEIGHT.astype(np.float64) / scales) * scales)


def quantised(source: Path, nodes: tuple[str, ...] = ("product",)) -> Path:
    model = load_model(source)
    insert_qdq(model, nodes, {"x": LARGEST})
    save_model(model, source.with_name("int8.onnx"))
    return source.with_name("int8.onnx")


def numpy_answer(kind: str, x: NDArray[np.float32]) -> NDArray[np.float64]:
    return -(in_int8(x) @ weight_in_int8() + (BIAS if "gemm" in kind else 0))


def assert_alike(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Beside the size of each column and of the bias."""
    np.testing.assert_allclose(found / (SIZES + 1e-2), expected / (SIZES + 1e-2), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_int8_answers_as_numpy_does(kind: str, tmp_path: Path) -> None:
    source, x = save_product(kind, tmp_path), activation(kind)
    found = answer(quantised(source), {"x": x})
    assert_alike(found, numpy_answer(kind, x))
    assert np.abs((found - answer(source, {"x": x})) / SIZES).max() > 1e-2  # and not as FP32 does


@pytest.mark.parametrize("kind", KINDS)
def test_openvino_answers_as_numpy_does_and_in_int8(kind: str, tmp_path: Path) -> None:
    x = activation(kind)
    core = backend_class("openvino").runtime().Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
    request = core.compile_model(quantised(save_product(kind, tmp_path)), "CPU", settings).create_infer_request()
    request.infer({"x": x})
    assert_alike(request.get_tensor("y").data, numpy_answer(kind, x))
    kinds = [entry.exec_type for entry in request.profiling_info if "FullyConnected" in entry.node_type]
    assert kinds
    if INT8_UNITS & set(processor().instructions):
        assert all(one.endswith("i8") for one in kinds)


@pytest.mark.parametrize("kind", KINDS)
def test_what_int8_stores(kind: str, tmp_path: Path) -> None:
    graph = onnx.load(quantised(save_product(kind, tmp_path))).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (node,) = (node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored)
    weight, scales, zeros = (stored[name] for name in node.input)
    axis = 0 if kind == "gemm transB" else 1
    assert helper.get_node_attr_value(node, "axis") == axis
    assert weight.dtype == zeros.dtype == np.int8 and not zeros.any() and weight.min() >= -127
    assert scales.shape == zeros.shape == (COLUMNS,) and scales[3] == 1
    values = (weight.T if axis == 0 else weight) * scales
    np.testing.assert_allclose(values, weight_in_int8(), rtol=1e-6)
    assert "weight" not in stored, "the float weight is left behind"
    if "gemm" in kind:
        np.testing.assert_array_equal(stored["bias"], BIAS)


def test_one_weight_read_by_rows_and_by_columns(tmp_path: Path) -> None:
    square = GENERATOR.normal(size=(SUMMED, SUMMED)).astype(np.float32) * SIZES[:SUMMED]
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["columns"]),
        helper.make_node("Gemm", ["x", "weight"], ["rows"], transB=1),
        helper.make_node("Sub", ["columns", "rows"], ["y"]),
    ]
    shape = (ROWS, SUMMED)
    source = save_network(tmp_path / "fp32.onnx", nodes, {"x": shape}, {"y": shape}, {"weight": square})
    x = activation("gemm")
    found = answer(quantised(source, ("columns", "rows")), {"x": x})

    def stored(weight: NDArray[np.float32]) -> NDArray[np.float64]:
        scales = (np.abs(weight).max(axis=0) / np.float32(127)).astype(np.float64)
        return np.asarray(np.rint(weight / scales) * scales)

    expected = in_int8(x) @ (stored(square) - stored(square.T))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_which_products_take_part(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["made"], name="encoder.layer.11.query/MatMul"),
        helper.make_node("MatMul", ["made", "turned"], ["scores"], name="both are made"),
        helper.make_node("MatMul", ["x", "stack"], ["batched"], name="a matrix for each"),
        helper.make_node("MatMul", ["table", "weight"], ["constant"], name="nothing is made"),
        helper.make_node("MatMul", ["turned", "square"], ["by_input"], name="head/MatMul"),
        helper.make_node("Flatten", ["x"], ["flat"], axis=2),
        helper.make_node("Gemm", ["flat", "weight"], ["gemm"], name="encoder.2.dense/Gemm"),
        helper.make_node("Gemm", ["flat", "tall"], ["across"], name="transA", transA=1),
        helper.make_node("Gemm", ["flat", "narrow"], ["small"], name="classifier/Gemm"),
    ]
    constants = {
        "weight": WEIGHT,
        "stack": np.stack([WEIGHT, WEIGHT]),
        "table": np.ones((ROWS, SUMMED), np.float32),
        "square": GENERATOR.normal(size=(ROWS, 128)).astype(np.float32),
        "tall": GENERATOR.normal(size=(2 * ROWS, 99)).astype(np.float32),
        "narrow": GENERATOR.normal(size=(SUMMED, 2)).astype(np.float32),
    }
    inputs = {"x": (2, ROWS, SUMMED), "turned": (2, COLUMNS, ROWS)}
    outputs = {"scores": (2, ROWS, ROWS), "by_input": (2, COLUMNS, 128), "gemm": (2 * ROWS, COLUMNS)}
    outputs |= {"batched": (2, ROWS, COLUMNS), "constant": (ROWS, COLUMNS), "across": (SUMMED, 99)}
    outputs |= {"small": (2 * ROWS, 2)}
    source = save_network(tmp_path / "fp32.onnx", nodes, inputs, outputs, constants)
    flops = 2 * 2 * ROWS * SUMMED * COLUMNS
    found = candidates(load_model(source))
    assert [(layer.node, layer.input, layer.flops, layer.group) for layer in found] == [
        ("encoder.layer.11.query/MatMul", "x", flops, "encoder.layer.11"),
        ("head/MatMul", "turned", 2 * 2 * COLUMNS * ROWS * 128, ""),
        ("encoder.2.dense/Gemm", "flat", flops, "encoder.2"),
    ]
    first = found[0]
    assert (first.read, first.written, first.weights) == (2 * ROWS * SUMMED, 2 * ROWS * COLUMNS, SUMMED * COLUMNS)
    assert all((layer.inputs, layer.outputs) == (SUMMED, COLUMNS) for layer in (first, found[2]))
    for name in ("both are made", "a matrix for each", "nothing is made", "transA"):
        with pytest.raises(ValueError, match=f"{name} is no convolution or product with a stored weight"):
            quantised(source, (name,))


@pytest.mark.parametrize("kind", ["matmul rank 2", "gemm transB"])
def test_small_products_stay_in_fp32(kind: str, tmp_path: Path) -> None:
    fewest = -(-PRODUCT_FLOPS // (2 * SUMMED * COLUMNS))
    for rows, large in ((fewest, True), (fewest - 1, False)):
        source = save_product(kind, tmp_path, rows)
        assert bool(candidates(load_model(source))) is large
        for precision in LOW:
            model = load_model(source)
            lower_precision(model, precision)
            lowered = {node.outputs[0].dtype for node in model.graph if node.name == "product"}
            assert (lowered == {LOW[precision]}) is large


def test_a_network_of_convolutions_and_small_products_is_as_before() -> None:
    """Every product of the demonstration is small: gates, the table's branch, the classifier."""
    model = load_model(demo_bundle() / "model.onnx")
    operators = {node.name: node.op_type for node in model.graph}
    assert sum(operator in ("MatMul", "Gemm") for operator in operators.values()) > 40
    assert {operators[layer.node] for layer in candidates(model, grouped=True)} == {"Conv"}
    for precision, dtype in LOW.items():
        lowered = load_model(demo_bundle() / "model.onnx")
        lower_precision(lowered, precision)
        low = {node.op_type for node in lowered.graph if node.outputs[0].dtype == dtype}
        assert "Conv" in low and not low & {"MatMul", "Gemm"}


@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize("kind", KINDS)
def test_simulation_equals_numpy(kind: str, precision: Low, tmp_path: Path) -> None:
    source, x = save_product(kind, tmp_path), activation(kind)
    model = load_model(source)
    simulate_precision(model, precision)
    save_model(model, tmp_path / "simulated.onnx")
    found = answer(tmp_path / "simulated.onnx", {"x": x})

    def rounded(values: NDArray[Any]) -> NDArray[np.float64]:
        return values.astype(NUMPY[precision]).astype(np.float64)

    bias = rounded(BIAS) if "gemm" in kind else 0
    expected = -rounded(rounded(x) @ rounded(WEIGHT) + bias)
    step = 2.0**-10 if precision == "fp16" else 2.0**-7
    assert (np.abs(found - expected) <= step * np.abs(expected) + 1e-5 * (SIZES + 1)).all()
    assert (found == expected).mean() > 0.99  # a sum in float32 may fall on the other side of a tie
    assert (found == answer(source, {"x": x})).mean() < 0.5


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers whose products are large; those with weights are called after their layer."""
    model = bert_network(width=128, longest=LENGTHS[-1])
    initializers = {tensor.name for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in initializers]
    for number, node in enumerate(products):
        node.name = f"encoder.layer.{number // 6}.part{number % 6}/MatMul" if number < 12 else "head/MatMul"
    model = shape_inference.infer_shapes(model)
    for value in model.graph.value_info:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param.startswith("unk"):  # what inference loses over the slice of places
                axis.dim_param = "L"
    path = tmp_path_factory.mktemp("bert") / "fp32.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def windows() -> list[dict[str, NDArray[Any]]]:
    masks = [(np.arange(length) < length - 1).astype(np.int64)[None] for length in LENGTHS]
    return [{"input_ids": GENERATOR.integers(0, 50, mask.shape), "attention_mask": mask} for mask in masks]


@pytest.fixture(scope="module")
def bert_int8(bert: Path, windows: list[dict[str, NDArray[Any]]]) -> Path:
    """Every candidate in INT8, by the ranges of `windows`."""
    layers = candidates(load_model(bert))
    limits = largest_magnitudes(bert, {layer.input for layer in layers}, windows)
    int8.write_int8(bert, bert.with_name("int8.onnx"), [layer.node for layer in layers], limits)
    return bert.with_name("int8.onnx")


def every(layers: Sequence[Layer], _family: Family | None) -> dict[str, float]:
    """All layers gain by INT8."""
    return {layer.node: 1.0 for layer in layers}


def text_manifest() -> Any:
    """As far as a plan and a backend read it."""
    tokens, mask = (
        TensorSpec(name=name, kind=kind, dtype="int64", shape=("N", "L"))
        for name, kind in (("input_ids", "tokens"), ("attention_mask", "token_mask"))
    )
    outputs = (TensorSpec(name="logit", kind="score", shape=("N", 3)),)
    return SimpleNamespace(inputs=(tokens, mask), outputs=outputs, text=SimpleNamespace(buckets=LENGTHS))


def test_the_groups_of_a_bert(bert: Path) -> None:
    layers = candidates(load_model(bert))
    assert [layer.group for layer in layers] == ["encoder.layer.0"] * 6 + ["encoder.layer.1"] * 6


def test_runtimes_answer_a_quantised_bert_alike(bert: Path, bert_int8: Path, windows: list[Any]) -> None:
    exact = [answer(bert, window) for window in windows]
    for name in ("openvino", "onnxruntime"):
        network = Network.whole(text_manifest(), bert_int8)
        with make_backend(backend_class(name), network, 1, "int8") as opened:
            for window, expected in zip(windows, exact, strict=True):
                found = opened.infer(window)["logit"]
                np.testing.assert_allclose(found, answer(bert_int8, window), rtol=0, atol=0.02)
                assert 1e-5 < np.abs(found - expected).max() < 0.1


@pytest.mark.parametrize(("budget", "chosen"), [(1e-9, 0), (10.0, 12)], ids=["nothing fits", "everything fits"])
def test_products_of_a_layer_are_decided_together(
    budget: float, chosen: int, bert: Path, windows: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(int8, "worthwhile", every)
    course = Course(progress=lambda *step: told.append(step))
    planner = int8.Int8Planner(bert, text_manifest(), windows, method="minmax", family=family_for("cpu"), course=course)
    plan = planner.plan(budget)
    assert len(plan.layers) == chosen and len(plan.kept) == 12 - chosen
    assert [step[1:] for step in told if step[0] == "windows"] == [(done, 3) for done in (1, 2, 3)]
    for node, reason in plan.kept.items():
        assert reason.startswith("moves the logit by ")
        assert reason.endswith(f"with the other products of {node.partition('.part')[0]}")


def test_only_products_that_int8_makes_faster(bert: Path, windows: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    faster = {"encoder.layer.0.part4/MatMul", "encoder.layer.0.part5/MatMul"}

    monkeypatch.setattr(
        int8, "worthwhile", lambda layers, _family: {layer.node: 1.0 for layer in layers if layer.node in faster}
    )
    planner = int8.Int8Planner(
        bert, text_manifest(), windows, method="minmax", family=family_for("cpu"), course=Course()
    )
    plan = planner.plan(10.0)
    assert set(plan.layers) == faster
    assert set(plan.kept.values()) == {"INT8 saves too little time"} and len(plan.kept) == 10


@pytest.mark.parametrize("precision", LOW)
def test_types_of_a_bert(precision: Low, bert: Path, windows: list[Any], tmp_path: Path) -> None:
    model = load_model(bert)
    lower_precision(model, precision)
    save_model(model, tmp_path / "low.onnx")
    onnx.checker.check_model(tmp_path / "low.onnx", full_check=True)
    found: dict[str, set[bool]] = {}
    for node in load_model(tmp_path / "low.onnx").graph:
        if node.name != "head/MatMul":
            found.setdefault(node.op_type, set()).add(node.outputs[0].dtype == LOW[precision])
    assert found["MatMul"] == {True}, "also those of attention"
    for operator in ("Softmax", "LayerNormalization", "ReduceSum", "Gather"):
        assert found[operator] == {False}
    assert found["Add"] == ({True, False} if precision == "fp16" else {False})
    assert found["Erf"] == {precision == "fp16"}, "what stands between products"
    simulated = load_model(bert)
    simulate_precision(simulated, precision)
    save_model(simulated, tmp_path / "simulated.onnx")
    for window in windows:
        off = np.abs(answer(tmp_path / "simulated.onnx", window) - answer(bert, window)).max()
        assert 1e-6 < off < (5e-3 if precision == "fp16" else 5e-2)
    if precision == "fp16":
        for window in windows:
            np.testing.assert_allclose(answer(tmp_path / "low.onnx", window), answer(bert, window), atol=5e-3)


@pytest.mark.parametrize("precision", LOW)
def test_loops_stay_in_fp32(precision: Low, tmp_path: Path) -> None:
    """The body of a Scan reads a value from outside that is low there, and its own results feed a low product."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "row"], ["sum"]),
            helper.make_node("MatMul", ["sum", "square"], ["turned"]),
            helper.make_node("Add", ["turned", "outside"], ["next"]),
            helper.make_node("Identity", ["next"], ["shown"]),
        ],
        "step",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (ROWS, SUMMED)) for name in ("state", "row")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (ROWS, SUMMED)) for name in ("next", "shown")],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "square"], ["outside"]),
        helper.make_node("MatMul", ["outside", "square"], ["start"]),
        helper.make_node("Scan", ["start", "rows"], ["last", "every"], name="scan", num_scan_inputs=1, body=body),
        helper.make_node("MatMul", ["every", "weight"], ["after"]),
        helper.make_node("Neg", ["after"], ["y"]),
    ]
    square = GENERATOR.normal(0, SUMMED**-0.5, (SUMMED, SUMMED)).astype(np.float32)
    inputs = {"x": (ROWS, SUMMED), "rows": (3, ROWS, SUMMED)}
    constants = {"square": square, "weight": WEIGHT}
    source = save_network(tmp_path / "fp32.onnx", nodes, inputs, {"y": (3, ROWS, COLUMNS)}, constants)
    model = load_model(source)
    lower_precision(model, precision)
    save_model(model, tmp_path / "low.onnx")
    onnx.checker.check_model(tmp_path / "low.onnx", full_check=True)
    low = {node.name for node in model.graph if node.outputs[0].dtype == LOW[precision] and node.op_type != "Cast"}
    assert low == {"outside", "start", "after"}
    (scan,) = (node for node in onnx.load(tmp_path / "low.onnx").graph.node if node.op_type == "Scan")
    read = {name for node in helper.get_node_attr_value(scan, "body").node for name in node.input}
    assert "square" in read and "outside" not in read and "outside:float" in read
    if precision == "fp16":
        feed = {name: GENERATOR.normal(size=shape).astype(np.float32) for name, shape in inputs.items()}
        found, expected = answer(tmp_path / "low.onnx", feed), answer(source, feed)
        np.testing.assert_allclose(found / (SIZES + 1e-2), expected / (SIZES + 1e-2), rtol=0, atol=0.1)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_engines_are_built_without_a_gpu(precision: Any, bert: Path, bert_int8: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    from mmcaf_engine.backends.tensorrt.builder import build_engine
    from mmcaf_engine.backends.tensorrt.conv_precision import PRODUCTS, share_in
    from mmcaf_engine.backends.tensorrt.flavour import find_flavour
    from mmcaf_engine.machine.compute_capability import Target

    model = bert_int8
    if precision != "int8":
        network = load_model(bert)
        lower_precision(network, precision)
        save_model(network, model := tmp_path / "low.onnx")
    manifest = text_manifest()
    targets = (Target(8, 9), Target(12, 0))
    engine = build_engine(
        find_flavour("tensorrt_rtx"),
        model,
        manifest.inputs,
        manifest.outputs,
        precision=precision,
        targets=targets,
        lengths=LENGTHS,
    )
    assert engine.plan and engine.targets == targets
    assert share_in(engine.products, precision, PRODUCTS) > 0.98
