"""Stages and layers on a GPU, against the stand-in for CUDA and TensorRT: what is told, in which order, and by whom."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fake_cuda import IMAGE, MS_PER_TASK, SCHEDULES, TABLE, FakeGpu, OnGpu, Schedule
from mmcaf_engine.backends.device_arrays import device_array
from mmcaf_engine.backends.tensorrt import backend as tensorrt_backend
from mmcaf_engine.backends.tensorrt import layers as tensorrt_layers
from mmcaf_engine.backends.tensorrt.conv_precision import Product
from mmcaf_engine.backends.tensorrt.loading import Place
from mmcaf_engine.backends.tensorrt.runner import Runner
from mmcaf_engine.backends.tensorrt.stage_clock import COMPUTING, COPYING
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.machine.gpu import Gpu, energy_used, free_memory
from mmcaf_engine.manifest import TensorSpec
from mmcaf_engine.timing import Span, Stopwatch

INPUTS = (
    TensorSpec(name="image", kind="volume", shape=("N", *IMAGE[1:])),
    TensorSpec(name="table", kind="table", shape=("N", *TABLE[1:])),
)
OUTPUTS = (TensorSpec(name="logit", kind="score", shape=("N", 1)),)
ROUNDING = 1e-6
"""Milliseconds; the host's clock is a large number of seconds."""

PLACE = Place("model.onnx in fp16", "8.6", "580.65")
RTX_4090 = Gpu(0, "NVIDIA GeForce RTX 4090", Target(8, 9), 24 * 2**30, "0000:01:00.0", "580.65.06", (13, 0))


def opened(gpu: FakeGpu) -> Runner:
    return Runner(gpu.flavour, gpu.cuda(), b"plan", INPUTS, OUTPUTS, PLACE)


def windows(count: int) -> list[dict[str, Any]]:
    image, table = np.ones(IMAGE, np.float32), np.ones(TABLE, np.float32)
    return [{"image": image, "table": table} for _ in range(count)]


def told(runner: Runner, given: list[dict[str, Any]]) -> Stopwatch:
    """What a run tells a stopwatch."""
    watch = Stopwatch()
    with watch.active(), watch.span("infer"):
        runner.run(given)
    return watch


def of_track(watch: Stopwatch, track: str) -> list[Span]:
    return [span for span in watch.spans if watch.tracks[span.track] == track]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_window_is_copied_computed_and_copied_back(schedule: Schedule, count: int) -> None:
    runner = opened(FakeGpu(schedule))
    watch = told(runner, windows(count))
    copied, computed = of_track(watch, COPYING), of_track(watch, COMPUTING)
    assert [span.name for span in copied] == ["copy_in"] * count
    assert [span.name for span in computed] == ["infer", "copy_out"] * count
    for spans in (copied, computed):  # Streams work in order.
        assert all(one.end_ms <= other.start_ms + ROUNDING for one, other in pairwise(spans))
    for window in range(count):
        infer, back = computed[2 * window], computed[2 * window + 1]
        assert copied[window].end_ms <= infer.start_ms + ROUNDING  # Its inputs come first.
        assert infer.end_ms == pytest.approx(back.start_ms)
        assert back.end_ms - back.start_ms >= MS_PER_TASK - ROUNDING
        assert copied[window].end_ms - copied[window].start_ms >= 2 * MS_PER_TASK - ROUNDING  # Two inputs.
    runner.close()


def test_the_gpus_stages_are_in_the_account_and_in_the_sums() -> None:
    runner = opened(FakeGpu("late"))
    watch = told(runner, windows(3))
    together = watch.stages_ms()
    on_gpu = {"copy_in": 6 * MS_PER_TASK, "infer": 3 * MS_PER_TASK, "copy_out": 3 * MS_PER_TASK}
    assert all(together[stage] >= least - ROUNDING for stage, least in on_gpu.items())
    account = watch.account()
    assert sum(account.stages.values()) + account.unaccounted_ms == pytest.approx(account.total_ms)
    assert set(account.stages) >= {"infer", "copy_in"}
    runner.close()


def test_without_a_stopwatch_the_gpu_is_not_asked_for_times() -> None:
    gpu = FakeGpu()
    runner = opened(gpu)
    gpu.calls.clear()
    runner.run(windows(2))
    assert "cudaEventElapsedTime" not in gpu.calls
    told(runner, windows(2))
    assert gpu.calls.count("cudaEventElapsedTime") == 2 * 2 * 3
    runner.close()
    assert gpu.live == []


def test_inputs_on_the_gpu_are_not_copied_in() -> None:
    gpu = FakeGpu()
    runner = opened(gpu)
    with gpu.cuda().current():
        image, table = OnGpu(gpu, np.ones(IMAGE, np.float32)), OnGpu(gpu, np.ones(TABLE, np.float32))
    given = {"image": device_array(image, "image"), "table": device_array(table, "table")}
    watch = told(runner, [given])
    assert COPYING not in watch.tracks
    assert [span.name for span in of_track(watch, COMPUTING)] == ["infer", "copy_out"]
    runner.close()


def test_a_profiler_is_told_of_each_layer_and_no_graph_runs() -> None:
    gpu = FakeGpu()
    runner = opened(gpu)
    seen: list[tuple[str, float]] = []

    class Profiler(gpu.flavour.module.IProfiler):  # type: ignore[misc]
        def report_layer_time(self, layer_name: str, ms: float) -> None:
            seen.append((layer_name, ms))

    report = runner.report_layers(Profiler())
    gpu.launches.clear()
    runner.run(windows(3))
    assert set(gpu.launches) == {"plain"}
    assert seen == gpu.layer_times * 3
    assert '"Layers"' in report and "each layer is reported" in runner.graph
    runner.close()


def test_layers_of_an_engine_have_onnx_nodes_and_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu()
    for module in (tensorrt_backend, tensorrt_layers):
        monkeypatch.setattr(module, "fitting_flavour", lambda: gpu.flavour)
    monkeypatch.setattr(tensorrt_layers, "parse_network", lambda *arguments, **options: None)
    products = (Product("kan/MatMul", "matrix product", ("FP16", "FP16"), 700),)
    monkeypatch.setattr(tensorrt_layers, "products", lambda parsed: products)

    class Counting(tensorrt_backend.CountingTensorRt):
        def __init__(self) -> None:
            self.model, self.inputs, self.outputs = "model.onnx", INPUTS, OUTPUTS
            self._runner, self._spent = opened(gpu), {}
            self._report = self._runner.report_layers(tensorrt_layers.profiler(gpu.flavour.module, self._spent))

        @classmethod
        def runtime(cls) -> Any:
            return gpu.flavour.module

    counting = Counting()
    counting._infer_windows(windows(1))
    counting.start_counting()
    for _ in range(2):
        counting._infer_windows(windows(2))
    found = {node.name: node for node in counting.counted()}
    assert {name: node.ms for name, node in found.items()} == pytest.approx(dict(gpu.layer_times))
    fused, other = found["kan/MatMul + kan/Add"], found["Reformat 1"]
    assert (fused.onnx, fused.flops, fused.kind) == (("kan/MatMul", "kan/Add"), 700, "gemm")
    assert (other.onnx, other.flops) == ((), None)
    counting._runner.close()


class FakeNvml:
    """NVML of one GPU, or with a call that fails."""

    def __init__(self, fails: str = "") -> None:
        self._fails = fails

    def nvmlDeviceGetHandleByPciBusId_v2(self, bus: bytes, handle: Any) -> int:  # noqa: N802
        assert bus == b"0000:01:00.0"
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, answer: Any) -> int:  # noqa: N802
        answer._obj.value = 4500
        return 3 if self._fails == "energy" else 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, answer: Any) -> int:  # noqa: N802
        answer._obj[1] = 7 * 2**20
        return 3 if self._fails == "memory" else 0


@pytest.mark.parametrize(
    ("nvml", "joules", "free"),
    [
        (FakeNvml(), 4.5, 7 * 2**20),
        (FakeNvml("energy"), None, 7 * 2**20),
        (FakeNvml("memory"), 4.5, None),
        (object(), None, None),
        (None, None, None),
    ],
    ids=["tells both", "no energy", "no memory", "too old", "absent"],
)
def test_what_nvml_tells(nvml: Any, joules: float | None, free: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcaf_engine.machine.gpu.nvml_library", lambda: nvml)
    assert energy_used(RTX_4090) == joules
    assert free_memory(RTX_4090) == free
