"""The session on a lent GPU, with stand-ins of its steps and a clock of its own: order, time, kills, what is said."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import pytest

from kernels.gpu_sessions import ROOT, Machine, play
from kernels.scripts import BENCHMARKS, load

UNCACHED = "PYTORCH_NO_CUDA_MEMORY_CACHING"
ORDER = {
    "1": ["machine", "cubin", "cuda", "kernels", "graph", "memcheck", "racecheck"],
    "2": ["rows", "network", "ncu"],
}


@pytest.mark.parametrize("part", ["1", "2"])
def test_every_step_in_order_with_a_log_and_a_line(session: ModuleType, part: str, tmp_path: Path) -> None:
    machine = Machine({})
    status, lines = play(session, part, machine, tmp_path)
    assert status == 0 and machine.done == ORDER[part]
    assert lines == [["passed", name, f"last words of {name}"] for name in ORDER[part]]
    logs = [f"{name}.log" for name in ORDER[part]]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted([*logs, f"summary-{part}.txt"])


@pytest.mark.parametrize("part", ["1", "2"])
def test_what_hangs_is_killed_and_the_rest_goes_on_within_the_parts_time(
    session: ModuleType, part: str, tmp_path: Path
) -> None:
    machine = Machine(dict.fromkeys(ORDER[part], 1e9))
    status, lines = play(session, part, machine, tmp_path)
    assert status == 1 and machine.done == ORDER[part]
    assert [line[:2] for line in lines] == [["killed", name] for name in ORDER[part]]
    assert f"last words of {ORDER[part][0]}" in lines[0][2] and lines[0][2].startswith("after ")
    assert machine.now - 1000 <= {"1": 420, "2": 300}[part]


def test_what_no_longer_fits_is_left_out_and_what_is_shorter_still_done(session: ModuleType, tmp_path: Path) -> None:
    machine = Machine({"cubin": 29, "cuda": 1e9, "graph": 40})
    status, lines = play(session, "1", machine, tmp_path, "--seconds", "131")
    assert status == 1 and machine.done == ["machine", "cubin", "cuda", "graph"]
    assert [line[:2] for line in lines[:3]] == [["passed", "machine"], ["passed", "cubin"], ["killed", "cuda"]]
    assert lines[3:] == [
        ["left out", "kernels", "it may take 140 s, and 61 s are left"],
        ["passed", "graph", "last words of graph"],
        ["left out", "memcheck", "it may take 60 s, and 21 s are left"],
        ["left out", "racecheck", "it may take 60 s, and 21 s are left"],
    ]
    assert not (tmp_path / "out" / "kernels.log").exists()


def test_a_step_that_fails_is_said_and_the_next_is_done(session: ModuleType, tmp_path: Path) -> None:
    machine = Machine({}, {"network": 3})
    status, lines = play(session, "2", machine, tmp_path)
    assert status == 1 and machine.done == ORDER["2"]
    assert lines[1] == ["failed", "network", "exit status 3: last words of network"]


def test_one_that_a_signal_ended_is_said_so_without_what_would_steer_a_terminal(
    session: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a log that is large only the end is read."""
    machine = Machine({}, {"network": -11})

    def execute(command: Sequence[str], log: Path, seconds: float, environment: Mapping[str, str]) -> int | None:
        status = machine.execute(command, log, seconds, environment)
        with log.open("ab") as stream:
            stream.write(b"x" * session.TAIL + b"\n\x1b[31mlost\x07 the \xff GPU\x1b[0m\n\x00\n")
        return status

    given = ["2", "--carry", str(tmp_path / "carry"), "--out", str(tmp_path / "out")]
    assert session.main(given, execute, machine.clock) == 1
    line = (tmp_path / "out" / "summary-2.txt").read_text(encoding="utf-8").splitlines()[1]
    assert line.endswith("ended by SIGSEGV: [31mlost the \ufffd GPU [0m") and line.isprintable()


@pytest.mark.parametrize("gone", [OSError(28, "No space left on device"), BrokenPipeError()], ids=["full", "closed"])
def test_where_nobody_reads_what_is_printed_the_steps_go_on(
    session: ModuleType, gone: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary has every line."""
    monkeypatch.setattr("builtins.print", Mock(side_effect=gone))
    machine = Machine({})
    assert play(session, "2", machine, tmp_path)[0] == 0 and machine.done == ORDER["2"]


def test_a_tool_that_is_absent_is_passed_over(
    session: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for part, absent in (("1", ORDER["1"][-2:]), ("2", ["ncu"])):
        machine = Machine({})
        status, lines = play(session, part, machine, tmp_path)
        assert status == 0 and machine.done == [name for name in ORDER[part] if name not in absent]
        said = [line for line in lines if line[0] == "absent"]
        assert [line[1] for line in said] == absent and all(line[2].endswith("is not installed") for line in said)


def test_a_line_is_written_when_its_step_ends(session: ModuleType, tmp_path: Path) -> None:
    machine = Machine({})
    summary = tmp_path / "out" / "summary-1.txt"

    def execute(command: Sequence[str], log: Path, seconds: float, environment: Mapping[str, str]) -> int | None:
        written = summary.read_text(encoding="utf-8").count("\n") if summary.exists() else 0
        assert written == len(machine.done)
        if log.stem == "kernels":
            raise KeyboardInterrupt
        return machine.execute(command, log, seconds, environment)

    given = ["1", "--carry", str(tmp_path / "carry"), "--out", str(tmp_path / "out")]
    with pytest.raises(KeyboardInterrupt):
        session.main(given, execute, machine.clock)
    assert summary.read_text(encoding="utf-8").count("\n") == 3


def test_the_plan_fits_its_parts_and_names_what_exists(session: ModuleType, tmp_path: Path) -> None:
    """All may hang, and each has its turn; nothing is compiled for the machine at hand."""
    for part, (seconds, steps) in sys.modules["gpu_session_plan"].PARTS.items():
        planned = steps(tmp_path / "carry", tmp_path / "out", sys.executable)
        assert seconds <= {"1": 420, "2": 300}[part]
        assert sum(step.seconds for step in planned) <= seconds
        for step in planned:
            assert "native" not in " ".join(step.command) and "nvcc" not in step.command[0]
            for word in step.command:
                if word.endswith(".py"):
                    assert (ROOT / word).is_file(), word


def test_the_scripts_of_the_plan_accept_what_they_are_given(
    session: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All they miss here is the GPU."""
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(session.usage, "torch_missing", lambda: "torch finds none")
    monkeypatch.setenv(UNCACHED, "")
    called = []
    for _, steps in sys.modules["gpu_session_plan"].PARTS.values():
        for step in steps(tmp_path / "carry", tmp_path / "out", sys.executable):
            at = next((k for k, word in enumerate(step.command) if word.startswith(str(BENCHMARKS))), None)
            if at is not None:
                script = load(monkeypatch, Path(step.command[at]).stem)
                monkeypatch.setattr(sys, "argv", [*step.command[at:]])
                called.append((step.name, script.main()))
    assert called == [(name, 6) for name in ("memcheck", "racecheck", "rows", "network", "ncu")], (
        capsys.readouterr().err
    )


def test_no_step_compiles_what_should_have_been_carried(session: ModuleType, tmp_path: Path) -> None:
    machine = Machine({})
    play(session, "1", machine, tmp_path)
    for environment in machine.environments:
        assert environment["MMCAF_ON_GPU"] == "1"
        assert environment["MMCAF_MSDC_FATBIN"] == str(tmp_path / "carry" / "msdc.fatbin")
        assert environment["MMCAF_CUBINS"] == str(tmp_path / "carry" / "cubin")
        assert environment["MMCAF_COMMIT"] == "commit"
        assert environment["PYTHONPATH"].split(os.pathsep)[:3] == [
            str(ROOT / name) for name in ("kernels", "engine", "export")
        ]
