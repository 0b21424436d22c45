"""Networks as TensorRT parses them, without a GPU: in which types they compute, and what every wrong one is told."""

import logging
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from mmcaf_engine import load_bundle
from mmcaf_engine.backends.tensorrt.conv_precision import Product, flops_by_precision, share_in
from mmcaf_engine.backends.tensorrt.flavour import find_flavour
from mmcaf_engine.backends.tensorrt.network import parse_network
from mmcaf_engine.errors import BackendError
from mmcaf_engine.manifest import Precision, TensorSpec
from mmcaf_engine.session.building import products_of
from refusals import Fact, refused
from small_networks import specs

pytest.importorskip("tensorrt_rtx")


log = logging.getLogger(__name__)


PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")


# Types


@pytest.mark.parametrize(
    ("precision", "least"),
    [("fp32", 1.0), ("fp16", 0.9), ("bf16", 0.9), ("int8", 0.9)],
    ids=PRECISIONS,
)
def test_the_demo_computes_in_what_was_asked_for(precision: Precision, least: float, demo: Path) -> None:
    bundle = load_bundle(demo)
    found = products_of(bundle, precision, find_flavour())
    share = share_in(found, precision)
    log.info("%s: %.1f %% of the convolutions' operations, %s", precision, share * 100, flops_by_precision(found))
    assert share >= least
    graph = onnx.load(demo / bundle.manifest.models[precision]).graph
    assert [one.name for one in found if one.operator == "convolution"] == [
        node.name for node in graph.node if node.op_type == "Conv"
    ]
    arithmetic = sum(one.flops for one in found)
    assert bundle.manifest.provenance.flops is not None
    assert 0.9 < arithmetic / bundle.manifest.provenance.flops <= 1.0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_parsed_network_has_the_manifests_inputs_and_outputs(precision: Precision, demo: Path) -> None:
    manifest = load_bundle(demo).manifest
    network = parse_network(find_flavour(), demo / manifest.models[precision], manifest.inputs, manifest.outputs)
    found = {tensor.name: (tensor.dtype.name, tuple(tensor.shape)[1:]) for tensor in network.inputs + network.outputs}
    assert found == {spec.name: ("FLOAT", spec.shape[1:]) for spec in (*manifest.inputs, *manifest.outputs)}
    trt = network.flavour.module
    assert network.definition.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def test_operands_and_arithmetic_by_hand(small_source: Path) -> None:
    """Of two convolutions only the first is quantised; kernels 3x3x3, 1 to 8 and 8 to 8 channels, 4x16x16 voxels."""
    bundle, found = load_bundle(small_source), find_flavour()
    voxels = 4 * 16 * 16
    flops = {"first": 2 * voxels * 8 * 27, "second": 2 * voxels * 8 * 8 * 27, "seen": 2 * 8, "clinical": 2 * 2}
    expected: dict[Precision, tuple[str, str]] = {
        "fp32": ("FP32", "FP32"),
        "fp16": ("FP16", "FP16"),
        "bf16": ("BF16", "BF16"),
        "int8": ("INT8", "FP32"),
    }
    for precision, (first, second) in expected.items():
        products = products_of(bundle, precision, found)
        assert {one.name: one.flops for one in products} == flops
        convolutions = {one.name: one.operands for one in products if one.operator == "convolution"}
        assert convolutions == {"first": (first, first), "second": (second, second)}
    assert share_in(products, "int8") == pytest.approx(flops["first"] / (flops["first"] + flops["second"]))


@pytest.mark.parametrize(
    ("operands", "precision"),
    [(("INT8", "INT8"), "INT8"), (("INT8", "FP32"), "FP32"), (("FP16", "INT8"), "FP16"), (("FP32", "FP32"), "FP32")],
)
def test_a_product_is_in_int8_only_with_both_operands(operands: tuple[str, str], precision: str) -> None:
    one = Product("encoder.layer1/Conv", "convolution", operands, 10)
    assert (one.precision, one.module) == (precision, "encoder.layer1")
    assert flops_by_precision([one]) == {precision: 10}


def test_no_convolutions_are_all_in_the_precision() -> None:
    assert share_in([Product("head/Gemm", "matrix product", ("FP32", "FP32"), 10)], "fp16") == 1.0


# Wrong networks


def broken(node: onnx.NodeProto, path: Path, constants: list[onnx.TensorProto] | None = None) -> Path:
    graph = helper.make_graph(
        [node],
        "broken",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants or [],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (
            helper.make_node("Frobnicate", ["x"], ["y"], name="block.3/Frobnicate"),
            "block.3/Frobnicate (Frobnicate)",
        ),
        (helper.make_node("Det", ["x"], ["y"], name="block.4/Det"), "block.4/Det (Det)"),
        (helper.make_node("Conv", ["x", "gone"], ["y"], name="block.5/Conv"), "block.5/Conv"),
    ],
    ids=["unknown", "unsupported", "missing-weight"],
)
def test_a_node_that_tensorrt_does_not_understand_is_named(node: onnx.NodeProto, said: str, tmp_path: Path) -> None:
    model = broken(node, tmp_path / "model.onnx")
    with refused(BackendError, "model.onnx", said):
        parse_network(find_flavour(), model, specs(("x", ("N", 4, 8, 8))), specs(("y", ("N", 4, 8, 8))))


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a network")
    with refused(BackendError, "model.onnx"):
        parse_network(find_flavour(), tmp_path / "model.onnx", (), ())


@pytest.mark.parametrize(
    ("inputs", "outputs", "facts"),
    [
        (specs(("z", ("N", 4))), specs(("y", ("N", 4))), ("inputs", "['x']", "['z']")),
        (specs(("x", ("N", 4))), specs(("w", ("N", 4))), ("outputs", "['y']", "['w']")),
        (specs(("x", ("N", 5))), specs(("y", ("N", 4))), ("x", "[-1, 4]", "['N', 5]")),
        (specs(("x", ("N", 4, 1))), specs(("y", ("N", 4))), ("x", "[-1, 4]", "['N', 4, 1]")),
    ],
    ids=["input", "output", "size", "rank"],
)
def test_another_network_than_the_manifests(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], facts: tuple[Fact, ...], tmp_path: Path
) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], name="relu")],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    with refused(BackendError, *facts):
        parse_network(find_flavour(), tmp_path / "model.onnx", inputs, outputs)


def test_an_output_that_is_not_float32(tmp_path: Path) -> None:
    node = helper.make_node("Cast", ["x"], ["y"], name="cast", to=TensorProto.FLOAT16)
    graph = helper.make_graph(
        [node],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["N", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    with refused(BackendError, "y", "HALF", "float32"):
        parse_network(find_flavour(), tmp_path / "model.onnx", specs(("x", ("N", 4))), specs(("y", ("N", 4))))
