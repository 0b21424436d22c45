"""The TensorRT runner's logic, against a stand-in for CUDA: rotation of memory, overlap, graphs, errors, release."""

import ctypes
import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_cuda import IMAGE, SCHEDULES, TABLE, Code, DataType, FakeGpu, OnGpu, Schedule
from mmcaf_engine.backends.device_arrays import device_array
from mmcaf_engine.backends.tensorrt.cuda_errors import LOST, NO_DRIVER, OUT_OF_MEMORY, CudaError, in_words
from mmcaf_engine.backends.tensorrt.flavour import find_flavour
from mmcaf_engine.backends.tensorrt.kernel_cache import KernelCache
from mmcaf_engine.backends.tensorrt.loading import Engine, Place, explain
from mmcaf_engine.backends.tensorrt.runner import CAPTURED, Runner
from mmcaf_engine.errors import BackendError, UsageError
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.machine.gpu import Gpu
from mmcaf_engine.manifest import TensorSpec
from refusals import Fact, refused

INPUTS = (
    TensorSpec(name="image", kind="volume", shape=("N", *IMAGE[1:])),
    TensorSpec(name="table", kind="table", shape=("N", *TABLE[1:])),
)
OUTPUTS = (TensorSpec(name="logit", kind="score", shape=("N", 1)),)
PLACE = Place("model.onnx in fp16", "8.6", "580.65")
RTX_4090 = Gpu(0, "NVIDIA GeForce RTX 4090", Target(8, 9), 24 * 2**30, "0000:01:00.0", "580.65.06", (13, 0))


def runner(gpu: FakeGpu, kernels: bytes = b"") -> Runner:
    return Runner(gpu.flavour, gpu.cuda(), b"plan", INPUTS, OUTPUTS, PLACE, kernels)


def windows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    return [
        {
            "image": generator.integers(-9, 9, IMAGE).astype(np.float32),
            "table": generator.integers(-9, 9, TABLE).astype(np.float32),
        }
        for _ in range(count)
    ]


def expected(given: list[dict[str, Any]]) -> list[float]:
    return [float(window["image"].sum() + 2 * window["table"].sum()) for window in given]


def logits(answers: list[dict[str, np.ndarray]]) -> list[float]:
    return [answer["logit"].item() for answer in answers]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("rtx", [True, False], ids=["rtx", "classic"])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_window_gets_its_own_answer(schedule: Schedule, rtx: bool, count: int) -> None:
    gpu = FakeGpu(schedule, rtx=rtx)
    opened = runner(gpu)
    given = windows(count)
    answers = opened.run(given)
    assert logits(answers) == expected(given)
    kept = [answer["logit"].copy() for answer in answers]
    opened.run(windows(count, seed=1))
    assert [answer["logit"].tobytes() for answer in answers] == [values.tobytes() for values in kept]
    opened.close()


def test_the_next_window_is_copied_before_the_last_is_waited_for() -> None:
    gpu = FakeGpu("late")
    opened = runner(gpu)
    gpu.calls.clear()
    opened.run(windows(3))
    order = "".join(
        {"cudaMemcpyAsync": "c", "cudaGraphLaunch": "G", "cudaEventSynchronize": "S"}.get(call, "")
        for call in gpu.calls
    )
    # Two inputs in, inference, one output out; then the next window; only then wait for the one before.
    assert order == "ccGc" + "ccGcS" + "ccGcS" + "S"
    opened.close()


def test_copies_of_the_next_window_do_not_wait_for_inference() -> None:
    """With the copying stream run at once and inference only when waited for, the copies are done first."""
    gpu = FakeGpu("copies first")
    opened = runner(gpu)
    done: list[str] = []
    gpu_tell = gpu.tell

    def tell(stream: int, kind: str, what: Any) -> None:
        def watched() -> None:
            done.append("copy" if stream == min(handle for handle in gpu.queues if handle != 1) else "compute")
            what()

        gpu_tell(stream, kind, watched if kind == "do" else what)

    gpu.tell = tell  # type: ignore[method-assign]
    opened.run(windows(2))
    assert done[:4] == ["copy"] * 4 and "copy" not in done[4:]
    opened.close()


def test_slots_have_memory_of_their_own() -> None:
    opened = runner(FakeGpu())
    addresses = [
        memory.address
        for slot in opened._slots
        for tensor in (*slot.inputs, *slot.outputs)
        for memory in (tensor.pinned, tensor.device)
    ]
    assert len(opened._slots) == 2 and len(set(addresses)) == len(addresses) == 12
    opened.close()


def test_a_graph_is_captured_after_the_warm_up_and_then_launched() -> None:
    gpu = FakeGpu()
    opened = runner(gpu)
    assert gpu.launches == ["plain", "plain", "captured", "captured"]
    made = [name for name in gpu.calls if name in ("cudaGraphInstantiate", "cudaGraphUpload", "cudaGraphLaunch")]
    assert made == ["cudaGraphInstantiate", "cudaGraphUpload"] * 2
    opened.run(windows(3))
    assert gpu.launches[4:] == ["graph"] * 3 and opened.graph == CAPTURED
    opened.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"capturable": False}, "plain launches: tensorrt_rtx says that this engine cannot be captured"),
        ({"fail_on": "cudaStreamBeginCapture"}, "plain launches: capturing failed, cudaStreamBeginCapture"),
        ({"fail_on": "cudaStreamEndCapture"}, "plain launches: capturing failed, cudaStreamEndCapture"),
        ({"fail_on": "cudaGraphInstantiate"}, "plain launches: capturing failed, cudaGraphInstantiate"),
        ({"fail_on": "cudaGraphUpload"}, "plain launches: capturing failed, cudaGraphUpload"),
    ],
    ids=["not-capturable", "begin", "end", "instantiate", "upload"],
)
def test_without_a_graph_plain_launches_answer_and_the_reason_is_said(change: dict[str, Any], reason: str) -> None:
    gpu = FakeGpu(code=Code.cudaErrorStreamCaptureUnsupported, **change)
    opened = runner(gpu)
    assert opened.graph.startswith(reason)
    given = windows(3)
    assert logits(opened.run(given)) == expected(given)
    assert "graph" not in gpu.launches and "graph" not in gpu.live
    opened.close()
    assert gpu.live == []


def test_everything_is_released_in_order_and_once() -> None:
    gpu = FakeGpu()
    opened = runner(gpu)
    opened.run(windows(2))
    del gpu.released[:]
    opened.close()
    order = ["graph", "context", "engine", "runtime", "device", "pinned", "event", "stream", "primary"]
    first = [gpu.released.index(kind) for kind in order]
    last = [len(gpu.released) - 1 - gpu.released[::-1].index(kind) for kind in order]
    buffers = order.index("device")
    assert first == sorted(first)
    assert all(
        last[at] < first[at + 1] for at in range(len(order) - 1) if at != buffers
    )  # the two kinds of buffer are mixed
    assert gpu.live == [] and gpu.pushed == 0
    opened.close()
    assert len(gpu.released) == len(set(range(len(gpu.released)))) and gpu.live == []


def calls_of_a_session(**change: Any) -> int:
    gpu = FakeGpu(**change)
    opened = runner(gpu)
    opened.run(windows(3))
    opened.close()
    return len(gpu.calls)


@pytest.mark.parametrize("rtx", [True, False], ids=["rtx", "classic"])
@pytest.mark.parametrize("code", [Code.cudaErrorMemoryAllocation, Code.cudaErrorLaunchFailure])
def test_whichever_call_fails_everything_is_released(rtx: bool, code: Code) -> None:
    total = calls_of_a_session(rtx=rtx)
    assert total > 100
    outcomes = set()
    for fail_at in range(total):
        gpu = FakeGpu(rtx=rtx, fail_at=fail_at, code=code)
        opened = None
        try:
            opened = runner(gpu)
            given = windows(3)
            assert logits(opened.run(given)) == expected(given)
            outcomes.add("answered")
        except (CudaError, BackendError) as failure:
            outcomes.add(type(failure).__name__)
        finally:
            if opened is not None:
                opened.close()
        if gpu.live:  # Frames of the exception may keep TensorRT's objects.
            gc.collect()
        assert gpu.live == [] and gpu.pushed == 0, (fail_at, gpu.calls[fail_at], gpu.live)
    assert outcomes == {"answered", "CudaError", "BackendError"}


def test_after_a_failed_window_the_next_one_is_answered() -> None:
    gpu = FakeGpu()
    opened = runner(gpu)
    gpu.fail_at = len(gpu.calls) + 9
    with pytest.raises(CudaError):
        opened.run(windows(3))
    given = windows(3, seed=5)
    assert logits(opened.run(given)) == expected(given)
    opened.close()


def test_arrays_on_the_gpu_are_read_where_they_lie() -> None:
    gpu = FakeGpu()
    opened = runner(gpu)
    (values,) = windows(1)
    image, table = OnGpu(gpu, values["image"]), OnGpu(gpu, values["table"], offset=28)
    gpu.calls.clear()
    del gpu.launches[:]
    given = {"image": device_array(image, "image"), "table": device_array(table, "table")}
    assert logits(opened.run([given])) == expected([values])
    assert gpu.launches == ["plain"]
    assert opened._engine._context.addresses["image"] == image.address
    # Only the table, whose address does not suit TensorRT, is copied on the GPU; and the answer to the host.
    assert gpu.calls.count("cudaMemcpyAsync") == 2
    opened.close()


def test_the_stream_that_wrote_an_array_is_waited_for() -> None:
    gpu = FakeGpu("late")
    opened = runner(gpu)
    (values,) = windows(1)
    image = OnGpu(gpu, np.zeros_like(values["image"]))
    with gpu.cuda().current():
        theirs = gpu.runtime.cudaStreamCreateWithFlags(1)[1]
    image.__cuda_array_interface__["stream"] = theirs
    source = OnGpu(gpu, values["image"])
    gpu.tell(theirs, "do", lambda: ctypes.memmove(image.address, source.address, values["image"].nbytes))
    given = {"image": device_array(image, "image"), "table": values["table"]}
    assert logits(opened.run([given])) == expected([values])
    opened.close()


def test_an_array_that_is_not_on_the_gpu_is_refused() -> None:
    gpu = FakeGpu()
    opened = runner(gpu)
    (values,) = windows(1)
    image = OnGpu(gpu, values["image"], data=(values["image"].ctypes.data, False))
    with refused(UsageError, "image", "GPU memory", "GPU 0"):
        opened.run([{"image": device_array(image, "image"), "table": values["table"]}])
    given = windows(2)
    assert logits(opened.run(given)) == expected(given)
    opened.close()


def test_managed_memory_is_read_where_it_lies() -> None:
    gpu = FakeGpu(managed=True)
    opened = runner(gpu)
    (values,) = windows(1)
    given = {"image": device_array(OnGpu(gpu, values["image"]), "image"), "table": values["table"]}
    assert logits(opened.run([given])) == expected([values])
    opened.close()


@pytest.mark.parametrize(("context", "elsewhere"), [(7, False), (0, False), (None, False), (8, True)])
def test_memory_of_another_context_is_refused(context: int | None, elsewhere: bool) -> None:
    gpu = FakeGpu(memory_context=context)
    opened = runner(gpu)
    (values,) = windows(1)
    given = {"image": device_array(OnGpu(gpu, values["image"]), "image"), "table": values["table"]}
    if elsewhere:
        with refused(UsageError, "image", "CUDA context") as caught:
            opened.run([given])
        assert "pycuda.autoprimaryctx" in caught.value.remedy
    else:
        assert logits(opened.run([given])) == expected([values])
    opened.close()


def test_compiled_kernels_are_given_back_at_the_next_start() -> None:
    gpu = FakeGpu()
    opened = runner(gpu)
    kernels = opened.compiled_kernels()
    opened.close()
    again = FakeGpu()
    runner(again, kernels).close()
    assert kernels == b"compiled" == again.seen_kernels and gpu.seen_kernels is None
    classic = FakeGpu(rtx=False)
    opened = runner(classic)
    assert opened.compiled_kernels() == b""
    opened.close()


def test_kernels_are_kept_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path))
    kept = KernelCache({"precision": "fp16"}, b"plan", RTX_4090)
    assert kept.read() == b""
    kept.keep(b"compiled")
    assert KernelCache({"precision": "fp16"}, b"plan", RTX_4090).read() == b"compiled"
    assert KernelCache({"precision": "fp16"}, b"other", RTX_4090).read() == b""
    (file,) = (tmp_path / "kernels").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert kept.read() == b"" and "is damaged; the kernels are compiled again" in caplog.text


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"validity": 1}, ("version", "tensorrt_rtx 1.7.1")),
        ({"validity": 2}, ("compute capability", 8.6)),
        ({"validity": 4}, ("driver", 580.65)),
        ({"validity": 32}, ("format", "damaged")),
        (
            {"rtx": False, "said": "expecting compute 8.6 got compute 8.9, please rebuild."},
            ("compute capability", 8.9, 8.6),
        ),
        (
            {"rtx": False, "said": "expecting library version 10.9.0.34 got 10.8.0.43, please rebuild."},
            ("version", "10.8.0.43", "10.9.0.34"),
        ),
        ({"rtx": False, "said": "Serialization assertion magicTagRead == kMAGIC_TAG failed."}, ("format", "damaged")),
    ],
    ids=["rtx-version", "rtx-gpu", "rtx-driver", "rtx-garbage", "gpu", "version", "truncated"],
)
def test_an_engine_that_does_not_fit_is_refused_by_the_field_that_differs(
    change: dict[str, Any], facts: tuple[Fact, ...]
) -> None:
    gpu = FakeGpu(fail_on="deserialize_cuda_engine", **change)
    with refused(BackendError, "model.onnx", "fp16", *facts) as caught:
        runner(gpu)
    assert caught.value.remedies[0].command == "mmcaf build BUNDLE" and caught.value.exit_code == 6
    del caught
    gc.collect()
    assert gpu.live == []


@pytest.mark.parametrize("plan", [b"", b"cut", b"garbage" * 1000], ids=["empty", "cut", "garbage"])
def test_what_is_no_engine_is_refused_by_tensorrt_for_rtx_itself(plan: bytes) -> None:
    """As far as it goes without a driver: the header is read first."""
    pytest.importorskip("tensorrt_rtx")
    with refused(BackendError, "model.onnx", "fp16", "tensorrt_rtx", "damaged"):
        Engine(find_flavour("tensorrt_rtx"), plan, INPUTS, OUTPUTS, PLACE, b"", lambda: 0)


def test_words_of_tensorrt_that_say_no_field_are_passed_on() -> None:
    assert "Cuda initialization failure" in explain(["Cuda initialization failure with error: 35"])


@pytest.mark.parametrize(
    ("attribute", "value", "facts"),
    [
        ("shapes", {"image": (1, 2, 4, 5), "table": TABLE, "logit": (1, 1)}, ("image", "FLOAT", "[1, 2, 4, 5]")),
        ("shapes", {"image": IMAGE, "age": TABLE, "logit": (1, 1)}, ("inputs", "['age', 'image']")),
        ("types", {"table": DataType.HALF}, ("table", "HALF")),
    ],
    ids=["shape", "name", "type"],
)
def test_an_engine_of_another_network_is_refused(attribute: str, value: Any, facts: tuple[Fact, ...]) -> None:
    gpu = FakeGpu()
    setattr(gpu.flavour.module.Engine, attribute, value)
    with refused(BackendError, *facts):
        runner(gpu)


def test_too_little_memory_is_said_in_numbers() -> None:
    gpu = FakeGpu(fail_on="cudaMalloc", code=Code.cudaErrorMemoryAllocation)
    with pytest.raises(CudaError) as caught:
        runner(gpu)
    error = in_words(caught.value, "loading model.onnx")
    assert "too little memory for loading model.onnx: 0 MiB needed, 3 MiB free" in error.problem
    assert "nvidia-smi" in error.remedy
    gpu = FakeGpu(fail_on="create_execution_context", said="[allocator.cpp] OutOfMemory (no further information)")
    with refused(BackendError, "memory", "model.onnx", "fp16", "5 MiB", "3 MiB"):
        runner(gpu)


@pytest.mark.parametrize(
    ("code", "problem", "remedy"),
    [
        ("cudaErrorMemoryAllocation", "too little memory for running m", "nvidia-smi"),
        ("cudaErrorLaunchFailure", "The GPU was lost while running m", "Start the program again"),
        ("CUDA_ERROR_ILLEGAL_ADDRESS", "The GPU was lost while running m", "dmesg"),
        ("cudaErrorECCUncorrectable", "The GPU was lost while running m", "NVIDIA driver"),
        ("cudaErrorInsufficientDriver", "CUDA cannot start while running m", "Install or update the NVIDIA driver"),
        ("CUDA_ERROR_NO_DEVICE", "CUDA cannot start while running m", "mmcaf doctor"),
        ("cudaErrorInvalidValue", "CUDA failed while running m: call: cudaErrorInvalidValue", "mmcaf doctor"),
    ],
)
def test_errors_of_cuda_say_what_to_do(code: str, problem: str, remedy: str) -> None:
    error = in_words(CudaError("call", code, "words"), "running m")
    assert problem in error.problem and remedy in error.remedy and error.exit_code == 6


def test_the_names_of_errors_are_cudas_own() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    driver = pytest.importorskip("cuda.bindings.driver")
    known = {*runtime.cudaError_t.__members__, *driver.CUresult.__members__}
    assert known >= LOST | NO_DRIVER | OUT_OF_MEMORY


def test_the_functions_that_are_called_are_cudas_own() -> None:
    """So the stand-in cannot drift away from what is installed."""
    runtime = pytest.importorskip("cuda.bindings.runtime")
    driver = pytest.importorskip("cuda.bindings.driver")
    gpu = FakeGpu()
    for fake, real in ((gpu.runtime, runtime), (gpu.driver, driver)):
        names = [name for name in vars(type(fake)) if name.startswith("cu")]
        assert len(names) > 5 and all(hasattr(real, name) for name in names)


def test_the_functions_that_are_called_are_tensorrts_own() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    used = {
        trt.Runtime: ["deserialize_cuda_engine", "get_engine_validity"],
        trt.ICudaEngine: [
            "num_io_tensors",
            "get_tensor_name",
            "get_tensor_mode",
            "get_tensor_shape",
            "get_tensor_dtype",
            "device_memory_size_v2",
            "create_runtime_config",
            "create_execution_context",
        ],
        trt.IRuntimeConfig: ["dynamic_shapes_kernel_specialization_strategy", "create_runtime_cache"],
        trt.IRuntimeCache: ["serialize", "deserialize"],
        trt.IExecutionContext: ["set_input_shape", "set_tensor_address", "execute_async_v3", "is_stream_capturable"],
    }
    assert all(hasattr(kind, name) for kind, names in used.items() for name in names)
