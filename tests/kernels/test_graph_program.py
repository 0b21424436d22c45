"""Kernels in a network's graph: how many, and that the program answers as without them and as ONNX Runtime."""

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("pydantic", reason="pydantic is not installed")
pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from export.fill import image, table
from export.mmcaf_networks import full_export, slim_export
from kernels.near_misses import (
    other_bound,
    other_corners,
    other_head,
    other_padding,
    other_pieces,
    other_slope,
)
from kernels.networks import MEAN, Feed, answer, change, exported, lowered, shapes, window
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_export.networks.mmcaf.fusion import Fusion, MultiscaleFusion
from mmcaf_export.onnx_export import export_onnx
from mmcaf_export.precision.typed import Low
from mmcaf_kernels.graph import Network, Program
from mmcaf_kernels.graph import program as program_module
from mmcaf_kernels.graph.graph import Node, last_uses
from mmcaf_kernels.graph.operators.steps import run, steps_of
from mmcaf_kernels.graph.read import read
from mmcaf_kernels.graph.tensor_cores import fill_channels, innermost
from mmcaf_kernels.graph.tensors import TensorGraph, type_name
from mmcaf_kernels.graph.weights import Weights
from shared import Shared
from small_networks import save_network

BLOCKS, STAGES = 13, 3
"""Bottlenecks of the network; the first of each stage also has a norm beside it."""
IN_USE = {
    "groupnorm_act": 1 + 3 * BLOCKS + STAGES,  # the first is the stem's
    "msdc": 3,
    "msca_attention": 3,
    "upsample_dw": 2,
    "kan": 1,
    "fusion_head": 1,
}
LOGIT = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 5e-2}
GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "mmcaf_tokens.npz"
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def slim(shared: Shared) -> Path:
    return slim_export(shared).report.output / "model.onnx"


@pytest.fixture(scope="module")
def mean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(MEAN, tmp_path_factory.mktemp("mean") / "mean.onnx")


@pytest.fixture(scope="module")
def demo() -> Path:
    """The network of the demonstration bundle."""
    return default_bundle().path / "model.onnx"


@pytest.fixture(scope="module")
def low_demo(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Low], Path]:
    """The same in FP16 or BF16, each made once."""
    return cache(lambda precision: lowered(demo, precision, tmp_path_factory.mktemp("low")))


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of a few operators, for how a program runs whatever it computes."""
    nodes = [
        onnx.helper.make_node("Conv", ["image", "weight"], ["map"], pads=[1] * 6),
        onnx.helper.make_node("Relu", ["map"], ["active"]),
        onnx.helper.make_node("ReduceMean", ["active", "space"], ["mean"], keepdims=0),
        onnx.helper.make_node("MatMul", ["mean", "head"], ["logit"]),
    ]
    draw = np.random.default_rng(0)
    constants = {
        "weight": draw.normal(size=(4, 2, 3, 3, 3)).astype(np.float32),
        "space": np.array([2, 3, 4]),
        "head": draw.normal(size=(4, 1)).astype(np.float32),
    }
    path = tmp_path_factory.mktemp("little") / "little.onnx"
    return save_network(path, nodes, {"image": ["N", 2, 3, 8, 8]}, {"logit": ["N", 1]}, constants)


def close(found: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    error = float(np.abs(found - expected).max())
    log.info("%s: error %.2e, tolerance %.0e", what, error, tolerance)
    assert error <= tolerance, what


@pytest.mark.parametrize(
    "network", ["demo", pytest.param("slim", marks=pytest.mark.full), pytest.param("mean", marks=pytest.mark.full)]
)
def test_kernels_in_use_and_the_same_answer(network: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(network)
    feed = window(path, seed=1)
    expected = answer(path, feed)
    fused, plain = (Network(path, fused=fused).program(shapes(feed)) for fused in (True, False))
    assert fused.kernels == IN_USE
    assert not plain.kernels
    assert fused.path.name == "reference" and fused.execution.startswith("operator by operator")
    for program, name in ((fused, "with kernels"), (plain, "without")):
        found = program(feed)["logit"]
        close(found, expected, LOGIT["fp32"], f"{network} {name}")
        assert found.tobytes() == program(feed)["logit"].tobytes()


class Head(nn.Module):
    """The end of the network, from features on."""

    def __init__(self, fusion: Fusion) -> None:
        super().__init__()
        self.fusion = MultiscaleFusion(fusion)
        self.classifier = nn.Linear(48 if fusion == "tokens" else 24, 1)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        logit: Tensor = self.classifier(self.fusion(image, table).flatten(1))
        return logit


@pytest.mark.parametrize("fusion", ["tokens", "mean"])
def test_the_head_in_both_modes(fusion: Fusion, tmp_path: Path) -> None:
    torch.manual_seed(0)
    features = {"image": torch.randn(1, 24), "table": torch.randn(1, 24)}
    path = tmp_path / "head.onnx"
    export_onnx(Head(fusion).eval(), features, path)
    feed = {name: tensor.numpy() for name, tensor in features.items()}
    program = Network(path).program(shapes(feed))
    assert program.kernels == {"fusion_head": 1}
    close(program(feed)["logit"], answer(path, feed), LOGIT["fp32"], fusion)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_typed_graphs(precision: Low, demo: Path, low_demo: Callable[[Low], Path]) -> None:
    feed = window(demo, seed=2)
    program = Network(low_demo(precision)).program(shapes(feed))
    assert program.kernels == IN_USE
    close(program(feed)["logit"], answer(demo, feed), LOGIT[precision], precision)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_kernels_read_maps_in_the_low_type(precision: Low, demo: Path, low_demo: Callable[[Low], Path]) -> None:
    """Norms of low convolutions read what these write; small layers, and small maps in BF16, stay in float32."""
    feed = window(demo, seed=2)
    program, seen = Network(low_demo(precision)).program(shapes(feed)), []
    low = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    with _Calls(seen):
        program(feed)
    norms = [dtype for name, dtype in seen if name == "groupnorm_act"]
    assert norms.count(low) >= BLOCKS
    assert {dtype for name, dtype in seen if name in ("kan", "fusion_head")} == {torch.float32}


class _Calls(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes each kernel's name and the type of its first argument."""

    def __init__(self, seen: list[tuple[str, torch.dtype]]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, function, types, arguments=(), options=None):  # type: ignore[no-untyped-def]
        if function.namespace == "mmcaf":
            self.seen.append((function._schema.name.removeprefix("mmcaf::"), arguments[0].dtype))
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize(
    ("edit", "kernel"),
    [
        (other_bound, "msdc"),
        (other_slope, "groupnorm_act"),
        (other_padding, "msca_attention"),
        (other_corners, "upsample_dw"),
        (other_pieces, "kan"),
        (other_head, "fusion_head"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_what_only_resembles_a_kernel_is_left_alone(edit: object, kernel: str, demo: Path, tmp_path: Path) -> None:
    """One place is changed, so one kernel falls away, and the answer is still that of the changed network."""
    path = change(demo, tmp_path / "changed.onnx", edit)
    feed = window(path, seed=3)
    expected = answer(path, feed)
    assert abs(expected - answer(demo, feed)).max() > 1e-4 or kernel == "kan"
    program = Network(path).program(shapes(feed))
    left = {name: count - (name == kernel) for name, count in IN_USE.items()}
    assert program.kernels == {name: count for name, count in left.items() if count}
    close(program(feed)["logit"], expected, LOGIT["fp32"], f"without one {kernel}")


@pytest.mark.full
def test_golden_logits_at_full_size(shared: Shared) -> None:
    path = full_export(shared)[0] / "model.onnx"
    golden = np.load(GOLDEN)
    feed: Feed = {"image": image(0, (1, 1, 12, 192, 192)), "table": table(0)}
    program = Network(path).program(shapes(feed))
    assert program.kernels == IN_USE
    close(program(feed)["logit"], golden["logit"], LOGIT["fp32"], "golden")
    close(program({**feed, "table": table(5)})["logit"], golden["logit_other_table"], LOGIT["fp32"], "other table")


def test_values_are_freed_after_their_last_reader() -> None:
    nodes = [
        Node("Relu", ("x",), ("a",)),
        Node("Add", ("a", "w"), ("b",)),
        Node("Split", ("b",), ("c", "unread")),
        Node("Mul", ("a", "c"), ("y",)),
    ]
    assert last_uses(nodes, ["x", "w", "y"]) == [(), (), ("b", "unread"), ("a", "c")]


@pytest.mark.parametrize(
    ("shape", "group", "dtype", "expected"),
    [
        ((64, 64, 1, 3, 3), 1, torch.float16, True),
        ((64, 64, 3, 3, 3), 1, torch.bfloat16, True),
        ((64, 64, 3, 3, 3), 1, torch.float32, False),
        ((64, 64, 1, 1, 1), 1, torch.float16, False),
        ((64, 1, 3, 3, 3), 64, torch.float16, False),
        ((64, 7, 1, 7, 7), 1, torch.float16, False),
        ((2, 54, 3, 3, 3), 1, torch.float16, False),
        ((2, 64, 3, 3, 3), 1, torch.float16, False),
    ],
    ids=["planar", "volume", "float32", "one tap", "depthwise", "stem", "two maps", "two maps of even"],
)
def test_which_convolutions_run_channels_innermost(
    shape: tuple[int, ...], group: int, dtype: torch.dtype, expected: bool
) -> None:
    assert innermost({"group": group}, torch.empty(shape, dtype=dtype, device="meta")) is expected


def convolution(channels: int, group: int = 1, dtype: torch.dtype = torch.float16) -> TensorGraph:
    """One convolution of whole numbers, whose sums are exact in any order."""
    weight = torch.arange(8 * channels // group * 9).remainder(5).sub(2).reshape(8, -1, 1, 3, 3).to(dtype)
    attributes = {"group": group, "pads": [0, 1, 1, 0, 1, 1]}
    node = Node("Conv", ("x", "weight"), ("y",), attributes)
    shape = (1, channels, 2, 5, 5)
    graph = TensorGraph([node], {"weight": weight}, {"x": shape}, ("y",))
    graph.sizes.update(x=shape, weight=tuple(weight.shape), y=(1, 8, 2, 5, 5))
    graph.types.update(dict.fromkeys(("x", "y", "weight"), type_name(dtype)))
    return graph


def convolved(graph: TensorGraph) -> Tensor:
    shape = graph.inputs["x"]
    x = torch.arange(torch.Size(shape).numel()).remainder(7).sub(3).reshape(shape).to(getattr(torch, graph.types["x"]))
    values = {**graph.constants, "x": x}
    run(steps_of(graph), values)
    return values["y"]


def test_a_missing_eighth_channel_is_filled_with_zeros_exactly() -> None:
    plain, filled = convolution(7), convolution(7)
    fill_channels(filled)
    pad, node = filled.nodes
    assert (pad.operator, node.operator) == ("Pad", "Conv")
    assert filled.sizes[node.inputs[0]] == (1, 8, 2, 5, 5)
    assert innermost(node.attributes, filled.constants[node.inputs[1]])
    assert convolved(filled).abs().max() > 0
    assert torch.equal(convolved(filled), convolved(plain))


@pytest.mark.parametrize(
    ("channels", "group", "dtype"),
    [(8, 1, torch.float16), (3, 1, torch.float16), (7, 1, torch.float32), (8, 8, torch.bfloat16)],
    ids=["full", "mostly missing", "float32", "depthwise"],
)
def test_other_convolutions_are_not_filled(channels: int, group: int, dtype: torch.dtype) -> None:
    graph = convolution(channels, group, dtype)
    node = graph.nodes[0]
    fill_channels(graph)
    assert graph.nodes == [node]


@pytest.mark.full
def test_only_the_stem_is_filled(mean: Path, tmp_path: Path) -> None:
    low = lowered(mean, "fp16", tmp_path)
    graph = read(low).settled(shapes(window(low, seed=1)))
    before = set(graph.nodes)
    fill_channels(graph)
    assert [
        graph.sizes[node.inputs[0]][1] for node in graph.nodes if node not in before and node.operator == "Conv"
    ] == [8]


def test_the_process_keeps_its_own_settings(little: Path) -> None:
    feed = window(little, seed=1)
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    Network(little).program(shapes(feed))(feed)
    assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == before


class _Refusing:
    """CUDA's part of recording a graph, as far as torch calls it; `failure` is raised when the recording begins."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure

    def __enter__(self) -> None:
        if self.failure is not None:
            raise self.failure

    def __exit__(self, *_: object) -> None: ...


def stand_in_for_recording(monkeypatch: pytest.MonkeyPatch, failure: Exception | None) -> list[bool]:
    """What torch asks CUDA for to record a graph, on the processor; the list gets an entry for each replay."""
    recorded, replayed = Mock(), []
    recorded.replay = lambda: replayed.append(True)
    for name in ("Stream", "current_stream", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, Mock())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: recorded)
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda _: _Refusing(failure))
    return replayed


@pytest.mark.parametrize(
    "failure", [RuntimeError("operation not permitted\nwhen capturing"), None], ids=["refused", "recorded"]
)
def test_recording_that_fails_is_told(
    failure: Exception | None, little: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    feed = window(little, seed=1)
    program = Network(little).program(shapes(feed))
    expected = program(feed)["logit"]
    replayed = stand_in_for_recording(monkeypatch, failure)
    with caplog.at_level(logging.WARNING):
        program._record()
    assert program(feed)["logit"].tobytes() == expected.tobytes()
    if failure is None:
        assert program.execution == "CUDA graph" and not caplog.records
        assert len(replayed) == 2  # the first brings it to the GPU
    else:
        said = "operator by operator: recording a CUDA graph failed (operation not permitted)"
        assert program.execution == said and not replayed
        assert said in caplog.text


@pytest.mark.parametrize("benchmark", [False, True], ids=["heuristics", "timed"])
@pytest.mark.parametrize("refused", [False, True], ids=["recorded", "refused"])
def test_cudnns_choice_is_made_before_the_recording_in_a_thread_of_its_own(
    benchmark: bool, refused: bool, little: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch keeps choices by thread: single launches, from any thread, must find none that a clock has made."""
    feed = window(little, seed=1)
    network = Network(little, benchmark=benchmark)
    program = network.program(shapes(feed))
    seen: list[tuple[bool, int]] = []
    run_all = program_module.run

    def noted(*given: Any) -> None:
        assert torch.backends.cudnn.deterministic
        seen.append((torch.backends.cudnn.benchmark, threading.get_ident()))
        run_all(*given)

    monkeypatch.setattr(program_module, "run", noted)
    stand_in_for_recording(monkeypatch, RuntimeError("refused") if refused else None)
    before = torch.backends.cudnn.benchmark
    network.recorder.submit(program._record).result()
    here, recorder = threading.get_ident(), network.recorder.submit(threading.get_ident).result()
    assert seen == [(benchmark, recorder)] * (program_module.WARM_UP + (not refused)) and recorder != here
    if refused:
        program(feed)
        assert seen[-1] == (False, here)
    assert torch.backends.cudnn.benchmark is before


def test_constants_are_shared_by_name_layout_and_bits() -> None:
    weights, volume = Weights(torch.device("cpu")), torch.arange(32.0).reshape(2, 8, 2, 1, 1)
    placed = weights.place("w", volume)
    assert weights.place("w", volume.clone()) is placed and weights.bytes == volume.nbytes
    others = [
        weights.place("v", volume.clone()),
        weights.place("w", volume, innermost=True),
        weights.place("w", volume.double()),
        weights.place("w", volume.flatten()),
        weights.place("w", -volume),
    ]
    assert all(other is not placed for other in others)
    assert weights.place("zero", torch.tensor(0.0)) is not weights.place("zero", torch.tensor(-0.0))
    nan = torch.tensor(float("nan"))
    assert weights.place("nan", nan) is weights.place("nan", nan.clone())


@pytest.fixture
def gpu_program(demo: Path, tmp_path: Path) -> Program:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that torch can use")
    return Network(lowered(demo, "fp16", tmp_path), device="cuda:0").program(shapes(window(demo, seed=4)))


@pytest.mark.gpu
def test_on_a_gpu_it_is_one_graph(gpu_program: Program, demo: Path) -> None:
    assert gpu_program.path.name == "triton"
    assert gpu_program.execution == "CUDA graph"
    for seed in (4, 5):
        feed = window(demo, seed)
        found = gpu_program(feed)["logit"]
        close(found, answer(demo, feed), LOGIT["fp16"], f"graph, seed {seed}")
        assert found.tobytes() == gpu_program(feed)["logit"].tobytes()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_on_a_gpu(precision: str, demo: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that torch can use")
    feed = window(demo, seed=6)
    path = demo if precision == "fp32" else lowered(demo, "bf16", tmp_path)
    close(
        Network(path, device="cuda:0").program(shapes(feed))(feed)["logit"],
        answer(demo, feed),
        LOGIT[precision],
        precision,
    )
