"""The gated LSTM as runtimes run it: every switch on ONNX Runtime and OpenVINO, and as TensorRT engines."""

import logging
import mmap
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import openvino
import pytest
import torch
from torch import Tensor, nn

from export.cmasg_networks import filled, variant
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.backends.openvino.operators import add_operators, kernels_in
from mmcaf_engine.backends.tensorrt.builder import build_engine
from mmcaf_engine.backends.tensorrt.flavour import find_flavour
from mmcaf_engine.errors import BackendError
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.manifest import TensorSpec
from mmcaf_export.networks.cmasg import CmasgNet
from mmcaf_export.networks.cmasg.adjoint import gated_lstm_states
from mmcaf_export.networks.cmasg.entry import CmasgEntry
from mmcaf_export.networks.cmasg.rewrites import HOISTED_GATES, PRUNED_UNITS, STOCK_LSTM
from mmcaf_export.onnx_export import export_onnx
from mmcaf_export.onnx_files import load_model
from mmcaf_export.rewrites.rewrite import rewritten
from mmcaf_kernels.cpu.extension import missing
from mmcaf_kernels.cpu.openvino.editing import Editor
from mmcaf_kernels.cpu.openvino.loops import replace_loops

ENTRY = CmasgEntry()
LONGEST = 40
REGIONS = 4
TOLERANCE = 2e-6  # of logits of about 0.2 in FP32
LOOPS: dict[str, dict[str, object]] = {
    "soft": {},
    "soft, hold, misprint, last": {"gate_state": "hold", "output_gate_source": "i", "pooling": "last"},
    "soft, reads the output, hold": {"gate_input": "xh", "gate_state": "hold"},
    "hard, reads the output, misprint": {"gate_value": "hard", "gate_input": "xh", "output_gate_source": "i"},
}
STOCK: dict[str, dict[str, object]] = {
    "hard": {"gate_value": "hard"},
    "hard, hold, misprint, last": LOOPS["soft, hold, misprint, last"] | {"gate_value": "hard"},
    "plain": {"sparse_gate": False},
}
VARIANTS = LOOPS | STOCK
FULL = {"soft, reads the output, hold", "hard", "hard, hold, misprint, last"}
"""Others in which every switch, loop and stock LSTM are tried too."""
every_variant = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full if name in FULL else []) for name in VARIANTS]
)
SPECS = (
    TensorSpec(name="regions", kind="table", shape=("N", REGIONS, variant().features)),
    TensorSpec(name="input_ids", kind="tokens", dtype="int64", shape=("N", "L")),
    TensorSpec(name="attention_mask", kind="token_mask", dtype="int64", shape=("N", "L")),
)
OUTPUTS = (TensorSpec(name="logits", kind="score", shape=("N", 2)),)
log = logging.getLogger(__name__)
needs_kernels = pytest.mark.skipif(missing() is not None, reason=f"no operators here: {missing()}")


class Head(nn.Module):
    """What follows the encoders: regions [N, 4, d] and numbers of words, which rows of a table stand for."""

    def __init__(self, network: nn.Module, table: Tensor) -> None:
        super().__init__()
        self.network = network
        self.table = nn.Parameter(table, requires_grad=False)

    def forward(self, regions: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        assert isinstance(self.network, CmasgNet)
        return self.network.classify(regions, self.table[input_ids], attention_mask.bool())


def given(features: int, batch: int, length: int) -> dict[str, Tensor]:
    generator = np.random.default_rng(length)
    lengths = generator.integers(1, length + 1, batch)
    lengths[0] = length
    return {
        "regions": torch.from_numpy(generator.normal(0, 1, (batch, REGIONS, features)).astype(np.float32)),
        "input_ids": torch.from_numpy(generator.integers(0, 20, (batch, length))),
        "attention_mask": torch.from_numpy((np.arange(length) < lengths[:, None]).astype(np.int64)),
    }


def head(name: str) -> tuple[Head, nn.Module]:
    """The head of a variant, and what is written of it."""
    config = variant(**VARIANTS[name])
    network = filled(config)
    lean = rewritten(network, (PRUNED_UNITS, STOCK_LSTM, HOISTED_GATES), ENTRY.example_inputs(config, 1, 0))
    table = torch.randn(20, config.features, generator=torch.Generator().manual_seed(0))
    return Head(network, table), Head(lean, table)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write the head of a variant as ONNX, once."""
    folder = tmp_path_factory.mktemp("heads")

    @cache
    def write(name: str) -> Path:
        path = folder / f"{list(VARIANTS).index(name)}.onnx"
        _, lean = head(name)
        export_onnx(lean, given(variant().features, 1, 7), path, outputs=("logits",), longest=LONGEST)
        return path

    return write


@every_variant
def test_runtimes_answer_as_the_source(name: str, written: Callable[[str], Path]) -> None:
    model, (source, _) = written(name), head(name)
    operators = {node.op_type for node in load_model(model).graph}
    assert operators & {"Scan", "LSTM"} == ({"Scan"} if name in LOOPS else {"LSTM"})
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for batch, length in ((1, 1), (1, 40), (3, 13), (2, 32)):
        feed = given(variant().features, batch, length)
        with torch.inference_mode():
            expected = source(*feed.values()).numpy()
        arrays = {key: value.numpy() for key, value in feed.items()}
        found = {"onnxruntime": session.run(None, arrays)[0], "openvino": compiled(arrays)[0]}
        errors = {runtime: float(np.abs(logits - expected).max()) for runtime, logits in found.items()}
        log.info("%s, %d x %d: %s", name, batch, length, errors)
        assert max(errors.values()) <= TOLERANCE
        assert batch == 1 or float(np.abs(expected[0] - expected[1]).max()) > 100 * TOLERANCE


def opened(model: Path, threads: int = 2) -> OpenVinoBackend:
    return OpenVinoBackend(model, SPECS, OUTPUTS, threads, lengths=(32, LONGEST)).open()


@needs_kernels
@every_variant
def test_only_the_published_loop_is_the_kernel_in_openvino(name: str, written: Callable[[str], Path]) -> None:
    source, _ = head(name)
    with opened(written(name)) as backend:
        assert backend.describe()["kernels"] == ({"gated_lstm": 1} if name == "soft" else {})
        for length in (1, 13, LONGEST):
            feed = given(variant().features, 1, length)
            with torch.inference_mode():
                expected = source(*feed.values()).numpy()
            found = backend.infer({key: value.numpy() for key, value in feed.items()})["logits"]
            assert float(np.abs(found - expected).max()) <= TOLERANCE


class Told(nn.Module):
    """The loop of the graph of heat maps: x [N, n, 4 H] -> the cells and curves of every step."""

    def __init__(self, hidden: int, *, holds: bool) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.recurrent = nn.Parameter(torch.randn(2, hidden, 4 * hidden, generator=draw) / 4, requires_grad=False)
        self.register_buffer("shift", torch.tensor([1.0, 1, 1, 0]).repeat_interleave(hidden))
        self.holds = holds

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        steps = torch.stack([x, x.flip(1)]).permute(2, 0, 1, 3).unflatten(0, (-1, 4))
        gates = steps[..., : self.recurrent.shape[1]].sigmoid() / 2
        return gated_lstm_states(steps, self.recurrent, self.shift, gates, self.holds, False, False)


@needs_kernels
@pytest.mark.parametrize("holds", [False, True])
def test_the_loop_that_tells_its_states_is_the_kernel_too(holds: bool, tmp_path: Path) -> None:
    network, x = Told(12, holds=holds), torch.randn(1, 24, 48, generator=torch.Generator().manual_seed(2))
    export_onnx(network.eval(), {"x": x}, tmp_path / "told.onnx", outputs=("cells", "curves"))
    core = openvino.Core()
    add_operators(core)
    model = core.read_model(tmp_path / "told.onnx")
    model.reshape({"x": list(x.shape)})
    replace_loops(core, model, Editor(model))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert kernels_in(compiled) == ({} if holds else {"gated_lstm": 1})
    found = compiled({"x": x.numpy()})
    for name, expected in zip(("cells", "curves"), network(x), strict=True):
        assert float(np.abs(found[name] - expected.numpy()).max()) <= TOLERANCE


@needs_kernels
def test_a_kept_engine_holds_the_kernel(written: Callable[[str], Path], tmp_path: Path) -> None:
    feed = {key: value.numpy() for key, value in given(variant().features, 1, 13).items()}
    with opened(written("soft")) as backend, (tmp_path / "engine").open("w+b") as file:
        expected = backend.infer(feed)["logits"]
        backend.export_engine(file)
        file.flush()
        engine = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        again = OpenVinoBackend(tmp_path / "none", SPECS, OUTPUTS, 2, lengths=(32, LONGEST)).open_engine(engine)
        with again:
            assert again.describe()["kernels"] == {"gated_lstm": 1}
            np.testing.assert_array_equal(again.infer(feed)["logits"], expected)


@needs_kernels
def test_a_kept_engine_whose_kernel_is_missing_is_refused_in_words(
    written: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache keeps it by its kernels and does not hand it out; were it to, the model would be compiled again."""
    with opened(written("soft")) as backend, (tmp_path / "engine").open("w+b") as file:
        backend.export_engine(file)
        file.flush()
        engine = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        monkeypatch.setattr("mmcaf_engine.backends.openvino.backend.kernels_missing", lambda: "not built")
        with pytest.raises(BackendError, match=r"(?s)failed while loading the kept engine.*GatedLstm"):
            OpenVinoBackend(tmp_path / "none", SPECS, OUTPUTS, 2, lengths=(32, LONGEST)).open_engine(engine)


@needs_kernels
def test_a_loop_that_clips_what_the_trial_does_not_reach_stays(written: Callable[[str], Path]) -> None:
    core = openvino.Core()
    add_operators(core)
    model = core.read_model(written("soft"))
    (loop,) = (node for node in model.get_ops() if node.get_type_name() == "TensorIterator")
    for node in loop.get_function().get_ops():
        if node.get_type_name() == "Tanh":
            node.input(0).replace_source_output(openvino.opset13.clamp(node.input_value(0), -3.0, 3.0).output(0))
    model.reshape({spec.name: [1 if axis == "N" else LONGEST if axis == "L" else axis for axis in spec.shape]
                   for spec in SPECS})  # fmt: skip
    replace_loops(core, model, Editor(model))
    assert [node.get_type_name() for node in model.get_ops()].count("TensorIterator") == 1


@needs_kernels
def test_a_loop_with_other_weights_inside_stays(written: Callable[[str], Path], tmp_path: Path) -> None:
    """The ports are those of a gated LSTM, the matrix is the first product's; but the second step has another."""
    model = load_model(written("soft"))
    (scan,) = (node for node in model.graph if node.op_type == "Scan")
    body = scan.attributes["body"].as_graph()
    second = [node for node in body if node.op_type == "MatMul"][1]
    weights = second.inputs[1]
    assert weights is not None
    squares = ir.node("Mul", [weights, weights])
    body.insert_before(second, squares)
    second.replace_input_with(1, squares.outputs[0])
    ir.save(model, tmp_path / "m.onnx")
    with opened(tmp_path / "m.onnx") as backend:
        assert backend.describe()["kernels"] == {}


@needs_kernels
@pytest.mark.parametrize("state", [0, 1], ids=["output", "cell"])
def test_a_loop_whose_last_state_is_read_stays(state: int, written: Callable[[str], Path], tmp_path: Path) -> None:
    """The kernel gives the outputs of all steps alone; the loop would run beside it."""
    model = load_model(written("soft"))
    (scan,) = (node for node in model.graph if node.op_type == "Scan")
    model.graph.outputs.append(scan.outputs[state])
    ir.save(model, tmp_path / "m.onnx")
    with opened(tmp_path / "m.onnx") as backend:
        assert backend.describe()["kernels"] == {}


def test_without_kernels_openvino_runs_the_loop(
    written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = head("soft")
    feed = given(variant().features, 1, 13)
    monkeypatch.setattr("mmcaf_engine.backends.openvino.backend.kernels_missing", lambda: "not built")
    with opened(written("soft")) as backend, torch.inference_mode():
        assert backend.describe()["kernels"] == {}
        found = backend.infer({key: value.numpy() for key, value in feed.items()})["logits"]
        assert float(np.abs(found - source(*feed.values()).numpy()).max()) <= TOLERANCE


def test_writing_again_gives_the_same_bytes(written: Callable[[str], Path], tmp_path: Path) -> None:
    _, lean = head("soft")
    export_onnx(lean, given(variant().features, 1, 7), tmp_path / "m.onnx", outputs=("logits",), longest=LONGEST)
    assert (tmp_path / "m.onnx").read_bytes() == written("soft").read_bytes()


@every_variant
def test_engines(name: str, written: Callable[[str], Path]) -> None:
    pytest.importorskip("tensorrt_rtx")
    targets, lengths = (Target(8, 9), Target(12, 0)), (32, LONGEST)
    flavour = find_flavour("tensorrt_rtx")
    engine = build_engine(flavour, written(name), SPECS, OUTPUTS, precision="fp32", targets=targets, lengths=lengths)
    assert engine.targets == targets and len(engine.plan) > 0
