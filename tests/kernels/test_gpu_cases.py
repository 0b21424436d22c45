"""The cases of the benchmark of whole networks on a GPU: what each needs, what is prepared, and how it is timed."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock, create_autospec

import numpy as np
import pytest

from kernels.scripts import load

gpus = pytest.importorskip("mmcaf_engine.machine.gpu", reason="the engine is not installed")

CARD = {"sm_mhz": "1980", "memory_mhz": "3201", "power_w": "310", "celsius": "41"}


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/gpu_cases.py beside its neighbours."""
    return load(monkeypatch, "usage", "card", "full_size", "gpu_measure", "gpu_cases")


def test_steps_are_said_and_what_takes_long_now_and_then(cases: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    steps = sys.modules["full_size"].Steps(iter([0.0, 2.0, 3.0, 11.9, 12.0, 12.0, 21.0]).__next__)
    steps.tell("loading")
    for done in range(4):
        steps.progress("windows", done, 9)
    assert capsys.readouterr().err == "     2 s  loading\n    12 s  windows: 2 of 9\n"


RTX = "NvTensorRTRTXExecutionProvider"


@pytest.mark.parametrize(
    ("provider", "installed", "devices", "said"),
    [
        ("CUDAExecutionProvider", False, [], "pip install onnxruntime-gpu"),
        (RTX, False, [], "pip install 'onnxruntime>=1.24' onnxruntime-ep-nv-tensorrt-rtx"),
        (RTX, True, ["CPUExecutionProvider"], "finds no GPU that it can use"),
        (RTX, True, OSError("no libcuda.so.1"), "cannot be loaded: no libcuda.so.1"),
        (RTX, True, ["CPUExecutionProvider", RTX], None),
    ],
    ids=["cuda", "no plug-in", "no device", "no driver", "well"],
)
def test_what_brings_a_provider_of_onnx_runtime(
    provider: str, installed: bool, devices: Any, said: str | None, cases: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of TensorRT for RTX is a plug-in, which is registered."""
    registry = import_module("mmcaf_engine.backends.registry")
    runtime = Mock()
    runtime.get_available_providers.return_value = ["CPUExecutionProvider"]
    if isinstance(devices, Exception):
        runtime.register_execution_provider_library.side_effect = devices
    else:
        runtime.get_ep_devices.return_value = [Mock(ep_name=name) for name in devices]
    kind = Mock(runtime=lambda: runtime, availability=lambda: Mock(available=True))
    monkeypatch.setattr(registry, "backend_class", lambda name: kind)
    monkeypatch.setattr(cases, "find_spec", lambda name: "there" if installed else None)
    monkeypatch.setattr(cases, "import_module", lambda name: Mock(get_library_path=lambda: "lib.so"))
    for _ in range(2):
        reason = cases.onnxruntime_missing(provider)
        assert reason is None if said is None else said in reason
    if said is None:
        runtime.register_execution_provider_library.assert_called_once_with(RTX, "lib.so")


@pytest.mark.parametrize(
    ("provider", "precision", "built_in", "named"),
    [
        ("CUDAExecutionProvider", "fp32", True, [("CUDAExecutionProvider", {"use_tf32": "0"})]),
        ("CUDAExecutionProvider", "fp16", True, [("CUDAExecutionProvider", {})]),
        (RTX, "fp16", True, [(RTX, {})]),
        (RTX, "fp16", False, []),
    ],
)
def test_a_provider_is_named_where_it_is_built_in_and_else_given_its_device(
    provider: str,
    precision: str,
    built_in: bool,
    named: list[Any],
    cases: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    registry = import_module("mmcaf_engine.backends.registry")
    bundle = Mock(folder=tmp_path, manifest=Mock(models={"fp32": "model.onnx", "fp16": "model.fp16.onnx"}))
    monkeypatch.setattr("mmcaf_engine.load_bundle", lambda path: bundle)
    runtime, device = Mock(), Mock(ep_name=RTX)
    runtime.get_available_providers.return_value = [provider] if built_in else ["CPUExecutionProvider"]
    runtime.get_ep_devices.return_value = [Mock(ep_name="CPUExecutionProvider"), device, device]
    runtime.InferenceSession.return_value.get_providers.return_value = [provider, "CPUExecutionProvider"]
    monkeypatch.setattr(registry, "backend_class", lambda name: Mock(runtime=lambda: runtime))
    monkeypatch.setattr(cases, "import_module", lambda name: Mock())
    monkeypatch.setattr(cases, "measure", lambda *given: {"ms": [1.0]})
    assert cases.onnxruntime_case(provider, precision, tmp_path, 3) == {"ms": [1.0]}
    opened = runtime.InferenceSession.call_args
    assert opened.args[0] == tmp_path / bundle.manifest.models[precision] and opened.kwargs == {"providers": named}
    given = [call.args for call in runtime.SessionOptions.return_value.add_provider_for_devices.call_args_list]
    assert given == ([] if built_in else [([device], {})])
    runtime.InferenceSession.return_value.get_providers.return_value = ["CPUExecutionProvider"]
    assert "fell back to CPU" in cases.onnxruntime_case(provider, precision, tmp_path, 3)["left_out"]


@pytest.mark.skipif(gpus.find_gpus().present, reason="there is an NVIDIA card")
def test_without_a_gpu_no_case_can_run(cases: ModuleType) -> None:
    reasons = cases.missing(list(cases.CASES))
    assert reasons.keys() == cases.CASES.keys()
    assert all(len(reason) > 10 for reason in reasons.values())


@pytest.mark.parametrize("lower", [[], ["fp16"], ["fp16", "int8"]], ids=lambda lower: "-".join(lower) or "fp32")
def test_what_is_prepared_is_asked_for_as_the_exporter_takes_it(
    lower: list[str], cases: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    export = pytest.importorskip("mmcaf_export.export", reason="the exporter is not installed")
    quantize = import_module("mmcaf_export.precision.quantize")
    asked = [create_autospec(export.export_bundle), create_autospec(quantize.quantize_bundle)]
    monkeypatch.setattr(export, "export_bundle", asked[0])
    monkeypatch.setattr(quantize, "quantize_bundle", asked[1])

    class Network(torch.nn.Linear):  # type: ignore[misc, name-defined]
        def forward(self, image: Any, table: Any) -> Any:
            return super().forward(table)

    windows = [{"image": np.ones((1, 2), np.float32), "table": np.ones((1, 7), np.float32)}] * 2
    monkeypatch.setattr(cases, "published_network", lambda: Network(7, 1))
    monkeypatch.setattr(cases, "phantom_windows", lambda *_: iter(windows))
    cases.prepare(tmp_path, lower)
    assert asked[0].call_count == 1
    assert [call.kwargs["precisions"] for call in asked[1].call_args_list] == ([lower] if lower else [])
    inputs, logit = sys.modules["gpu_measure"].inputs_of(tmp_path, 2)
    assert inputs["table"].shape == (2, 7) and logit.shape == (2, 1)
    with np.load(tmp_path / "case.npz") as study:
        assert len(study["image"]) == len(study["logit"]) == cases.STUDY_WINDOWS


def test_runs_are_timed_with_a_warm_cache_and_with_a_cold_one(
    cases: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What empties the cache is made after memory was asked for; the card's state is asked between two cold runs."""
    measuring, told = sys.modules["gpu_measure"], []

    def noting(what: str, value: Any = None) -> Callable[..., Any]:
        return lambda *given: told.append(what) or value

    monkeypatch.setattr(measuring, "card_state", lambda: noting("state", CARD))
    monkeypatch.setattr(measuring, "gpu_megabytes", noting("memory", 1.0))
    emptier = noting("made", noting("empty"))
    monkeypatch.setitem(sys.modules, "gpu_timing", Mock(emptier=emptier))
    np.savez(tmp_path / "case.npz", image=np.ones((1, 1)), table=np.ones((1, 7)), logit=np.ones((1, 1)))
    row = measuring.measure(noting("run", np.ones((1, 1))), tmp_path, 3, "fp16", 0.0)
    cold = ["empty", "run"]
    assert told[2 + measuring.WARM_UP :] == [
        *("memory", "run", "run", "state", "run", "memory", "made"),
        *(*cold, *cold, "state", *cold),
    ]
    assert row["card"] == CARD and (len(row["ms"]), len(row["warm_ms"])) == (3, 3)
