"""Layers: the runtimes' times add up, operations agree with the ONNX file, and every node finds its module."""

import json
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from math import prod
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.factory import Network, make_backend
from mmcaf_engine.backends.node_names import module_name, module_path
from mmcaf_engine.backends.node_time import NodeTime, convolution_flops, product_flops, transposed_flops
from mmcaf_engine.backends.onnxruntime.backend import CountingOnnxRuntime
from mmcaf_engine.backends.onnxruntime.layers import read_profile
from mmcaf_engine.backends.openvino.backend import CountingOpenVino
from mmcaf_engine.backends.openvino.layers import Counters
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.bundle.golden import one_window
from mmcaf_engine.errors import BackendError
from mmcaf_engine.manifest import TensorSpec
from mmcaf_engine.profile.layers import assemble, measure_layers
from mmcaf_engine.profile.report import RUNTIME, Layers, Roofline
from mmcaf_engine.session.session import Session
from refusals import refused

BACKENDS = ("openvino", "onnxruntime")
ROOFLINE = Roofline({"fp32": 100.0, "int8": 400.0}, 10.0, "made up")
RUNS = 3


TITLES = {
    "image_encoder": "image encoder",
    "image_encoder.encoder.in_conv": "stem",
    "image_encoder.dcfb2": "E3D-MSCA stage 2",
    "image_encoder.bfpu2": "BFPU 2",
    "kan": "KAN",
}


@pytest.fixture(scope="module", params=BACKENDS)
def demo(request: pytest.FixtureRequest) -> Iterator[Session]:
    """The demonstration, open in a backend."""
    with open_session(load_bundle(demo_bundle()), backend=request.param, threads=1) as session:
        yield session


@pytest.fixture(scope="module")
def layers(demo: Session) -> Layers:
    """Its layers."""
    return measure_layers(demo, one_window(demo.bundle), RUNS, ROOFLINE)


def operations_in_file(model: Path) -> int:
    """Operations of convolutions and matrix products by ONNX's own shapes, 2 per multiply-add, for one window."""
    network = onnx.load(model)
    for value in (*network.graph.input, *network.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = shape_inference.infer_shapes(network, data_prop=True).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += 2 * prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            total += 2 * prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return total


def test_rows_add_up_to_the_window(layers: Layers) -> None:
    times = [row.ms for row in layers.rows]
    measured = [row.ms for row in layers.rows if row.kind != RUNTIME]
    assert times == sorted(times, reverse=True)
    assert sum(measured) == pytest.approx(layers.layers_ms)
    assert sum(times) == pytest.approx(max(layers.infer_ms, layers.layers_ms))
    assert sum(row.share for row in layers.rows) == pytest.approx(1)
    assert layers.infer_ms > 0
    assert len([row for row in layers.rows if row.kind == RUNTIME]) == 1


def test_modules_are_the_rows_summed(layers: Layers) -> None:
    assert sum(entry.layers for entry in layers.modules) == len(layers.rows)
    assert [entry.ms for entry in layers.modules] == sorted((entry.ms for entry in layers.modules), reverse=True)
    for entry in layers.modules:
        own = [row for row in layers.rows if row.module == entry.module]
        assert entry.layers == len(own)
        assert entry.ms == pytest.approx(sum(row.ms for row in own))
        assert entry.share == pytest.approx(sum(row.share for row in own))
        if entry.module != RUNTIME:
            assert entry.flops == sum(row.flops or 0 for row in own)
            assert entry.bytes == sum(row.bytes or 0 for row in own)


def test_operations_are_those_of_the_file(layers: Layers, demo: Session) -> None:
    counted = sum(row.flops or 0 for row in layers.rows)
    assert counted == operations_in_file(demo.bundle.folder / "model.onnx")
    assert counted > 1e9


def test_every_part_of_the_network_is_named(layers: Layers) -> None:
    named = {entry.module for entry in layers.modules}
    stages = {f"E3D-MSCA stage {level}" for level in (1, 2, 3)} | {f"PENet stage {level}" for level in (1, 2, 3)}
    assert stages | {"stem", "BFPU 1", "BFPU 2", "KAN", "E3D-MSCA spatial attention", "image features"} <= named
    unknown = [row for row in layers.rows if row.module == "network"]
    assert sum(row.share for row in unknown) < 0.02
    assert all(row.path for row in layers.rows if row.module not in ("network", RUNTIME))
    convolutions = [row for row in layers.rows if "Conv" in row.kind]
    assert convolutions and all(row.path.startswith("image_encoder.") for row in convolutions)


def test_a_stem_is_the_same_on_both_backends(layers: Layers) -> None:
    (stem,) = [entry for entry in layers.modules if entry.module == "stem"]
    assert stem.flops == 2 * (6 * 12 * 96 * 96) * (7 * 1 * 7 * 7)


@pytest.mark.parametrize("kind", [CountingOpenVino, CountingOnnxRuntime], ids=BACKENDS)
def test_warm_up_windows_are_left_out(kind: Any) -> None:
    """Each node's mean is over the windows after the warm-up: it is no more than the windows' own time."""
    bundle = load_bundle(demo_bundle())
    window = one_window(bundle)
    backend = make_backend(kind, Network.of(bundle.manifest, bundle.folder, "fp32"), 1).open()
    try:
        backend.infer(window)
        backend.start_counting()
        for _ in range(2):
            backend.infer(window)
        nodes = backend.counted()
    finally:
        backend.close()
    names = [node.name for node in nodes]
    assert len(names) == len(set(names)) > 100
    assert all(node.ms >= 0 for node in nodes) and sum(node.ms for node in nodes) > 0


class Counted:
    """A request of OpenVINO with two nodes, one of which is never executed; `taken`: ms of the other, per window."""

    class Status(Enum):
        NOT_RUN = 0
        EXECUTED = 2

    def __init__(self) -> None:
        self.taken: list[float] = []

    def infer(self, window: dict[str, float]) -> None:
        self.taken.append(window["ms"])

    @property
    def profiling_info(self) -> list[SimpleNamespace]:
        mean = timedelta(milliseconds=fmean(self.taken)) if self.taken else timedelta()
        executed = SimpleNamespace(node_name="conv", real_time=mean, Status=self.Status, status=self.Status.EXECUTED)
        idle = SimpleNamespace(node_name="idle", real_time=timedelta(), Status=self.Status, status=self.Status.NOT_RUN)
        return [executed, idle]


@pytest.mark.parametrize("warm_up", [[], [50.0, 100.0]], ids=["cold", "warm"])
def test_openvinos_means_are_of_the_windows_since(warm_up: list[float]) -> None:
    counters = Counters(Counted())
    for taken in warm_up:
        counters.infer({"ms": taken})  # type: ignore[dict-item]
    counters.start()
    for taken in (1.0, 2.0, 6.0):
        counters.infer({"ms": taken})  # type: ignore[dict-item]
    [(entry, mean)] = counters.means()
    assert entry.node_name == "conv" and mean == pytest.approx(3.0, abs=0.01)


def test_profiles_of_onnxruntime_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with open_session(load_bundle(demo_bundle()), backend="onnxruntime", threads=1) as session:
        measure_layers(session, one_window(session.bundle), 1, None)
    assert list(tmp_path.iterdir()) == []


def test_without_a_roofline_nothing_is_compared_with_it(demo: Session) -> None:
    nodes = [NodeTime("kan/MatMul", "MatMul", (), 1.0, 1000, 1000)]
    without = assemble(nodes, TITLES, "fp32", None, 1.0, 1.0, "a test")
    other = assemble(nodes, TITLES, "bf16", ROOFLINE, 1.0, 1.0, "a test")
    for report in (without, other):
        assert all(row.roofline_share is None and row.bound is None for row in (*report.rows, *report.modules))


@pytest.mark.parametrize(
    ("precision", "flops", "moved", "share", "bound"),
    [
        ("fp32", 100_000_000, 1_000, 0.5, "compute"),  # 1 ms at 100 GFLOP/s
        ("int8", 400_000_000, 1_000, 0.5, "compute"),
        ("fp32", 0, 10_000_000, 0.5, "memory"),  # 1 ms at 10 GB/s
        ("fp32", 50_000_000, 15_000_000, 0.75, "memory"),
        ("fp32", 0, 40_000_000, 2.0, "memory"),
        ("fp32", 0, 0, None, None),
        ("fp32", None, 10, None, None),
        ("fp32", 10, None, None, None),
    ],
)
def test_the_share_of_the_roofline(
    precision: Any, flops: int | None, moved: int | None, share: float | None, bound: str | None
) -> None:
    node = NodeTime("image_encoder.dcfb2.pconv1.0/Conv", "Conv", (), 2.0, flops, moved)
    found = assemble([node], TITLES, precision, ROOFLINE, 2.0, 2.0, "a test")
    for entry in (found.rows[0], found.modules[0]):
        assert entry.module == "E3D-MSCA stage 2"
        assert (entry.roofline_share, entry.bound) == (share, bound)


def test_the_roofline_of_a_module_is_over_its_rows() -> None:
    nodes = [
        NodeTime("kan/MatMul", "MatMul", (), 4.0, 100_000_000, 0),
        NodeTime("kan/Add", "Add", (), 4.0, 0, 20_000_000),
    ]
    (module, runtime) = assemble(nodes, TITLES, "fp32", ROOFLINE, 10.0, 11.0, "a test").modules
    assert (module.module, module.ms, module.share, module.layers) == ("KAN", 8.0, 0.8, 2)
    assert (module.roofline_share, module.bound) == (pytest.approx(3 / 8), "memory")
    assert (runtime.module, runtime.ms, runtime.share) == (RUNTIME, 2.0, 0.2)


def test_of_a_module_with_an_unknown_row_nothing_is_compared_with_the_roofline() -> None:
    nodes = [
        NodeTime("kan/MatMul", "MatMul", (), 4.0, 100_000_000, 0),
        NodeTime("kan/Add", "Add", (), 4.0, None, None),
    ]
    (module, _) = assemble(nodes, TITLES, "fp32", ROOFLINE, 10.0, 11.0, "a test").modules
    assert (module.flops, module.bytes) == (100_000_000, 0)
    assert module.roofline_share is None and module.bound is None


def test_layers_that_tell_more_than_the_window_leave_nothing_to_the_runtime() -> None:
    found = assemble([NodeTime("kan/Add", "Add", (), 4.0, 0, 8)], TITLES, "fp32", None, 3.0, 3.5, "a test")
    assert (found.layers_ms, found.profiled_ms) == (4.0, 3.5)
    assert [(row.kind, row.ms, row.share) for row in found.rows] == [("Add", 4.0, 1.0), (RUNTIME, 0.0, 0.0)]


@pytest.mark.parametrize(
    ("node", "path", "name"),
    [
        ("image_encoder.encoder.in_conv.0/Conv", "image_encoder.encoder.in_conv.0", "stem"),
        (
            "image_encoder.encoder.in_conv.0/Reshape_abc_image_encoder.fc.0/Conv",
            "image_encoder.encoder.in_conv.0",
            "stem",
        ),
        ("image_encoder.dcfb2.msdc.dwconvs.0/Conv", "image_encoder.dcfb2.msdc.dwconvs.0", "E3D-MSCA stage 2"),
        ("image_encoder.bfpu2.key_conv/Conv_3", "image_encoder.bfpu2.key_conv", "BFPU 2"),
        ("image_encoder/ReduceMax", "image_encoder", "image encoder"),
        ("image_encoder.fc.0/MatMul", "image_encoder.fc.0", "image encoder"),
        ("kan/MatMul", "kan", "KAN"),
        ("kangaroo.1/MatMul", "kangaroo.1", "kangaroo.1"),
        ("text.encoder.layer.3.attention.self/Add", "text.encoder.layer.3.attention.self", "text.encoder.layer.3"),
        ("head.norm.inner/Add", "head.norm.inner", "head.norm"),
        ("head/Add", "head", "head"),
        ("Reshape", "", "network"),
    ],
)
def test_the_module_of_a_node(node: str, path: str, name: str) -> None:
    assert module_path(node) == path
    assert module_name(TITLES, path) == name


def test_without_titles_paths_are_shown() -> None:
    assert module_name({}, "image_encoder.dcfb2.msdc.dwconvs.0") == "image_encoder.dcfb2.msdc.dwconvs.0"
    assert module_name({}, "image_encoder.sab.conv") == "image_encoder.sab"


def test_a_fused_node_is_where_its_product_is() -> None:
    onnx_nodes = ("image_encoder.scale1.0/Add", "image_encoder.bfpu2.adjust_c/Conv_2", "image_encoder.fc.0/Relu")
    for name in ("Multiply_2114", "image_encoder.fc.0/Relu"):
        node = NodeTime(name, "Subgraph", onnx_nodes, 1.0, 0, 0)
        assert assemble([node], TITLES, "fp32", None, 1.0, 1.0, "a test").rows[0].module == "BFPU 2"
    bare = NodeTime("Multiply_2114", "Subgraph", ("x", "kan/Add", "kan/Mul", "y"), 1.0, 0, 0)
    assert assemble([bare], TITLES, "fp32", None, 1.0, 1.0, "a test").rows[0].module == "KAN"


@pytest.mark.parametrize("groups", [1, 2], ids=["plain", "groups"])
@pytest.mark.parametrize("transposed", [False, True], ids=["convolution", "transposed"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_operations_of_a_convolution(backend: str, transposed: bool, groups: int, tmp_path: Path) -> None:
    channels, made, kernel = 16, 32, (3, 2)
    shape = (channels, made // groups, *kernel) if transposed else (made, channels // groups, *kernel)
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("ConvTranspose" if transposed else "Conv", ["x", "w"], ["y"], name="a.b/Conv", group=groups)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", channels, 9, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, tmp_path / "m.onnx")
    spec = TensorSpec(name="x", kind="volume", shape=("N", channels, 9, 8))
    size = (11, 9) if transposed else (7, 7)
    output = TensorSpec(name="y", kind="score", shape=("N", made, *size))
    kind = {"openvino": CountingOpenVino, "onnxruntime": CountingOnnxRuntime}[backend]
    counting = kind(tmp_path / "m.onnx", (spec,), (output,), 1).open()
    try:
        counting.start_counting()
        counting.infer({"x": np.ones((1, channels, 9, 8), np.float32)})
        nodes = counting.counted()
    finally:
        counting.close()
    each = channels * made // groups * prod(kernel)  # Multiply-adds for one place of the smaller side.
    places = 9 * 8 if transposed else prod(size)
    counted = [node.flops for node in nodes]
    if backend == "onnxruntime" and transposed:
        assert counted == [None]  # It does not tell the shape of this weight.
    else:
        assert sum(flops or 0 for flops in counted) == 2 * each * places


def test_operations_by_shape() -> None:
    assert convolution_flops([1, 6, 5, 5], [6, 4, 3, 3]) == 2 * 6 * 25 * 4 * 9
    assert convolution_flops([1, 6, 5, 5], [2, 3, 2, 3, 3]) == 2 * 6 * 25 * 2 * 9
    assert transposed_flops([1, 4, 5, 5], [4, 6, 2, 2]) == 2 * 4 * 25 * 6 * 4
    assert product_flops([1, 7, 8], 9) == 2 * 7 * 8 * 9


def profile(*runs: tuple[int, int], nodes: tuple[tuple[int, int], ...] = (), idle: int | None = None) -> bytes:
    """ONNX Runtime's profile of runs and of one node, (start, duration) each, in microseconds.

    idle: what a second node takes at the end of the last run, which moves no data.
    """
    about = {
        "op_name": "Add",
        "input_type_shape": [{"float": [1, 4]}],
        "output_type_shape": [{"float": [1, 4]}],
        "activation_size": "16",
        "parameter_size": "0",
        "output_size": "16",
    }
    events = [{"name": "model_run", "ts": ts, "dur": dur, "args": {}} for ts, dur in runs]
    events += [{"name": "kan/Add_kernel_time", "ts": ts, "dur": dur, "args": about} for ts, dur in nodes]
    if idle is not None:
        still = {**about, "op_name": "Reshape"}
        events.append({"name": "kan/Reshape_kernel_time", "ts": sum(runs[-1]), "dur": idle, "args": still})
    return json.dumps(events).encode()


def test_a_profile_gives_means_of_its_later_runs() -> None:
    document = profile((0, 90), (100, 50), (200, 60), nodes=((10, 80), (110, 20), (210, 40)))
    assert read_profile(document, 1, 3) == [NodeTime("kan/Add", "Add", ("kan/Add",), 0.03, 0, 32)]


@pytest.mark.parametrize(("idle", "left_ms"), [(4, 0.028), (200, 0.0)], ids=["less", "more than it took"])
def test_what_the_profiler_takes_itself_is_taken_off_every_node(idle: int, left_ms: float) -> None:
    document = profile((0, 90), (100, 50), (200, 60), nodes=((110, 20), (210, 40)), idle=idle)
    found = {node.kind: (node.ms, node.bytes) for node in read_profile(document, 1, 3)}
    assert found == {"Add": (pytest.approx(left_ms), 32), "Reshape": (0.0, 0)}


def test_a_loop_is_one_node_less_what_the_profiler_takes_for_its_body() -> None:
    events = json.loads(profile((0, 100), (200, 100), nodes=((0, 5), (95, 5), (200, 5), (295, 5))))
    for start in (5, 205):
        scan = {**events[-1], "name": "bilstm/Scan_kernel_time", "ts": start, "dur": 90}
        scan["args"] = {**events[-1]["args"], "op_name": "Scan"}
        body = [{**events[-1], "name": "step_Add_kernel_time", "ts": start + 10 * at, "dur": 9} for at in range(8)]
        events += [scan, *body]
    # Of 11 events in each run the loop's body has 8, and so 8 elevenths of the 33 us that the profiler adds.
    found = {node.name: node.ms for node in read_profile(json.dumps(events).encode(), 0, 2, 0.033)}
    assert found == {"kan/Add": pytest.approx(0.010), "bilstm/Scan": pytest.approx(0.090 - 0.024)}
    assert read_profile(json.dumps(events).encode(), 0, 2, 10.0)[-1].ms == 0.0


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[",
        b"{}",
        b"[1]",
        b"[{}]",
        profile((0, 10)),
        profile((0, 10), (10, 10), (30, 10)),
        b'[{"name": "model_run"}]',
    ],
    ids=["empty", "cut", "no list", "no events", "no names", "too few runs", "too many runs", "no times"],
)
def test_a_profile_that_lacks_something_is_refused(document: bytes) -> None:
    with refused(BackendError, "profile"):
        read_profile(document, 1, 2)


def test_a_backend_that_does_not_count_says_so(tiny_bundle: Path) -> None:
    pytest.importorskip("torch")
    with (
        open_session(load_bundle(tiny_bundle), backend="torch") as session,
        refused(BackendError, "torch", "layers"),
    ):
        measure_layers(session, one_window(session.bundle), 1, None)
