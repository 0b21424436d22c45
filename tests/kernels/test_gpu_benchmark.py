"""The benchmark of whole networks on a GPU, with stand-ins of its cases: rows at once, one left out by itself, time."""

import csv
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ["torch eager fp16", "ours fp16"]
FACTS = {"gpu": "H200"}
ANSWER = {"precision": "fp16", "shape": "1", "windows": 1, "ms": [2.0, 4.0], "cold_s": 1.0, "gpu_mb": 9.0, "error": 0.0}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/gpu.py beside its neighbours."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("rows", "full_size", "gpu_cases", "gpu"):
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
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
    with pytest.raises(SystemExit, match="not ready in time"):
        script.run_case("prepare", tmp_path, 1, budget)


def test_providers_and_precisions_choose(script: ModuleType) -> None:
    every = [case for case in script.CASES if case != "prepare"]
    assert script.chosen(script.PROVIDERS, script.PRECISIONS) == every
    assert script.chosen(["eager"], script.PRECISIONS) == [f"torch eager {name}" for name in ("fp32", "tf32", "fp16")]
    ours = ["ours fp16", "ours fp16, inputs on the GPU", "study, ours fp16"]
    assert script.chosen(["ours"], ["fp16"]) == ours
    assert script.chosen(["torch.compile"], ["int8"]) == []
