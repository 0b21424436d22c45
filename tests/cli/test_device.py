"""--device: which of OpenVINO's devices runs the network."""

import json
from pathlib import Path
from typing import Any

import pytest

from command import Command

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


def test_of_another_backend(ask: Any) -> None:
    ask("--device", "gpu", "--backend", "onnxruntime").refused(2, "onnxruntime", "--device")
