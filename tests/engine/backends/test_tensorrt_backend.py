# ruff: noqa: N802  (names of the driver's functions)
"""The TensorRT backend around its runner: what GPUs there are, what is refused and why, and answers on a GPU."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command import Command
from dicom_factory import ct_series, hounsfield, save
from fake_cuda import FakeGpu
from mmcaf_engine import infer, load_bundle, open_session
from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.backends.remedies import ANY_BACKEND, SEE_WHAT_RUNS
from mmcaf_engine.backends.tensorrt.backend import TensorRtBackend
from mmcaf_engine.backends.tensorrt.cuda import Cuda
from mmcaf_engine.backends.tensorrt.cuda_errors import CudaError, in_words
from mmcaf_engine.backends.tensorrt.fitting import usable_on
from mmcaf_engine.backends.tensorrt.flavour import Flavour, find_flavour
from mmcaf_engine.backends.tensorrt.loading import Place
from mmcaf_engine.backends.tensorrt.runner import CAPTURED, Runner
from mmcaf_engine.backends.tensorrt.targets import supported_targets
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.errors import BackendError, StudyError
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.machine.gpu import DRIVER_REMEDY, Gpu, Gpus, ask_driver, find_gpus
from mmcaf_engine.machine.installation import install_command
from mmcaf_engine.session.choice import choose
from mmcaf_engine.session.self_test import ensure_self_test
from refusals import refused

RTX_4090 = Gpu(0, "NVIDIA GeForce RTX 4090", Target(8, 9), 24 * 2**30, "0000:01:00.0", "580.65.06", (13, 0))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    give_gpus(monkeypatch, Gpus((), "no NVIDIA driver", False))


def give_gpus(monkeypatch: pytest.MonkeyPatch, gpus: Gpus) -> None:
    """Let the machine have these GPUs, as far as the driver says."""
    for module in ("backends.tensorrt.backend", "machine.gpu"):
        monkeypatch.setattr(f"mmcaf_engine.{module}.find_gpus", lambda: gpus)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_tensorrt_is_refused_and_auto_says_nothing_of_it(tiny_bundle: Path) -> None:
    with refused(BackendError, "tensorrt", "NVIDIA driver") as caught:
        open_session(load_bundle(tiny_bundle), backend="tensorrt")
    assert caught.value.exit_code == 6 and caught.value.remedies == (ANY_BACKEND, SEE_WHAT_RUNS)
    choice = choose(load_bundle(tiny_bundle))
    assert choice.backend.name != "tensorrt" and choice.fallback is None


@pytest.mark.usefixtures("no_gpu")
def test_the_command_without_a_gpu(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    assert run("mmcaf", "demo", "--save", tmp_path / "demo").code == 0
    study, record = tmp_path / "demo" / "study.dcm", tmp_path / "demo" / "record.json"
    outcome = run("mmcaf-infer", study, record, "--backend", "tensorrt")
    assert outcome.code == 6 and "Backend tensorrt cannot run here: no NVIDIA driver" in outcome.error()


def test_a_gpu_without_tensorrt_is_worth_a_word(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_gpus(monkeypatch, Gpus((RTX_4090,), "", True))
    for package in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, package, None)
    for module in ("backend", "fitting"):
        monkeypatch.setattr(f"mmcaf_engine.backends.tensorrt.{module}.usable_on", usable_on.__wrapped__)
    choice = choose(load_bundle(tiny_bundle))
    assert choice.backend.name != "tensorrt"
    assert choice.fallback is not None and choice.fallback.startswith("tensorrt: NVIDIA GeForce RTX 4090: ")
    assert "pip install" not in choice.fallback
    [install] = TensorRtBackend.availability().remedies
    assert install.command == install_command("tensorrt")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"cuda": (12, 4), "driver": "550.54"}, "driver 550.54 supports CUDA 12.4, and 13.0 is needed"),
        ({"target": Target(9, 0)}, "not on 9.0; tensorrt: cannot be imported"),
        ({"target": Target(9, 0)}, "pip install 'tensorrt-cu13>=10'"),
        ({"target": Target(6, 1)}, "compute capability 6.1, and CUDA 13 begins with 7.5"),
    ],
    ids=["fits", "old-driver", "data-centre", "command", "old-gpu"],
)
def test_what_a_gpu_must_be(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str | None
) -> None:
    pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("cuda.bindings")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    gpu = Gpu(**{**vars(RTX_4090), **change})
    give_gpus(monkeypatch, Gpus((gpu,), "", True))
    answer = TensorRtBackend.availability()
    assert (
        answer.available is (said is None)
        and (said or "on NVIDIA GeForce RTX 4090") in f"{answer.reason} {answer.remedies}"
    )
    if said is None:
        assert choose(load_bundle(tiny_bundle)).backend is TensorRtBackend


def test_precisions_that_a_gpu_has_units_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("cuda.bindings")
    monkeypatch.setattr(TensorRtBackend, "availability", classmethod(lambda cls: Availability(True, "")))
    turing = Gpu(**{**vars(RTX_4090), "target": Target(7, 5)})
    give_gpus(monkeypatch, Gpus((turing,), "", True))
    answers = {precision: TensorRtBackend.can_run(precision) for precision in ("fp32", "fp16", "int8", "bf16")}
    assert [name for name, answer in answers.items() if answer.available] == ["fp16", "int8"]
    assert "no BF16 units (compute capability 7.5" in answers["bf16"].reason
    assert "no FP32 convolutions" in answers["fp32"].reason and "fp16 runs" in answers["fp32"].reason
    monkeypatch.setattr(
        "mmcaf_engine.backends.tensorrt.backend.fitting_flavour", lambda: Flavour("tensorrt", "10.13", None)
    )
    assert TensorRtBackend.can_run("fp32").available


def backend_on(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path, gpu: Gpu = RTX_4090) -> TensorRtBackend:
    give_gpus(monkeypatch, Gpus((gpu,), "", True))
    manifest = load_bundle(tiny_bundle).manifest
    return TensorRtBackend(tiny_bundle / "model.onnx", manifest.inputs, manifest.outputs, 4)


def test_a_remembered_self_test_is_that_of_gpu_and_driver(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx")
    bundle = load_bundle(tiny_bundle)
    runs: list[str] = []

    def answers(self: TensorRtBackend, arrays: Any, **options: bool) -> dict[str, np.ndarray]:
        runs.append(self._gpu.driver)
        return {"logit": np.load(bundle.folder / "golden.npz")["logit"].astype(np.float32)}

    monkeypatch.setattr(TensorRtBackend, "infer", answers)
    newer = Gpu(**{**vars(RTX_4090), "driver": "590.12"})
    for gpu in (RTX_4090, RTX_4090, newer, newer):
        ensure_self_test(bundle, backend_on(monkeypatch, tiny_bundle, gpu), engine="ab")
    assert runs == ["580.65.06", "590.12"]


def test_an_engine_that_was_built_ahead_is_found(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flavour = Flavour("tensorrt_rtx", "1.7.1", None)
    monkeypatch.setattr("mmcaf_engine.backends.tensorrt.backend.fitting_flavour", lambda: flavour)
    facts = backend_on(monkeypatch, tiny_bundle).engine_facts()
    assert facts["compute_capability"] == "sm_89" and facts["version"] == "1.7.1"
    assert "driver" not in facts and "threads" not in facts


def test_a_cuda_error_reaches_the_user_in_words(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backend_on(monkeypatch, tiny_bundle)
    lost = CudaError("cudaEventSynchronize", "cudaErrorLaunchFailure", "unspecified launch failure")

    class Lost:
        graph = CAPTURED

        def run(self, given: Any) -> Any:
            raise lost

        def close(self) -> None: ...

    backend._runner, backend._plan, backend._is_open = Lost(), b"", True  # type: ignore[assignment]
    given = {spec.name: np.zeros((2, *spec.shape[1:]), np.float32) for spec in backend.inputs}
    with refused(BackendError, "GPU", "lost", "model.onnx", "NVIDIA GeForce RTX 4090"):
        backend.infer(given)
    backend.close()
    with refused(BackendError, "closed"):
        backend.infer(given)


def test_no_output_that_is_not_finite_is_returned(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backend_on(monkeypatch, tiny_bundle)

    class Broken:
        def run(self, given: Any) -> Any:
            return [{"logit": np.array([[np.nan]], np.float32)} for _ in given]

        def close(self) -> None: ...

    backend._runner, backend._plan, backend._is_open = Broken(), b"", True  # type: ignore[assignment]
    given = {spec.name: np.zeros((1, *spec.shape[1:]), np.float32) for spec in backend.inputs}
    with refused(BackendError, "NaN", "logit"):
        backend.infer(given)


# What an opening tells


class Slow:
    """A runner whose engine could not be captured."""

    graph = "plain launches: capturing failed, no memory"

    def close(self) -> None: ...


def test_a_graph_that_was_not_captured_is_a_degradation(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backend_on(monkeypatch, tiny_bundle)
    assert backend.degraded is None
    backend._runner, backend._plan, backend._is_open = Slow(), b"", True  # type: ignore[assignment]
    assert backend.degraded == "plain launches: capturing failed, no memory"
    monkeypatch.setattr(Slow, "graph", CAPTURED)
    assert backend.degraded is None


def test_a_degraded_session_warns_and_strict_refuses_it(
    run: Command, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "plain launches: capturing failed, no memory"
    monkeypatch.setattr(OnnxRuntimeBackend, "degraded", said)
    assert run("mmcaf", "demo", "--save", tmp_path / "demo").code == 0
    arguments = [tmp_path / "demo" / "study.dcm", tmp_path / "demo" / "record.json", "--backend", "onnxruntime"]
    command = ["mmcaf-infer", *arguments, "--bundle", demo_bundle(), "--json"]
    answered = run(*command)
    warning = f"onnxruntime is slower than it should be on CPU: {said}."
    assert answered.code == 0 and json.loads(answered.out)["warnings"] == [warning] and warning in answered.err
    refused = run(*command, "--strict")
    assert refused.code == 7 and refused.out == "" and said in refused.error()


def build_first(
    monkeypatch: pytest.MonkeyPatch, steps: int, wait: Callable[[], object] = lambda: None
) -> list[BaseException]:
    """Let ONNX Runtime build an engine first, in so many steps of 10 ms; gives what ended the building."""
    ended: list[BaseException] = []
    load = OnnxRuntimeBackend._open

    def build(self: OnnxRuntimeBackend) -> None:
        wait()
        for step in range(steps):
            try:
                assert self.progress is not None
                self.progress("Building", step + 1, steps)
            except BaseException as failure:
                ended.append(failure)
                raise
            time.sleep(0.01)
        load(self)

    monkeypatch.setattr(OnnxRuntimeBackend, "_open", build)
    return ended


def test_a_session_tells_of_the_engine_that_it_builds(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = build_first(monkeypatch, 3)
    seen: list[tuple[str, int, int]] = []
    with open_session(load_bundle(tiny_bundle), backend="onnxruntime", progress=lambda *step: seen.append(step)):
        assert seen == [("Building", 1, 3), ("Building", 2, 3), ("Building", 3, 3)] and not ended


def test_the_builder_tells_whoever_the_session_tells(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx")
    told: list[object] = []

    def build(*arguments: object, progress: object, **options: object) -> None:
        told.append(progress)
        raise BackendError("enough")

    def listener(phase: str, done: int, total: int) -> None: ...

    monkeypatch.setattr("mmcaf_engine.backends.tensorrt.builder.build_engine", build)
    backend = backend_on(monkeypatch, tiny_bundle)
    backend.progress = listener
    with refused(BackendError, "enough"):
        backend.open()
    assert told == [listener]


def test_infer_tells_of_it_while_it_waits(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited_for = threading.Event()
    build_first(monkeypatch, 2, lambda: waited_for.wait(30))
    seen: list[str] = []

    def progress(stage: str, done: int, total: int) -> None:
        seen.append(f"{stage} {done}/{total}")
        if seen[-1] == "open 0/1":
            waited_for.set()

    study = save(ct_series(hounsfield(4, 16, 16)), tmp_path / "study")
    infer(study, {"sex": "M", "age": 60}, bundle=tiny_bundle, backend="onnxruntime", progress=progress)
    told = [one for one in seen if one.startswith(("open", "Building"))]
    assert told == ["open 0/1", "Building 1/2", "Building 2/2", "open 1/1"]


def test_while_pixels_are_read_nothing_else_is_told(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = threading.Event()
    build_first(monkeypatch, 2)
    load = OnnxRuntimeBackend._open
    monkeypatch.setattr(OnnxRuntimeBackend, "_open", lambda self: (load(self), built.set()))
    seen: list[str] = []

    def progress(stage: str, done: int, total: int) -> None:
        seen.append(stage)
        assert stage != "decode" or built.wait(30)

    study = save(ct_series(hounsfield(4, 16, 16)), tmp_path / "study")
    infer(study, {"sex": "M", "age": 60}, bundle=tiny_bundle, backend="onnxruntime", progress=progress)
    assert "decode" in seen and "Building" not in seen


def test_what_is_built_for_nobody_ends(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study turns out to be broken while the engine is built, which would take half a minute more."""
    ended = build_first(monkeypatch, 3000)

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "decode":
            raise StudyError("a slice is damaged")

    study = save(ct_series(hounsfield(4, 16, 16)), tmp_path / "study")
    with refused(StudyError, "a slice is damaged"):
        infer(study, {"sex": "M", "age": 60}, bundle=tiny_bundle, backend="onnxruntime", progress=progress)
    assert [str(failure) for failure in ended] == ["nobody waits for this session"]


# The driver's answers


class FakeLibrary:
    """libcuda: writes its answers where ctypes points."""

    def __init__(self, init: int = 0, version: int = 13000, names: tuple[str, ...] = ("A", "B")) -> None:
        self.init, self.version, self.names = init, version, names

    def cuInit(self, flags: int) -> int:
        return self.init

    def cuDriverGetVersion(self, out: Any) -> int:
        out._obj.value = self.version
        return 0

    def cuDeviceGetCount(self, out: Any) -> int:
        out._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, out: Any, index: int) -> int:
        out._obj.value = index
        return 0

    def cuDeviceGetName(self, out: Any, size: int, device: int) -> int:
        out.value = self.names[device].encode()
        return 0

    def cuDeviceGetPCIBusId(self, out: Any, size: int, device: int) -> int:
        out.value = f"0000:0{device}:00.0".encode()
        return 0

    def cuDeviceGetAttribute(self, out: Any, which: int, device: int) -> int:
        out._obj.value = {75: 8, 76: 6}[which]
        return 0

    def cuDeviceTotalMem_v2(self, out: Any, device: int) -> int:
        out._obj.value = 12 * 2**30
        return 0


def test_the_gpus_of_a_driver() -> None:
    found = ask_driver(FakeLibrary(version=13020), "580.65", lambda: False)
    assert [gpu.name for gpu in found.found] == ["A", "B"] and found.reason == "" and found.present
    assert found.found[1] == Gpu(1, "B", Target(8, 6), 12 * 2**30, "0000:01:00.0", "580.65", (13, 2))
    assert found.found[0].compute_capability == "8.6" and found.found[0].unusable is None


@pytest.mark.parametrize("names", [("A", "", "C"), ("RTX\x1b[31m\n4090",)], ids=["the second is silent", "a name"])
def test_of_several_those_that_answer(names: tuple[str, ...]) -> None:
    """By names that steer no terminal."""

    class Library(FakeLibrary):
        def cuDeviceGetName(self, out: Any, size: int, device: int) -> int:
            return super().cuDeviceGetName(out, size, device) if self.names[device] else 46

    found = ask_driver(Library(names=names), "580.65", lambda: True)
    said = [(gpu.index, gpu.name) for gpu in found.found]
    assert said == ([(0, "A"), (2, "C")] if len(names) == 3 else [(0, "RTX [31m 4090")])
    assert ask_driver(Library(names=("", "B")), "580.65", lambda: True).reason.endswith("does not answer: error 46")


@pytest.mark.parametrize(
    ("library", "card", "said"),
    [
        (None, False, "no NVIDIA driver"),
        (None, True, "an NVIDIA card is in this machine, but no NVIDIA driver"),
        (FakeLibrary(init=100), True, "the driver sees no GPU"),
        (FakeLibrary(init=803), True, "start the machine again"),
        (FakeLibrary(init=12345), True, "error 12345"),
        (FakeLibrary(names=()), False, "the driver sees no GPU"),
        (object(), False, "does not answer"),
    ],
    ids=["no-driver", "card-without-driver", "no-device", "mismatch", "unknown", "hidden", "strange"],
)
def test_why_there_is_no_gpu(library: Any, card: bool, said: str) -> None:
    found = ask_driver(library, "580.65", lambda: card)
    assert found.found == () and said in found.reason and found.present is card
    assert found.remedies == ((DRIVER_REMEDY,) if library is None and card else ())


def test_no_driver_library_is_an_error_of_ours() -> None:
    class Missing:
        def cuInit(self, flags: int) -> Any:
            raise RuntimeError("libcuda was not found")

    with pytest.raises(CudaError, match="libcuda was not found") as caught:
        Cuda(0, FakeGpu().runtime, Missing())
    assert "Install or update the NVIDIA driver" in in_words(caught.value, "loading m").remedy


# On a GPU


@pytest.fixture
def on_gpu(tiny_bundle: Path) -> Iterator[Any]:
    answer = backend_class("tensorrt").availability()
    if not answer.available:
        pytest.skip(answer.reason)
    with open_session(load_bundle(tiny_bundle), backend="tensorrt") as session:
        yield session


@pytest.mark.gpu
def test_arrays_of_torch_on_the_gpu_give_the_same_bits(on_gpu: Any, tiny_bundle: Path) -> None:
    torch = pytest.importorskip("torch")
    with np.load(tiny_bundle / "golden.npz") as cases:
        given = {name: cases[name] for name in ("image", "table")}
    expected_logit = on_gpu.run(given)["logit"]
    found = on_gpu.run({name: torch.from_numpy(array).cuda() for name, array in given.items()})["logit"]
    assert found.tobytes() == expected_logit.tobytes()


@pytest.mark.gpu
def test_the_second_start_loads_the_kept_engine(on_gpu: Any, tiny_bundle: Path) -> None:
    with open_session(load_bundle(tiny_bundle), backend="tensorrt") as session:
        facts = session.describe()
    assert facts["cache_hit"] and facts["self_test"]["remembered"] and facts["graph"]


@pytest.mark.gpu
@pytest.mark.parametrize(
    "damage",
    [lambda plan: plan[: len(plan) // 2], lambda plan: b"garbage" * 1000, lambda plan: b""],
    ids=["truncated", "garbage", "empty"],
)
def test_a_bad_engine_is_refused_on_the_gpu(on_gpu: Any, tiny_bundle: Path, damage: Any) -> None:
    gpu, manifest = find_gpus().found[0], load_bundle(tiny_bundle).manifest
    place = Place("model.onnx", gpu.compute_capability, gpu.driver)
    with refused(BackendError, "model.onnx", "fit"):
        Runner(find_flavour(), Cuda(), damage(bytes(on_gpu._backend._plan)), manifest.inputs, manifest.outputs, place)


@pytest.mark.gpu
def test_an_engine_for_another_gpu_is_refused_on_the_gpu(on_gpu: Any, tiny_bundle: Path) -> None:
    from mmcaf_engine.backends.tensorrt.builder import build_engine

    flavour, gpu, manifest = find_flavour(), find_gpus().found[0], load_bundle(tiny_bundle).manifest
    others = [target for target in supported_targets(flavour) if target.major != gpu.target.major]
    if not others:
        pytest.skip("this TensorRT builds for the GPU at hand alone")
    built = build_engine(
        flavour,
        tiny_bundle / "model.onnx",
        manifest.inputs,
        manifest.outputs,
        precision="fp32",
        targets=(others[0],),
    )
    place = Place("model.onnx", gpu.compute_capability, gpu.driver)
    with refused(BackendError, "compute capability"):
        Runner(flavour, Cuda(), built.plan, manifest.inputs, manifest.outputs, place)


@pytest.mark.skipif(bool(find_gpus().found), reason="there is a GPU to measure")
def test_the_benchmark_without_a_gpu_writes_nothing(tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "benchmarks" / "gpu.py"
    command = [sys.executable, str(script), "--output", str(tmp_path / "rows.csv")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 6 and done.stderr.startswith("no GPU: ") and "mmcaf doctor" in done.stderr
    assert done.stdout == "" and list(tmp_path.iterdir()) == []
