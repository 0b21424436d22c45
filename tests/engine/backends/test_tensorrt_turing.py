"""Networks changed for sm_75: what TensorRT's definition then computes, worked out in numpy, and what is refused."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmcaf_engine import load_bundle
from mmcaf_engine.backends.tensorrt.builder import BuiltEngine, build_engine
from mmcaf_engine.backends.tensorrt.conv_precision import products
from mmcaf_engine.backends.tensorrt.flavour import find_flavour
from mmcaf_engine.backends.tensorrt.network import ParsedNetwork, parse_network
from mmcaf_engine.backends.tensorrt.turing import TuringEdit, edit_for_turing
from mmcaf_engine.errors import BackendError, UsageError
from mmcaf_engine.machine.compute_capability import TURING
from mmcaf_engine.manifest import TensorSpec
from mmcaf_engine.session.build_ahead import build_ahead
from refusals import refused
from small_networks import Shape, answer, convolve, save_network

pytest.importorskip("tensorrt_rtx")

log = logging.getLogger(__name__)
Array = NDArray[Any]
TYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def small(small_source: Path) -> Path:
    return small_source


# What a definition computes


def live_layers(network: ParsedNetwork) -> dict[str, Any]:
    """Tensor -> the layer that makes it, of all that the outputs depend on."""
    definition = network.definition
    layers = [definition.get_layer(index) for index in range(definition.num_layers)]
    makers = {layer.get_output(at).name: layer for layer in layers for at in range(layer.num_outputs)}
    found: dict[str, Any] = {}
    wanted = [tensor.name for tensor in network.outputs]
    while wanted:
        name = wanted.pop()
        if name in makers and name not in found:
            found[name] = makers[name]
            wanted += [tensor.name for tensor in operands(makers[name])]
    return found


def operands(layer: Any) -> list[Any]:
    return [tensor for at in range(layer.num_inputs) if (tensor := layer.get_input(at)) is not None]


def kinds(network: ParsedNetwork) -> set[tuple[str, str]]:
    """(Layer's kind, type of its first operand) of all that the outputs depend on."""
    return {
        (layer.type.name, operands(layer)[0].dtype.name) for layer in live_layers(network).values() if operands(layer)
    }


def compute(network: ParsedNetwork, feed: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs, by walking the definition's layers; types are checked on the way, nothing is fused."""
    layers, values = live_layers(network), dict(feed)

    def value(name: str) -> Array:
        if name not in values:
            layer = layers[name]
            given = [value(tensor.name) for tensor in operands(layer)]
            made = perform(network.flavour.module, layer, given)
            assert made.dtype == TYPES[layer.get_output(0).dtype.name], layer.name
            values[name] = made
        return values[name]

    return {tensor.name: value(tensor.name) for tensor in network.outputs}


def perform(trt: Any, layer: Any, given: list[Array]) -> Array:
    kind = layer.type.name
    classes = {
        "CONSTANT": trt.IConstantLayer,
        "SHUFFLE": trt.IShuffleLayer,
        "ELEMENTWISE": trt.IElementWiseLayer,
        "REDUCE": trt.IReduceLayer,
        "CONVOLUTION": trt.IConvolutionLayer,
        "MATRIX_MULTIPLY": trt.IMatrixMultiplyLayer,
        "ACTIVATION": trt.IActivationLayer,
        "QUANTIZE": trt.IQuantizeLayer,
        "DEQUANTIZE": trt.IDequantizeLayer,
    }
    layer.__class__ = classes.get(kind, layer.__class__)
    output = layer.get_output(0)
    if kind == "CONSTANT":
        return np.array(layer.weights).reshape(tuple(layer.shape))
    if kind == "CAST":
        return given[0].astype(TYPES[output.dtype.name])
    if kind == "SQUEEZE":
        return np.squeeze(given[0], tuple(int(axis) for axis in given[1]))
    if kind == "UNSQUEEZE":
        return np.expand_dims(given[0], tuple(int(axis) for axis in given[1]))
    if kind == "SHUFFLE":
        turned = given[0].transpose(tuple(layer.first_transpose)[: given[0].ndim])
        if len(given) > 1:
            return turned.reshape(given[1])
        wanted = turned.shape if layer.reshape_dims is None else tuple(layer.reshape_dims)
        return turned.reshape([turned.shape[at] if size == 0 else size for at, size in enumerate(wanted)])
    if kind == "ELEMENTWISE":
        assert given[0].dtype == given[1].dtype and given[0].ndim == given[1].ndim
        return {"SUM": np.add, "PROD": np.multiply}[layer.op.name](*given)
    if kind == "MATRIX_MULTIPLY":
        assert {layer.op0.name, layer.op1.name} == {"NONE"}
        return np.matmul(*given)
    if kind == "REDUCE":
        axes = tuple(axis for axis in range(given[0].ndim) if layer.axes >> axis & 1)
        how = {"SUM": np.sum, "AVG": np.mean}[layer.op.name]
        return np.asarray(how(given[0], axis=axes, keepdims=layer.keep_dims))
    if kind == "ACTIVATION":
        assert layer.type == trt.ActivationType.RELU
        return np.maximum(given[0], 0)
    if kind in ("QUANTIZE", "DEQUANTIZE"):
        return quantise(kind, given, layer.axis, TYPES[output.dtype.name])
    if kind == "CONVOLUTION":
        x, weight = given[0], given[1] if len(given) > 1 else np.array(layer.kernel)
        assert x.dtype == weight.dtype and (layer.bias.size == 0 or layer.bias.dtype == x.dtype)
        weight = weight.reshape(layer.num_output_maps, x.shape[1], *tuple(layer.kernel_size_nd))
        return convolve(x, weight, np.array(layer.bias) if layer.bias.size else 0.0).astype(x.dtype)
    raise NotImplementedError(kind)


def quantise(kind: str, given: list[Array], axis: int, dtype: Any) -> Array:
    scale = given[1].astype(np.float32)
    if scale.size > 1:
        scale = scale.reshape([-1 if at == axis else 1 for at in range(given[0].ndim)])
    if kind == "DEQUANTIZE":
        return (given[0] * scale).astype(dtype)
    return np.clip(np.rint(given[0] / scale), -128, 127).astype(np.int8)


# Matrix products


def specs(shapes: Mapping[str, Shape]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec.model_validate({"name": name, "kind": "table", "shape": ["N", *shape[1:]]})
        for name, shape in shapes.items()
    )


def built_for_turing(path: Path, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> BuiltEngine:
    return build_engine(find_flavour(), path, specs(inputs), specs(outputs), precision="fp16", targets=(TURING,))


PRODUCTS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "matrices": ("MatMul", {}, (3, 5), (5, 7)),
    "one-row": ("MatMul", {}, (1, 63), (63, 1)),
    "second-transposed": ("Gemm", {"transB": 1}, (3, 5), (7, 5)),
    "first-transposed": ("Gemm", {"transA": 1}, (5, 3), (5, 7)),
    "both-transposed": ("Gemm", {"transA": 1, "transB": 1}, (5, 3), (7, 5)),
    "batches": ("MatMul", {}, (2, 3, 5), (2, 5, 7)),
    "more-batches": ("MatMul", {}, (2, 4, 3, 5), (2, 4, 5, 7)),
    "broadcast-second": ("MatMul", {}, (2, 4, 3, 5), (5, 7)),
    "broadcast-first": ("MatMul", {}, (3, 5), (2, 5, 7)),
    "broadcast-inside": ("MatMul", {}, (2, 1, 3, 5), (1, 4, 5, 7)),
    "vector": ("MatMul", {}, (2, 3, 5), (5,)),
}


@pytest.mark.parametrize("constant", [False, True], ids=["inputs", "weight"])
@pytest.mark.parametrize("case", PRODUCTS)
def test_a_matrix_product_becomes_the_same_sum(case: str, constant: bool, tmp_path: Path) -> None:
    operator, attributes, first, second = PRODUCTS[case]
    draw = np.random.default_rng(3)
    given = {
        "a": draw.normal(size=first).astype(np.float32),
        "b": draw.normal(size=second).astype(np.float32),
    }
    expected = np.matmul(
        (given["a"].T if attributes.get("transA") else given["a"]).astype(np.float64),
        (given["b"].T if attributes.get("transB") else given["b"]).astype(np.float64),
    )
    weights = ["b"] if constant or len(second) == 1 else []
    inputs = {name: array.shape for name, array in given.items() if name not in weights}
    path = save_network(
        tmp_path / "model.onnx",
        [helper.make_node(operator, ["a", "b"], ["y"], **attributes)],
        inputs,
        {"y": expected.shape},
        {name: given[name] for name in weights},
    )
    network = parse_network(find_flavour(), path, specs(inputs), specs({"y": expected.shape}))
    assert ("MATRIX_MULTIPLY", "FLOAT") in kinds(network)
    edit = edit_for_turing(network, "fp16")
    assert (edit.lowered, edit.summed) == (0, 1)
    assert not {kind for kind, _ in kinds(network)} & {"MATRIX_MULTIPLY", "CAST"}
    assert live_layers(network)["y"].metadata == "[ONNX Layer: y]" or len(second) == 1
    found = compute(network, {name: given[name] for name in inputs})
    assert list(found) == ["y"] and found["y"].shape == expected.shape
    np.testing.assert_allclose(found["y"], expected, rtol=1e-5, atol=1e-5)


def test_tensorrt_still_refuses_the_unchanged_product_and_takes_the_sum(small: Path) -> None:
    """Else the change would no longer be needed. A product alone is small enough to be computed otherwise."""
    bundle = load_bundle(small)
    manifest, flavour = bundle.manifest, find_flavour()
    arguments = (flavour, bundle.folder / manifest.models["fp16"], manifest.inputs, manifest.outputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmcaf_engine.backends.tensorrt.builder.edit_for_turing", lambda network, precision: None)
        with refused(BackendError, "FP32 GEMM"):
            build_engine(*arguments, precision="fp16", targets=(TURING,))
    built = build_engine(*arguments, precision="fp16", targets=(TURING,))
    assert len(built.plan) > 0 and built.edit is not None and built.edit.summed == 2


def test_a_large_product_is_fed_fp16_and_in_an_fp32_network_stays(tmp_path: Path) -> None:
    """Written out, its 129 * 65 * 127 terms would fill the GPU's memory with nothing."""
    draw = np.random.default_rng(6)
    a, b = (draw.normal(size=shape).astype(np.float32) for shape in ((1, 129, 65), (65, 127)))
    inputs, outputs = {"a": a.shape}, {"y": (1, 129, 127)}
    path = save_network(
        tmp_path / "model.onnx", [helper.make_node("MatMul", ["a", "b"], ["y"])], inputs, outputs, {"b": b}
    )
    for precision, expected in (("fp32", (0, 0)), ("fp16", (1, 0))):
        network = parse_network(find_flavour(), path, specs(inputs), specs(outputs))
        edit = edit_for_turing(network, precision)
        assert (edit.lowered, edit.summed) == expected
        assert ("MATRIX_MULTIPLY", "FLOAT" if precision == "fp32" else "HALF") in kinds(network)
    found = compute(network, {"a": a})["y"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, a.astype(np.float64) @ b, rtol=5e-3, atol=5e-2)
    assert len(built_for_turing(path, inputs, outputs).plan) > 0


def test_where_a_length_is_free_a_product_counts_as_large(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["ids"], ["numbers"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["numbers", "last"], ["column"], name="column"),
        helper.make_node("MatMul", ["column", "w"], ["products"], name="products"),
        helper.make_node("ReduceMean", ["products", "text"], ["y"], name="mean", keepdims=0),
    ]
    weight = np.random.default_rng(7).normal(size=(1, 7)).astype(np.float32)
    constants = {"w": weight, "last": np.array([2], np.int64), "text": np.array([1], np.int64)}
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "L"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 7])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "t.onnx")
    ids = TensorSpec.model_validate({"name": "ids", "kind": "tokens", "dtype": "int64", "shape": ["N", "L"]})
    network = parse_network(find_flavour(), tmp_path / "t.onnx", (ids,), specs({"y": ["N", 7]}))
    assert edit_for_turing(network, "fp16") == TuringEdit(1, 0, ())
    given = np.array([[3, 1, 4, 1, 5]])
    np.testing.assert_allclose(compute(network, {"ids": given})["y"], 14 / 5 * weight, rtol=5e-3, atol=1e-3)


# Convolutions


def parsed(bundle: Path, precision: str) -> ParsedNetwork:
    manifest = load_bundle(bundle).manifest
    return parse_network(find_flavour(), bundle / manifest.models[precision], manifest.inputs, manifest.outputs)  # type: ignore[index]


def one_window(bundle: Path) -> dict[str, Array]:
    with np.load(bundle / "golden.npz") as cases:
        return {name: cases[name][:1].astype(np.float32) for name in ("image", "table")}


def test_fp32_convolutions_are_fed_fp16(small: Path) -> None:
    """Checked against ONNX Runtime's FP32 answer, within what eleven bits make of it, and not without them."""
    network, given = parsed(small, "fp32"), one_window(small)
    before = compute(network, given)["logit"]
    names = set(live_layers(network))
    edit = edit_for_turing(network, "fp16")
    assert (edit.lowered, edit.summed) == (2, 2)
    assert {("CONVOLUTION", "HALF"), ("CAST", "HALF"), ("CAST", "FLOAT")} <= kinds(network)
    assert not kinds(network) & {("CONVOLUTION", "FLOAT"), ("MATRIX_MULTIPLY", "FLOAT")}
    assert names <= set(live_layers(network)), "tensors keep their names"
    found = compute(network, given)["logit"]
    expected = answer(small / "model.onnx", given)
    np.testing.assert_allclose(before, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3)
    assert np.abs(found - expected).max() > 1e-6 and found.dtype == np.float32


def test_what_is_quantised_stays_so(small: Path) -> None:
    network, given = parsed(small, "int8"), one_window(small)
    edit = edit_for_turing(network, "int8")
    operands = {one.name: one.operands for one in products(network) if one.operator == "convolution"}
    assert operands == {"first": ("INT8", "INT8"), "second": ("FP16", "FP16")} and edit.lowered == 2
    assert {("DEQUANTIZE", "INT8"), ("CONVOLUTION", "HALF")} <= kinds(network)
    assert ("CONVOLUTION", "FLOAT") not in kinds(network)
    expected = answer(small / "model.int8.onnx", given)
    np.testing.assert_allclose(compute(network, given)["logit"], expected, rtol=5e-3, atol=5e-3)


def test_a_network_in_fp16_but_for_its_products_changes_in_these_alone(small: Path) -> None:
    network = parsed(small, "fp16")
    edit = edit_for_turing(network, "fp16")
    assert (edit.lowered, edit.summed, edit.weights) == (0, 2, ())


def test_an_fp32_network_keeps_its_convolutions_and_is_refused_with_what_to_do(small: Path) -> None:
    network, given = parsed(small, "fp32"), one_window(small)
    edit = edit_for_turing(network, "fp32")
    assert (edit.lowered, edit.summed) == (0, 2) and ("CONVOLUTION", "FLOAT") in kinds(network)
    np.testing.assert_allclose(
        compute(network, given)["logit"], answer(small / "model.onnx", given), rtol=1e-5, atol=1e-5
    )
    with refused(BackendError, "sm_75", "FP32 3D convolution") as caught:
        build_ahead(load_bundle(small), "fp32", ["sm_75"])
    take, add = caught.value.remedies
    assert (take.option, take.value) == ("precision", "fp16")
    assert add.command == "mmcaf quantize BUNDLE --precision fp16"


def test_one_answer_for_several_layers_and_the_world(tmp_path: Path) -> None:
    """An output of the network that is also read twice, once by another product."""
    draw = np.random.default_rng(4)
    constants = {name: draw.normal(size=(5, 5)).astype(np.float32) for name in ("w", "v")}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("MatMul", ["y", "v"], ["z"]),
        helper.make_node("Add", ["y", "z"], ["sum"]),
    ]
    inputs, outputs = {"x": ["N", 5]}, {"y": ["N", 5], "sum": ["N", 5]}
    path = save_network(tmp_path / "model.onnx", nodes, inputs, outputs, constants)
    network = parse_network(find_flavour(), path, specs(inputs), specs(outputs))
    edit_for_turing(network, "fp16")
    x = draw.normal(size=(1, 5)).astype(np.float32)
    found = compute(network, {"x": x})
    y = x.astype(np.float64) @ constants["w"]
    np.testing.assert_allclose(found["y"], y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["sum"], y + y @ constants["v"], rtol=1e-5, atol=1e-5)
    assert built_for_turing(path, inputs, outputs).edit == TuringEdit(0, 2, ())


def test_transposed_convolutions_too(tmp_path: Path) -> None:
    weight = np.random.default_rng(5).normal(size=(4, 3, 2, 2, 2)).astype(np.float32)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2, 2])
    inputs, outputs = {"x": ["N", 4, 2, 3, 5]}, {"y": ["N", 3, 4, 6, 10]}
    path = save_network(tmp_path / "model.onnx", [node], inputs, outputs, {"w": weight})
    edit = built_for_turing(path, inputs, outputs).edit
    assert edit is not None and edit.lowered == 1
    assert [kept.dtype for kept in edit.weights] == [np.float16]
    assert np.array_equal(np.sort(edit.weights[0].ravel()), np.sort(weight.astype(np.float16).ravel()))


@pytest.mark.parametrize("value", [70000.0, -1e30, np.inf, np.nan])
def test_a_weight_too_large_for_fp16_is_refused_by_its_layer(value: float, tmp_path: Path) -> None:
    weight = np.zeros((2, 1, 1, 1, 1), np.float32)
    weight[1] = value
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="gate.fc1/Conv")]
    inputs, outputs = {"x": ["N", 1, 2, 3, 5]}, {"y": ["N", 2, 2, 3, 5]}
    path = save_network(tmp_path / "model.onnx", nodes, inputs, outputs, {"w": weight})
    with refused(BackendError, "gate.fc1/Conv", "FP16"):
        built_for_turing(path, inputs, outputs)


# Which targets


@pytest.mark.parametrize("names", [["sm_75", "sm_86"], ["sm_120", "sm_75", "sm_80"]], ids=" ".join)
def test_others_do_not_share_its_engine(names: list[str], small: Path) -> None:
    with refused(UsageError, "sm_75", next(name for name in names if name.startswith("sm_8"))) as caught:
        build_ahead(load_bundle(small), "fp16", names)
    assert "mmcaf build BUNDLE --target sm_75 --precision fp16" in caught.value.remedy


def test_other_targets_networks_are_not_touched(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(network: ParsedNetwork, precision: str) -> None:
        raise AssertionError("it was changed")

    monkeypatch.setattr("mmcaf_engine.backends.tensorrt.builder.edit_for_turing", touched)
    made = build_ahead(load_bundle(small), "fp16", ["sm_80", "sm_120"])
    assert made.engine.edit is None


def test_what_tensorrt_refuses_to_change_is_said(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers of one name are an error to TensorRT, which it only logs."""
    monkeypatch.setattr("mmcaf_engine.backends.tensorrt.turing.Editor.added_for", same_name)
    with refused(BackendError, "model.fp16.onnx", "sm_75", "already in use"):
        build_ahead(load_bundle(small), "fp16", ["sm_75"])


def same_name(editor: object, layer: Any, added: Any, what: str) -> Any:
    added.name = "same"
    return added.get_output(0)
