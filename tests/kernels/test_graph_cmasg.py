"""CMASG-Bi-LSTM as a torch program: with a Scan and with an LSTM, its attention as a kernel, and what is none."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("pydantic", reason="pydantic is not installed")
pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from export.cmasg_networks import SLIM, filled, slim_export, variant
from kernels.networks import answer, change, lowered, shapes
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_export.networks.cmasg import CmasgNet
from mmcaf_export.networks.cmasg.entry import CmasgEntry
from mmcaf_export.networks.cmasg.rewrites import PRUNED_UNITS, STOCK_LSTM
from mmcaf_export.onnx_export import export_onnx
from mmcaf_export.precision.typed import Low
from mmcaf_export.rewrites.rewrite import rewritten
from mmcaf_kernels.graph import Network
from shared import Shared

ENTRY = CmasgEntry()
REGIONS, LONGEST = 4, 40
TOLERANCE = {"fp32": 2e-6, "fp16": 2e-4, "bf16": 2e-3}  # of logits of about 0.02
OTHER = variant(gate_value="hard", gate_state="hold", pooling="last", attention_projections=True)
"""Its LSTM is ONNX's, one for each direction, and its attention no kernel's, as projections share no scores."""

log = logging.getLogger(__name__)
Feed = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def bundle(shared: Shared) -> Bundle:
    """The slim network as recommended: soft gates, whose LSTM is a Scan."""
    return load_bundle(slim_export(shared).output)


@pytest.fixture(scope="module")
def network(bundle: Bundle) -> Path:
    return bundle.folder / "model.onnx"


def window(length: int, real: int, seed: int = 1) -> Feed:
    """A window with a text of this length, of whose word pieces so many are no padding."""
    given = ENTRY.example_inputs(SLIM, 1, seed)
    draw = np.random.default_rng(length)
    return {
        "image": given["image"].numpy(),
        "input_ids": draw.integers(0, SLIM.text_vocabulary, (1, length)),
        "attention_mask": (np.arange(length) < real).astype(np.int64)[None],
    }


def close(found: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float, what: str) -> None:
    error = float(np.abs(found - expected).max())
    log.info("%s: error %.2e, tolerance %.0e", what, error, tolerance)
    assert error <= tolerance, what


def test_a_session_answers_as_the_source(bundle: Bundle) -> None:
    """Also for texts of a length that no program is made for, and for several cases at once."""
    with open_session(bundle, backend="torch") as session:
        facts = session.describe()
        assert facts["kernels"] == {"cross_attention": 1}
        assert facts["self_test"]["passed"]
        for length, real in ((1, 1), (31, 20), (32, 32), (40, 33)):
            cases = [window(length, count, seed) for seed, count in enumerate((real, 1))]
            feed = {name: np.concatenate([case[name] for case in cases]) for name in cases[0]}
            with torch.inference_mode():
                expected = filled()(*(torch.from_numpy(array) for array in feed.values())).numpy()
            close(session.run(feed)["logits"], expected, TOLERANCE["fp32"], f"{length} word pieces")
            assert np.abs(expected[0] - expected[1]).max() > 100 * TOLERANCE["fp32"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_with_the_kernel_and_without(precision: str, network: Path, tmp_path: Path) -> None:
    path = network
    low: dict[str, Low] = {"fp16": "fp16", "bf16": "bf16"}
    if precision in low:
        path = lowered(network, low[precision], tmp_path)
    feed = window(LONGEST, 29)
    expected = answer(network, feed)
    fused, plain = (Network(path, fused=fused).program(shapes(feed)) for fused in (True, False))
    assert fused.kernels == {"cross_attention": 1} and not plain.kernels
    close(fused(feed)["logits"], expected, TOLERANCE[precision], "with the kernel")
    close(plain(feed)["logits"], expected, TOLERANCE[precision], "without")


def test_programs_of_several_lengths_share_the_weights(network: Path) -> None:
    """What is placed beside them belongs to one length: positions, and the sizes of what is made."""
    opened = Network(network)
    first = opened.program(shapes(window(LONGEST, 29)))
    placed = opened.weights.bytes
    others = [opened.program(shapes(window(length, 5))) for length in (8, 16)]
    assert placed > 4e5 and opened.weights.bytes - placed < 1e-2 * placed
    for other in others:
        same = [first._constants[name] is tensor for name, tensor in other._constants.items()]
        assert sum(same) > 0.8 * len(same)
    alone = Network(network).program(shapes(window(8, 5)))(window(8, 5))["logits"]
    assert others[0](window(8, 5))["logits"].tobytes() == alone.tobytes()


class Tail(nn.Module):
    """What follows the encoders."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, regions: Tensor, words: Tensor, attention_mask: Tensor) -> Tensor:
        assert isinstance(self.network, CmasgNet)
        return self.network.classify(regions, words, attention_mask.bool())


def tokens(length: int, real: int) -> Feed:
    draw = np.random.default_rng(length)
    return {
        "regions": draw.normal(size=(1, REGIONS, SLIM.features)).astype(np.float32),
        "words": draw.normal(size=(1, length, SLIM.features)).astype(np.float32),
        "attention_mask": (np.arange(length) < real).astype(np.int64)[None],
    }


def test_hard_gates_and_projections(tmp_path: Path) -> None:
    source, path = filled(OTHER), tmp_path / "tail.onnx"
    lean = rewritten(source, (PRUNED_UNITS, STOCK_LSTM), ENTRY.example_inputs(OTHER, 1, 0))
    given = {name: torch.from_numpy(array) for name, array in tokens(7, 7).items()}
    export_onnx(Tail(lean), given, path, outputs=("logits",), longest=LONGEST, texts={"words"})
    assert [node.op_type for node in onnx.load(path).graph.node].count("LSTM") == 2
    for length, real in ((1, 1), (13, 8), (LONGEST, LONGEST)):
        feed = tokens(length, real)
        with torch.inference_mode():
            expected = Tail(source)(*(torch.from_numpy(array) for array in feed.values())).numpy()
        program = Network(path).program(shapes(feed))
        assert not program.kernels
        close(program(feed)["logits"], expected, TOLERANCE["fp32"], f"{length} word pieces")


def constant(graph: onnx.GraphProto, name: str, value: NDArray[np.generic]) -> str:
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def softmaxes(graph: onnx.GraphProto) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    """Those of the image's and of the text's tokens."""
    image, text = [node for node in graph.node if node.op_type == "Softmax"][-2:]
    return image, text


def maker(graph: onnx.GraphProto, value: str) -> onnx.NodeProto:
    return next(node for node in graph.node if value in node.output)


def other_axis(graph: onnx.GraphProto) -> None:
    """The text's shares add up over its tokens."""
    next(entry for entry in softmaxes(graph)[1].attribute if entry.name == "axis").i = 1


def other_scores(graph: onnx.GraphProto) -> None:
    """The text's scores are scaled once more."""
    turned = maker(graph, softmaxes(graph)[1].input[0])
    again = helper.make_node("Mul", [turned.input[0], constant(graph, "three", np.float32(3).reshape(()))], ["again"])
    graph.node.insert(list(graph.node).index(turned), again)
    turned.input[0] = "again"


def other_values(graph: onnx.GraphProto) -> None:
    """The text takes from itself."""
    image, text = softmaxes(graph)
    own, other = (next(node for node in graph.node if part.output[0] in node.input) for part in (image, text))
    other.input[1] = own.input[1]


def other_mask(graph: onnx.GraphProto) -> None:
    """What is hidden are the image's own tokens."""
    where = maker(graph, softmaxes(graph)[0].input[0])
    maker(graph, where.input[0]).input[1] = constant(graph, "two", np.array([2], np.int64))


def other_depth(graph: onnx.GraphProto) -> None:
    """Padding is only less likely."""
    maker(graph, softmaxes(graph)[0].input[0]).input[2] = constant(graph, "one_less", np.float32(-1).reshape(()))


def other_turn(graph: onnx.GraphProto) -> None:
    """The text's scores are those of the image, not turned."""
    turned = maker(graph, softmaxes(graph)[1].input[0])
    next(entry for entry in turned.attribute if entry.name == "perm").ints[:] = [0, 1, 2]


@pytest.mark.parametrize(
    "edit",
    [other_axis, other_scores, other_values, other_mask, other_depth, other_turn],
    ids=lambda edit: edit.__name__,
)
def test_what_only_resembles_the_attention_is_left_alone(
    edit: Callable[[onnx.GraphProto], None], network: Path, tmp_path: Path
) -> None:
    """With as many word pieces as regions, so that every change is of a graph that runs."""
    feed = window(REGIONS, REGIONS - 1)
    path = change(network, tmp_path / "changed.onnx", edit)
    expected = answer(path, feed)
    assert np.abs(expected - answer(network, feed)).max() > 2 * TOLERANCE["fp32"]
    program = Network(path).program(shapes(feed))
    assert not program.kernels
    close(program(feed)["logits"], expected, TOLERANCE["fp32"], edit.__name__)


def attention(path: Path, *, circular: bool = False) -> Path:
    """The attention alone, with a mask that is given; or with one that follows from what the text takes."""
    turn = {"perm": [0, 2, 1]}
    nodes = [
        helper.make_node("Transpose", ["text"], ["keys"], **turn),
        helper.make_node("MatMul", ["image", "keys"], ["products"]),
        helper.make_node("Mul", ["products", "scale"], ["scores"]),
        helper.make_node("Transpose", ["scores"], ["turned"], **turn),
        helper.make_node("Softmax", ["turned"], ["text_shares"], axis=-1),
        helper.make_node("MatMul", ["text_shares", "image"], ["text_takes"]),
        helper.make_node("ReduceMean", ["text_takes" if circular else "text", "last"], ["means"], keepdims=0),
        helper.make_node("Greater", ["means", "zero"], ["mask"]),
        helper.make_node("Unsqueeze", ["mask", "first"], ["seen"]),
        helper.make_node("Where", ["seen", "scores", "far_below"], ["shown"]),
        helper.make_node("Softmax", ["shown"], ["image_shares"], axis=-1),
        helper.make_node("MatMul", ["image_shares", "text"], ["image_takes"]),
        helper.make_node("Concat", ["image_takes", "text_takes"], ["out"], axis=1),
    ]
    numbers = {"scale": np.float32(0.05), "zero": np.float32(0), "far_below": np.float32(-6e4)}
    settings = {"first": np.array([1]), "last": np.array([2])}
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("image", "text")],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (numbers | settings).items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("width", "circular", "fused"), [(512, False, True), (513, False, False), (512, True, False)],
    ids=["published", "too wide", "mask from what was taken"],
)  # fmt: skip
def test_the_attention_at_the_published_size(width: int, circular: bool, fused: bool, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    tokens = {"image": 49, "text": 128}
    feed = {name: draw.normal(size=(2, count, width)).astype(np.float32) for name, count in tokens.items()}
    path = attention(tmp_path / "attention.onnx", circular=circular)
    program = Network(path).program(shapes(feed))
    assert program.kernels == ({"cross_attention": 1} if fused else {})
    close(program(feed)["out"], answer(path, feed), 1e-5, f"{width} wide")


@pytest.mark.gpu
def test_on_a_gpu_it_is_one_graph(network: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that torch can use")
    feed = window(LONGEST, 29)
    program = Network(network, device="cuda:0").program(shapes(feed))
    assert program.execution == "CUDA graph" and program.kernels == {"cross_attention": 1}
    close(program(feed)["logits"], answer(network, feed), TOLERANCE["fp32"], "CUDA graph")
