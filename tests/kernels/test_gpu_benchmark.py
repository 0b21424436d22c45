"""The benchmark of whole networks on a GPU, with stand-ins of its cases: rows at once, one left out by itself, time."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from kernels.scripts import load

gpus = pytest.importorskip("mmcaf_engine.machine.gpu", reason="the engine is not installed")

NAMES = ["torch eager fp16", "ours torch fp16"]
FACTS = {"gpu": "H200"}
CARD = {"sm_mhz": "1980", "memory_mhz": "3201", "power_w": "310", "celsius": "41"}
ANSWER = {
    "precision": "fp16",
    "shape": "1",
    "windows": 1,
    "ms": [2.0, 4.0],
    "warm_ms": [1.0, 1.5],
    "cold_s": 1.0,
    "gpu_mb": 9.0,
    "error": 0.0,
    "card": CARD,
}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/gpu.py beside its neighbours, where the exporter's packages are."""
    module = load(monkeypatch, "usage", "rows", "card", "full_size", "gpu_measure", "gpu_cases", "gpu")
    monkeypatch.setattr(module.usage, "exporter_missing", lambda: None)
    monkeypatch.setattr(module.usage, "torch_missing", lambda: None)
    return module


def rounds(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [(row["case"], row["round"]) for row in csv.DictReader(stream)]


def measure(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    output: Path,
    answers: Callable[[str], dict[str, Any]],
    seconds: float | None = None,
) -> dict[str, list[Any]]:
    monkeypatch.setattr(script, "run_case", lambda case, folder, runs, budget: answers(case))
    budget = sys.modules["rows"].Budget(seconds, iter(range(100)).__next__)
    found: dict[str, list[Any]] = script.measured(NAMES, output.parent, 2, FACTS, output, budget)
    return found


def test_a_row_is_in_both_files_when_its_round_ends(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = tmp_path / "rows.csv"
    answers = Mock(side_effect=[ANSWER, ANSWER, ANSWER, KeyboardInterrupt])
    with pytest.raises(KeyboardInterrupt):
        measure(script, monkeypatch, output, answers)
    assert rounds(output) == [(NAMES[0], "1"), (NAMES[1], "1"), (NAMES[0], "2")]
    lines = output.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    assert [(row["case"], row["round"]) for row in map(json.loads, lines)] == rounds(output)
    assert json.loads(lines[0])["gpu"] == "H200"


def test_a_case_that_fails_later_keeps_its_rows_and_runs_no_more(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {NAMES[0]: iter([ANSWER, {"left_out": "an illegal address"}]), NAMES[1]: iter([ANSWER] * 3)}
    found = measure(script, monkeypatch, tmp_path / "rows.csv", lambda case: next(told[case]))
    assert {case: len(outcomes) for case, outcomes in found.items()} == {NAMES[0]: 1, NAMES[1]: 3}
    assert rounds(tmp_path / "rows.csv") == [(NAMES[0], "1"), (NAMES[1], "1"), (NAMES[1], "2"), (NAMES[1], "3")]
    assert f"round 2, {NAMES[0]}: left out, an illegal address" in capsys.readouterr().err


def test_nothing_begins_after_the_seconds(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clock goes on by one second whenever it is asked."""
    measure(script, monkeypatch, tmp_path / "rows.csv", lambda case: ANSWER, seconds=3)
    assert rounds(tmp_path / "rows.csv") == [(NAMES[0], "1"), (NAMES[1], "1")]
    assert f"round 2, {NAMES[0]}: left out, the time is over" in capsys.readouterr().err


def test_a_case_is_ended_with_the_time(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Mock(side_effect=subprocess.TimeoutExpired("case", 7))
    monkeypatch.setattr(script.subprocess, "run", run)
    budget = Mock(left=lambda: 7.0)
    assert "the time was over" in script.run_case(NAMES[0], tmp_path, 1, budget)["left_out"]
    assert run.call_args.kwargs["timeout"] == 7.0
    for step in (script.MISSING, script.PREPARE):
        with pytest.raises(SystemExit, match=f"{step}: not ready in time"):
            script.run_case(step, tmp_path, 1, budget)


def test_what_it_asks_of_itself_it_accepts(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each process that it starts is this script, whose parser takes what it is given."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(script, "one", lambda *given: asked.append(given) or {})

    def start(command: list[str], **more: Any) -> Any:
        assert Path(command[1]).name == "gpu.py"
        monkeypatch.setattr(sys, "argv", command[1:])
        assert script.main() == 0
        more["stdout"].write(capsys.readouterr().out.encode())
        return Mock(returncode=0)

    monkeypatch.setattr(script.subprocess, "run", start)
    budget = Mock(left=lambda: None)
    assert script.able(NAMES, tmp_path, budget) == NAMES
    script.prepared(NAMES, tmp_path, budget)
    assert script.run_case(NAMES[0], tmp_path, 7, budget) == {}
    every = list(script.PRECISIONS)
    assert [given[::3] for given in asked] == [
        (script.MISSING, every),
        (script.PREPARE, ["fp16"]),
        (NAMES[0], every),
    ]
    assert asked[2][1:3] == (tmp_path, 7)


def test_what_is_kept_in_the_folder_holds_every_precision_that_it_held(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A preparation replaces the bundle, and is spared where nothing is missing."""
    asked: list[list[str]] = []

    def prepare(case: str, folder: Path, runs: None, budget: Any, precisions: Sequence[str]) -> dict[str, Any]:
        asked.append([*precisions])
        if "tf32" in precisions:
            raise SystemExit("prepare: not ready in time")
        return {}

    monkeypatch.setattr(script, "run_case", prepare)
    for cases in (["torch eager fp16"], ["torch eager fp32"], ["torch eager fp16"], ["ours tensorrt int8"]):
        script.prepared(cases, tmp_path, Mock())
    assert asked == [["fp16"], ["fp16", "int8"]]
    script.prepared(["torch eager fp16", "ours tensorrt int8"], tmp_path, Mock())
    (tmp_path / "ready.txt").write_text("fp32")
    for turn in range(2):  # one that did not end is begun anew
        with pytest.raises(SystemExit):
            script.prepared(["torch eager tf32", "torch eager fp16"], tmp_path, Mock())
        assert len(asked) == 3 + turn


def test_it_is_prepared_beforehand_without_a_gpu(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpus, "find_gpus", Mock(side_effect=AssertionError("a GPU is looked for")))
    run = Mock(return_value={})
    monkeypatch.setattr(script, "run_case", run)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--prepare"])
    with pytest.raises(SystemExit, match="2"):
        script.main()
    assert "--folder is needed" in capsys.readouterr().err
    kept = tmp_path / "new" / "kept"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--prepare", "--folder", str(kept), "--precision", "fp16"])
    assert script.main() == 0 == script.main()
    assert [(call.args[0], call.args[-1]) for call in run.call_args_list] == [(script.PREPARE, ["fp16"])]
    assert [file.name for file in kept.iterdir()] == ["ready.txt"]


def test_what_the_preparation_lacks_is_said_in_one_line(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script.usage, "exporter_missing", lambda: "onnxscript: not installed")
    monkeypatch.setattr(script, "run_case", Mock(side_effect=AssertionError("work begins")))
    with pytest.raises(SystemExit) as ended:
        script.prepared(NAMES, tmp_path, Mock())
    words = capsys.readouterr().err
    assert ended.value.code == 6 and words.startswith("onnxscript: not installed") and words.count("\n") == 1
    (tmp_path / "ready.txt").write_text("fp16")
    script.prepared(NAMES, tmp_path, Mock())


def test_providers_and_precisions_choose(script: ModuleType) -> None:
    assert script.chosen(script.PROVIDERS, script.PRECISIONS) == list(script.CASES)
    assert script.chosen(["eager"], script.PRECISIONS) == [f"torch eager {name}" for name in ("fp32", "tf32", "fp16")]
    assert script.chosen(["ours"], ["fp16"]) == [
        "ours torch fp16",
        "ours tensorrt fp16",
        "ours tensorrt fp16, inputs on the GPU",
        "study, ours torch fp16",
        "study, ours tensorrt fp16",
    ]
    assert script.chosen(["torch.compile"], ["int8"]) == []


def test_where_tensorrt_cannot_use_the_gpu_the_rest_is_measured(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An H200: TensorRT for RTX refuses it, and this onnxruntime is the one for processors."""
    gpu = Mock(compute_capability="9.0", driver="580.1", cuda=(13, 0))
    gpu.name = "NVIDIA H200"
    monkeypatch.setattr(gpus, "find_gpus", lambda: Mock(found=(gpu,)))
    refused = "compute capability 9.0 is not supported"
    steps = []

    def stand_in(case: str, folder: Path, runs: int, budget: Any, precisions: Sequence[str] = ()) -> dict[str, Any]:
        steps.append(case)
        if case == script.MISSING:
            without = {name: "no CUDAExecutionProvider" for name in script.CASES if name.startswith("onnxruntime")}
            return {**without, **{name: refused for name in script.CASES if "tensorrt" in name}}
        if case == script.PREPARE:
            assert list(precisions) == ["fp32", "tf32", "fp16"]
            return {}
        return ANSWER

    monkeypatch.setattr(script, "run_case", stand_in)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--output", str(tmp_path / "rows.csv")])
    assert script.main() == 0
    first = steps[2 : 2 + len(set(steps)) - 2]
    assert steps[:2] == [script.MISSING, script.PREPARE]
    assert first == [
        *(f"torch eager {name}" for name in ("fp32", "tf32", "fp16")),
        "torch.compile max-autotune fp16",
        "ours torch fp32",
        "ours torch fp16",
        "study, torch.compile max-autotune fp16",
        "study, ours torch fp16",
    ]
    assert rounds(tmp_path / "rows.csv") == [(case, str(turn)) for turn in (1, 2, 3) for case in first]
    said = capsys.readouterr().err
    assert f"ours tensorrt int8: left out, {refused}" in said and "CUDA fp16: left out, no CUDAExec" in said
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as stream:
        row = next(csv.DictReader(stream))
    assert {**CARD, "gpu": "NVIDIA H200", "capability": "9.0"}.items() <= row.items()
    assert (row["p50_ms"], row["warm_p50_ms"]) == ("3.000", "1.250")


def on_a_gpu(script: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, answers: Callable[[str], Any]) -> Any:
    """The exit status on an H200, and the steps that were asked for."""
    gpu = Mock(compute_capability="9.0", driver="580.1", cuda=(13, 0))
    gpu.name = "NVIDIA H200"
    monkeypatch.setattr(gpus, "find_gpus", lambda: Mock(found=(gpu,)))
    run = Mock(side_effect=lambda case, *given: answers(case))
    monkeypatch.setattr(script, "run_case", run)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--output", str(folder / "rows.csv")])
    return script.main(), [call.args[0] for call in run.call_args_list]


def test_where_nothing_can_run_that_is_said_and_nothing_prepared(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, steps = on_a_gpu(script, monkeypatch, tmp_path, lambda case: dict.fromkeys(script.CASES, "no torch"))
    told = capsys.readouterr()
    assert (status, steps, told.out) == (6, [script.MISSING], "") and not (tmp_path / "rows.csv").exists()
    assert told.err.count(": left out, no torch\n") == len(script.CASES)
    assert told.err.splitlines()[-1].startswith("none of these cases can run here")


def test_where_every_case_fails_no_empty_table_is_printed(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = lambda case: {"left_out": "an illegal address"} if case in script.CASES else {}  # noqa: E731
    status, _ = on_a_gpu(script, monkeypatch, tmp_path, answers)
    told = capsys.readouterr()
    assert (status, told.out) == (1, "") and told.err.endswith("no case was measured\n")


def test_torch_is_needed_whatever_is_measured(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It empties the cache."""
    monkeypatch.setattr(script.usage, "torch_missing", lambda: "torch cannot be imported")
    assert on_a_gpu(script, monkeypatch, tmp_path, lambda case: {}) == (6, [])
    assert "torch cannot be imported" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "ends"), [(2, 2), (6, 6), (-9, "prepare: ended by SIGKILL")])
def test_a_preparation_that_fails_ends_it_with_its_status(
    status: int, ends: object, script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it says is not held back."""
    run = Mock(return_value=Mock(returncode=status))
    monkeypatch.setattr(script.subprocess, "run", run)
    with pytest.raises(SystemExit) as ended:
        script.run_case(script.PREPARE, tmp_path, None, Mock(left=lambda: None))
    assert ended.value.code == ends and run.call_args.kwargs["stderr"] is None


@pytest.mark.parametrize(
    ("status", "stderr", "said"),
    [
        (1, b"Traceback\nRuntimeError: an \x1b[31millegal \xff\n", "RuntimeError: an [31millegal \ufffd"),
        (3, b"", "exit status 3"),
        (-11, b"loading\n", "ended by SIGSEGV: loading"),
        (-11, b"", "ended by SIGSEGV"),
    ],
)
def test_why_a_case_failed(
    status: int, stderr: bytes, said: str, script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(command: list[str], **more: Any) -> Any:
        more["stderr"].write(stderr)
        return Mock(returncode=status)

    monkeypatch.setattr(script.subprocess, "run", fail)
    assert script.run_case(NAMES[0], tmp_path, 1, Mock(left=lambda: None)) == {"left_out": said}


def test_what_a_case_has_started_ends_with_it(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Such as compilers in sessions of their own, which hold what it printed into."""
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def leaves_one(*given: object, stdout: Any, stderr: Any, **more: object) -> Any:
        sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
        started.append(popen(sleeping, stdout=stdout, stderr=stderr, start_new_session=True))
        stdout.write(b'{"ms": []}\n')
        if len(started) == 1:
            raise subprocess.TimeoutExpired("case", 7)
        return Mock(returncode=0)

    monkeypatch.setattr(script.subprocess, "run", leaves_one)
    assert "left_out" in script.run_case(NAMES[0], tmp_path, 1, Mock(left=lambda: 7.0))
    assert script.run_case(NAMES[0], tmp_path, 1, Mock(left=lambda: 7.0)) == {"ms": []}
    for one in started:
        assert not Path("/proc", str(one.pid)).exists()
        one.poll()
