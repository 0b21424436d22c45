"""--device: which of OpenVINO's devices runs the network."""

import json
from pathlib import Path
from typing import Any

import pytest

from command import Command
from mmcaf_cli.options import on_devices
from mmcaf_engine.errors import UsageError

pytest.importorskip("openvino")


@pytest.fixture
def ask(run: Command, series: Path, tiny_bundle: Path, tmp_path: Path, record: dict[str, Any]) -> Any:
    (tmp_path / "record.json").write_text(json.dumps(record))
    return lambda *given: run("mmcaf-infer", series, tmp_path / "record.json", "--bundle", tiny_bundle, *given)


@pytest.mark.parametrize(("device", "backend"), [("CPU", "openvino"), ("hetero:cpu", "openvino:hetero:cpu")])
def test_the_answer_names_it(ask: Any, device: str, backend: str) -> None:
    outcome = ask("--device", device, "--json")
    assert outcome.code == 0, outcome.err
    engine = json.loads(outcome.out)["engine"]
    assert engine["backend"] == backend and engine["device"].startswith(device.upper())


def test_one_that_is_absent(ask: Any) -> None:
    ask("--device", "gpu.9").refused(6, "GPU.9", "CPU", "--device")


def test_no_such_name(ask: Any) -> None:
    ask("--device", "cuda").refused(2, "cuda", "gpu.N", "--device")


def test_verify_tests_it(run: Command, tiny_bundle: Path) -> None:
    outcome = run("mmcaf", "verify", tiny_bundle, "--device", "hetero:CPU")
    assert outcome.code == 0 and "openvino:hetero:cpu fp32: " in outcome.out, outcome
    run("mmcaf", "verify", tiny_bundle, "--device", "gpu.9").refused(6, "GPU.9", "--device")
    run("mmcaf", "verify", tiny_bundle, "--device", "cpu", "--backend", "torch").refused(2, "torch", "--device")


def test_evaluate_runs_on_it(run: Command, tiny_bundle: Path) -> None:
    outcome = run("mmcaf", "evaluate", "demo:0-0", "--bundle", tiny_bundle, "--device", "hetero:cpu", "--json")
    assert "openvino:hetero:cpu" in outcome.out, outcome


@pytest.mark.parametrize("command", ["tune", "profile"])
def test_one_of_several_that_is_absent(run: Command, tiny_bundle: Path, command: str) -> None:
    run("mmcaf", command, tiny_bundle, "--device", "cpu", "--device", "NPU").refused(6, "NPU", "--device")


def test_profile_measures_several_and_no_other_backend() -> None:
    assert on_devices(["auto"], ["CPU", "hetero:cpu"]) == ["openvino:cpu", "openvino:hetero:cpu"]
    assert on_devices(["onnxruntime"], []) == ["onnxruntime"]
    with pytest.raises(UsageError, match="onnxruntime was named"):
        on_devices(["openvino", "onnxruntime"], ["cpu"])


@pytest.mark.parametrize(("device", "code"), [("cpu", 0), ("hetero:CPU", 0), ("gpu.9", 6)])
def test_doctor_says_whether_it_runs(run: Command, device: str, code: int) -> None:
    outcome = run("mmcaf", "doctor", "--device", device, "--json")
    assert outcome.code == code, outcome
    backend = json.loads(outcome.out)["findings"][0]
    assert (backend["status"] == "ok") == (code == 0) and backend["subject"].startswith("openvino")


def test_doctor_says_what_nobody_tried(run: Command) -> None:
    outcome = run("mmcaf", "doctor", "--device", "gpu.9")
    assert "untested" in outcome.out and "golden self-test" in outcome.out
    assert "untested" not in run("mmcaf", "doctor", "--device", "hetero:cpu").out
    run("mmcaf", "doctor", "--device", "cpu", "--quick-check").refused(2, "--device")
    run("mmcaf", "doctor", "--device", "cuda").refused(2, "cuda", "gpu.N")


def test_of_another_backend(ask: Any) -> None:
    ask("--device", "gpu", "--backend", "onnxruntime").refused(2, "onnxruntime", "--device")
