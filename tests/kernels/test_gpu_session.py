"""The session on a lent GPU, with stand-ins of its steps and a clock of its own: order, time, kills, what is said."""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from kernels.scripts import BENCHMARKS, load

ROOT = BENCHMARKS.parent
UNCACHED = "PYTORCH_NO_CUDA_MEMORY_CACHING"
ORDER = {
    "1": ["machine", "cubin", "cuda", "kernels", "graph", "memcheck", "racecheck"],
    "2": ["rows", "network", "ncu"],
}
TOOLS = ("compute-sanitizer", "ncu")
LIST, KERNELS, WHEEL = "made-by-gpu-session.json", "cubin/kernels.json", "wheels/pydicom-1.0-py3-none-any.whl"


H200 = (9, 0)
NOTHING = SimpleNamespace(found=(), reason="no NVIDIA driver was found")


def gpus(capability: tuple[int, int]) -> Any:
    """What a machine with this GPU finds."""
    target = SimpleNamespace(major=capability[0], minor=capability[1])
    return SimpleNamespace(found=(SimpleNamespace(target=target),), reason="")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """benchmarks/gpu_session.py, on an H200 where both tools are installed, with what was prepared for it."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.delenv("OUT", raising=False)
    module = load(monkeypatch, "gpu_session")
    monkeypatch.setattr(module, "find_gpus", lambda: gpus(H200))
    monkeypatch.setattr(module.usage, "torch_missing", lambda: None)
    prepared(tmp_path / "carry")
    return module


def fatbin(*targets: int) -> bytes:
    """Code for these targets, and PTX for another, as nvcc wraps them: headers alone, which are all that is read."""
    parts = b""
    for kind, target in [*((2, target) for target in targets), (1, 120)]:
        parts += struct.pack("<HHIQ5I28x", kind, 0x101, 64, 8, 0, 0, 0, target, 0) + bytes(8)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(parts)) + parts


def kernels_json(*targets: int) -> str:
    fields = {"sha256": "", "kernel": "kan_kernel", "precision": "fp16", "fixed": {}, "scratch": {}, "warps": 4}
    fields |= {"shared_memory": 0, "signature": [], "launches": [], "file": "kan.cubin"}
    return json.dumps([{**fields, "target": f"sm_{target}"} for target in targets])


def prepared(carry: Path, target: int = 90, python: str = "py3-none-any") -> None:
    """A folder as it is prepared, of files that say nothing, listed."""
    carried = sys.modules["gpu_session_carried"]
    for folder in ("cubin", "network", "wheels"):
        (carry / folder).mkdir(parents=True, exist_ok=True)
    for name in carried.NEEDED:
        (carry / name).write_text(name)
    (carry / carried.FATBIN).write_bytes(fatbin(75, target))
    (carry / "cubin" / "kernels.json").write_text(kernels_json(75, target))
    for name in carried.WHEELS:
        with zipfile.ZipFile(carry / "wheels" / f"{name.replace('-', '_')}-1.0-{python}.whl", "w") as wheel:
            wheel.writestr(f"{name}.txt", name)
    carried.write_list(carry)


class Machine:
    """A machine on which each step takes so many seconds (1 if it is not named) and ends with a status of 0, or so."""

    def __init__(self, taking: Mapping[str, float], ending: Mapping[str, int] | None = None) -> None:
        self.taking, self.ending = taking, ending or {}
        self.now = 1000.0
        self.done: list[str] = []
        self.environments: list[Mapping[str, str]] = []

    def execute(self, command: Sequence[str], log: Path, seconds: float, environment: Mapping[str, str]) -> int | None:
        self.done.append(log.stem)
        self.environments.append(environment)
        taken = self.taking.get(log.stem, 1.0)
        log.write_text(f"{' '.join(command)}\nlast words of {log.stem}\n", encoding="utf-8")
        self.now += min(taken, seconds)
        return None if taken > seconds else self.ending.get(log.stem, 0)

    def clock(self) -> float:
        return self.now


def play(session: ModuleType, part: str, machine: Machine, folder: Path, *more: str) -> tuple[int, list[list[str]]]:
    """A part's exit status, and the kinds and names in its summary."""
    given = [part, "--carry", str(folder / "carry"), "--out", str(folder / "out"), *more]
    status = session.main(given, machine.execute, machine.clock)
    text = (folder / "out" / f"summary-{part}.txt").read_text(encoding="utf-8")
    return status, [[line[:9].strip(), line[9:23].strip(), line[33:].strip()] for line in text.splitlines()]


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


def test_only_packages_that_are_missing_are_unpacked(session: ModuleType, tmp_path: Path) -> None:
    for wheel in (tmp_path / "carry" / "wheels").iterdir():
        wheel.unlink()
    for name in ("numpy", "a_package_that_nobody_has"):
        with zipfile.ZipFile(tmp_path / "carry" / "wheels" / f"{name}-9.9-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "")
    site = session.unpacked(tmp_path / "carry", tmp_path / "site")
    assert [file.name for file in site.iterdir()] == ["a_package_that_nobody_has.py"]


def test_what_a_step_started_is_killed_with_it(session: ModuleType, tmp_path: Path) -> None:
    """The grandchild holds a pipe, which ends when it does; a step that ends by itself leaves none behind either."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    code = (
        "import subprocess, sys, time; print('begun', flush=True)\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], pass_fds=({writing},))\n"
        "time.sleep(600)\n"
    )
    popen = subprocess.Popen
    holding = lambda *given, **more: popen(*given, **more, pass_fds=(writing,))  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.subprocess, "Popen", holding)
        begun = time.monotonic()
        status = session.run_limited([sys.executable, "-c", code], tmp_path / "log", 1.0, os.environ)
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)
    assert status is None and time.monotonic() - begun < 60
    assert session.last_line(tmp_path / "log") == "begun"
    assert session.run_limited([sys.executable, "-c", "raise SystemExit(7)"], tmp_path / "log", 60.0, os.environ) == 7


def told(session: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    """Of part 1, where no step may begin: the exit status, and what is said."""

    def never(*given: object) -> int:
        raise AssertionError("a step began")

    given = ["1", "--carry", str(folder / "carry"), *more]
    try:
        status = session.main(given, never)
    except SystemExit as ended:
        status = int(ended.code or 0)
    return status, capsys.readouterr().err


def empty(carry: Path) -> None:
    shutil.rmtree(carry)
    carry.mkdir()


def prepare_with(name: str, content: bytes) -> Callable[[Path], None]:
    """A file with another content, and a list that says so: as it would have been prepared."""

    def change(carry: Path) -> None:
        (carry / name).write_bytes(content)
        sys.modules["gpu_session_carried"].write_list(carry)

    return change


def rewrite(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda carry: (carry / name).write_bytes(content)


def prepared_for_python_2(carry: Path) -> None:
    empty(carry)
    prepared(carry, python="cp27-cp27m-manylinux1_x86_64")


def replaced_by_a_pipe(carry: Path) -> None:
    (carry / "msdc.fatbin").unlink()
    os.mkfifo(carry / "msdc.fatbin")


def without(name: str) -> Callable[[Path], None]:
    """As where it could not be made."""

    def remove(carry: Path) -> None:
        (carry / name).unlink()
        sys.modules["gpu_session_carried"].write_list(carry)

    return remove


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "nothing was prepared there"),
    "an empty folder": (empty, "nothing was prepared there"),
    "an empty list": (lambda carry: (carry / LIST).write_text(""), "the preparation did not end"),
    "a list of something else": (lambda carry: (carry / LIST).write_text("[1]"), "damaged"),
    "no networks": (lambda carry: shutil.rmtree(carry / "network"), "network/few_slices-off.json: missing"),
    "no fatbin was made": (without("msdc.fatbin"), "msdc.fatbin: missing"),
    "no wheel was fetched": (without("wheels/onnx_ir-1.0-py3-none-any.whl"), "wheels/onnx-ir: missing"),
    "a cut wheel": (lambda carry: (carry / WHEEL).write_text("junk"), f"{WHEEL}: damaged, 4 bytes instead of"),
    "a strange wheel": (
        lambda carry: (carry / "wheels" / "junk-1-py3-none-any.whl").touch(),
        "junk-1-py3-none-any.whl: not of",
    ),
    "a cut list of kernels": (rewrite(KERNELS, b"["), f"{KERNELS}: damaged, 1 bytes instead of"),
    "other inputs": (rewrite("network/inputs.npz", b"network/INPUTS.npz"), "inputs.npz: damaged, its bytes are others"),
    "a pipe": (replaced_by_a_pipe, "msdc.fatbin: not a file"),
    "a fatbin for others": (
        prepare_with("msdc.fatbin", fatbin(75, 89)),
        "msdc.fatbin: compiled for sm_75, sm_89; not for",
    ),
    "no fatbin": (prepare_with("msdc.fatbin", fatbin(90)[:-1]), "msdc.fatbin: not a fatbin"),
    "binaries for others": (
        prepare_with(KERNELS, kernels_json(89).encode()),
        "cubin: compiled for sm_89; not for this GPU, of",
    ),
    "another version's list": (prepare_with(KERNELS, b"[{}]"), "kernels.json: not written by this version"),
    "another Python's wheels": (prepared_for_python_2, "cp27m-manylinux1_x86_64.whl: not for this Python"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_what_was_carried_must_be_whole_and_for_this_machine(
    session: ModuleType, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, said = DAMAGES[case]
    damage(tmp_path / "carry")
    status, words = told(session, tmp_path, capsys, "--out", str(tmp_path / "out"))
    assert status == 2 and said in words and not (tmp_path / "out").exists()
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"gpu_session.sh prepare --carry {tmp_path / 'carry'} --python {python} --target sm_90\n" in words


def test_the_script_says_it_too(tmp_path: Path) -> None:
    given = [BENCHMARKS / "gpu_session.sh", "1", "--carry", tmp_path / "none", "--out", tmp_path]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(list(map(str, given)), capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2 and "gpu_session.sh prepare" in done.stderr


def test_all_that_is_wrong_is_named_at_once(
    session: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "carry" / "msdc.fatbin").unlink()
    (tmp_path / "carry" / "cubin" / "kernels.json").write_text("")
    assert told(session, tmp_path, capsys, "--out", str(tmp_path / "out"))[1].count("\n") == 3


@pytest.mark.parametrize(("capability", "works"), [((9, 0), True), ((8, 9), False), ((7, 5), True), ((7, 0), False)])
def test_code_runs_on_gpus_of_its_major_version_that_are_not_older(
    session: ModuleType, capability: tuple[int, int], works: bool, tmp_path: Path
) -> None:
    assert (sys.modules["gpu_session_carried"].faults(tmp_path / "carry", capability) == []) is works


def test_without_a_gpu_it_says_so(
    session: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "find_gpus", lambda: NOTHING)
    status, words = told(session, tmp_path, capsys, "--out", str(tmp_path / "out"))
    assert status == 6 and words.startswith("no GPU: no NVIDIA driver was found") and words.count("\n") == 1


def test_a_gpu_that_torch_cannot_use_is_none(
    session: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session.usage, "torch_missing", lambda: "torch 2.13.0+cpu finds none")
    status, words = told(session, tmp_path, capsys, "--out", str(tmp_path / "out"))
    assert status == 6 and words.startswith("no GPU: torch 2.13.0+cpu finds none; ") and words.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("capability", [(6, 1), (10, 0)])
def test_for_a_gpu_that_nothing_is_compiled_for_nothing_is_to_be_prepared(
    session: ModuleType,
    capability: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(session, "find_gpus", lambda: gpus(capability))
    status, words = told(session, tmp_path, capsys, "--out", str(tmp_path / "out"))
    assert status == 6 and "compute capability {}.{}".format(*capability) in words and "prepare" not in words


def test_a_python_without_the_few_is_told_so(
    session: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    status, words = told(session, tmp_path, capsys, "--out", str(tmp_path / "out"))
    assert (status, words) == (6, f"{sys.executable} has no triton; $PYTHON names another interpreter\n")


def test_so_is_one_that_has_nothing_at_all(tmp_path: Path) -> None:
    """As where $PYTHON is not the one with torch: nothing of it is imported before."""
    hidden = "sys.modules.update(dict.fromkeys(['torch', 'triton', 'numpy', 'pytest', 'packaging', 'pydantic']))"
    run = "del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    code = f"import runpy, sys; sys.path.insert(0, {str(BENCHMARKS)!r}); {hidden}; {run}"
    script = [str(BENCHMARKS / "gpu_session.py"), "1", "--out", str(tmp_path / "out")]
    ran = subprocess.run([sys.executable, "-c", code, *script], capture_output=True, text=True, check=False)
    assert (
        ran.returncode == 6 and " has no torch, triton, numpy, pytest; " in ran.stderr and ran.stderr.count("\n") == 1
    )


@pytest.mark.parametrize("python", ["3", "3.10", "2.7", "3.12.1", "3.12t", "3.100", "", "python3.12"])
def test_what_is_no_python_of_ours_is_refused_before_anything_is_made(
    session: ModuleType, python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        session.main(["prepare", "--carry", str(tmp_path / "new"), "--python", python])
    words = capsys.readouterr().err
    assert f"at least 3.11, got {python!r}" in words and words.count("\n") == 1 and not (tmp_path / "new").exists()


def test_the_oldest_python_is_the_packages(session: ModuleType) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-python = ">=3.{session.OLDEST_PYTHON}"' in project
    assert session.python_version(f"3.{session.OLDEST_PYTHON}") and session.python_version(session.PYTHON)


@pytest.mark.parametrize("out", ["file", "/proc/x", "", None], ids=["file", "unwritable", "empty", "unset"])
@pytest.mark.parametrize("how", ["option", "variable"])
def test_where_nothing_can_be_written_no_step_begins(
    session: ModuleType,
    out: str | None,
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    if out is not None and how == "variable":
        monkeypatch.setenv("OUT", out)
    status, words = told(session, tmp_path, capsys, *(("--out", out) if out is not None and how == "option" else ()))
    assert status == 2 and words.count("\n") == 1


def test_results_are_kept_apart_from_what_was_carried(
    session: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in (tmp_path / "carry", tmp_path / "carry" / "out"):
        status, words = told(session, tmp_path, capsys, "--out", str(out))
        assert status == 2 and " input" in words and words.count("\n") == 1
    assert not (tmp_path / "carry" / "out").exists()


@pytest.mark.parametrize("seconds", ["0", "nan", "-5", "inf", "soon"])
def test_a_time_that_is_none_is_refused(
    session: ModuleType, seconds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, words = told(session, tmp_path, capsys, "--out", str(tmp_path / "out"), f"--seconds={seconds}")
    assert status == 2 and words.count("\n") == 1 and f"above 0, got {seconds!r}" in words


def test_an_earlier_sessions_results_are_replaced_only_if_that_is_asked_for(
    session: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "graph.log").write_text("precious")
    status, words = told(session, tmp_path, capsys, "--out", str(tmp_path / "out"))
    assert status == 2 and "graph.log: exists already" in words and "--force" in words
    assert (tmp_path / "out" / "graph.log").read_text() == "precious"
    assert play(session, "1", Machine({}), tmp_path, "--force")[0] == 0
    assert play(session, "2", Machine({}), tmp_path)[0] == 0, "the other part's are others"


SLEEPER = """
import os, pathlib, subprocess, sys
print("begun", flush=True)
written = pathlib.Path(sys.argv[1] + ".part")
written.write_text(f"a row {os.getpid()}")
written.rename(sys.argv[1])
subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"])
"""
SESSION = """
import os, pathlib, signal, sys
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # whatever has started the tests may ignore them
sys.path.insert(0, sys.argv[1])
import gpu_session, usage
from gpu_session_plan import Step
from rows import Budget
out = pathlib.Path(sys.argv[2])
steps = [Step(name, 60, (sys.executable, "-c", sys.argv[3], str(out / f"{name}.csv"))) for name in ("one", "two")]
steps[0] = Step("none", 60, (sys.executable, "-c", ""))
given = Budget(None), out, out / "summary", os.environ, gpu_session.run_limited, lambda: 0.0
usage.run(lambda: gpu_session.perform(steps, *given))
"""


def alive(group: int) -> list[str]:
    """Commands of a process group, but of those that ended and that nobody has asked for."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = file.read_text().rpartition(")")
            state, _, of = rest.split()[:3]
            found += [name] if int(of) == group and state != "Z" else []
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_step_and_what_was_written_stays(number: signal.Signals, tmp_path: Path) -> None:
    """Nobody is left in the step's process group, its grandchild neither."""
    command = [sys.executable, "-c", SESSION, str(BENCHMARKS), str(tmp_path), SLEEPER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        begun = time.monotonic()
        while not (tmp_path / "two.csv").exists() and time.monotonic() - begun < 60:
            time.sleep(0.01)
        step = (tmp_path / "two.csv").read_text().split()[-1]
        started.send_signal(number)
        said, wrong = started.communicate(timeout=60)
    assert started.returncode == 128 + number and wrong == ""
    assert (tmp_path / "two.csv").read_text() == f"a row {step}"
    assert (tmp_path / "summary").read_text() == said
    assert [line.split()[:2] for line in said.splitlines()] == [["passed", "none"], ["ended", "two"]]
    assert said.endswith("with the session: begun\n")
    assert alive(int(step)) == []


def test_a_signal_while_a_step_is_started_waits_until_it_is_known(session: ModuleType, tmp_path: Path) -> None:
    """Else nobody would end it."""
    script = f"""
import os, signal, subprocess, sys
sys.path.insert(0, {str(BENCHMARKS)!r})
import gpu_session, usage
popen = subprocess.Popen
def starting(*given, **more):
    made = popen(*given, **more)
    os.kill(os.getpid(), signal.SIGTERM)
    print(made.pid, flush=True)
    return made
gpu_session.subprocess.Popen = starting
command = [sys.executable, "-c", "import time; time.sleep(600)"]
log = gpu_session.Path({str(tmp_path / "log")!r})
usage.run(lambda: gpu_session.run_limited(command, log, 60.0, os.environ))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 143, done.stderr
    assert alive(int(done.stdout)) == []


@pytest.fixture
def preparing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/gpu_session_prepare.py with makers that write a file of 1000 bytes each."""
    module = load(monkeypatch, "gpu_session_prepare")

    def writes(*given: Any) -> None:
        next(part for part in given if "carry" in part.parts).write_bytes(bytes(1000))

    for name in ("compile_cubins", "compile_fatbin", "export_networks"):
        monkeypatch.setattr(module, name, writes)
    monkeypatch.setattr(module, "fetch_wheels", lambda folder, python: writes(folder))
    monkeypatch.setattr(module, "size_of_repository", lambda root: 5000)
    return module


def test_what_is_carried_must_fit(preparing: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90", largest=10**6) == 0
    both = 5000 + sum(file.stat().st_size for file in (tmp_path / "carry").iterdir())
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90", largest=both) == 0
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90", largest=both - 1) == 1
    assert "MiB carried" in capsys.readouterr().err


def test_what_cannot_be_made_is_said_and_the_rest_made(
    preparing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(source: Path, made: Path, target: str) -> None:
        made.write_bytes(b"half of it")
        raise FileNotFoundError("nvcc is not installed")

    monkeypatch.setattr(preparing, "compile_fatbin", missing)
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90") == 1
    assert "msdc.fatbin: missing" in sys.modules["gpu_session_carried"].faults(tmp_path / "carry", None)
    told = capsys.readouterr()
    assert "msdc.fatbin: nvcc is not installed" in told.err and "network: made" in told.out


def test_a_folder_that_cannot_be_made_is_refused(
    preparing: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for carry in (tmp_path / "file" / "carry", Path("/proc/x")):
        assert preparing.prepare(ROOT, carry, "3.12", "sm_90") == 2
        assert capsys.readouterr().err.startswith(f"{carry}: cannot be written, ")


def test_what_git_does_not_tell_is_said(
    preparing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preparing, "size_of_repository", Mock(side_effect=subprocess.CalledProcessError(128, "git")))
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90") == 1
    assert "how large the repository is cannot be told" in capsys.readouterr().err


def test_the_wheels_are_those_that_are_installed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(monkeypatch, "gpu_session_prepare")
    asked: list[list[str]] = []
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(module.subprocess, "run", lambda command, **more: asked.append([str(word) for word in command]))
    monkeypatch.setattr(module, "version", lambda name: "1.2.3")
    module.fetch_wheels(tmp_path, "3.12")
    module.compile_fatbin(tmp_path / "msdc.cu", tmp_path / "msdc.fatbin", "sm_89")
    assert asked[0][:2] == ["/bin/pip", "download"] and "pydantic-core==1.2.3" in asked[0]
    assert asked[0][asked[0].index("--python-version") + 1] == "3.12"
    assert "arch=compute_89,code=sm_89" in asked[1] and "native" not in " ".join(asked[1])


# The whole network in variants, and single calls: on the processor.


def tiny_networks(folder: Path, files: ModuleType) -> None:
    """A convolution that is large enough to be drawn anew, twice the same, and a mean, as both files."""
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(1).normal(0.01, 0.02, (32, 32, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], pads=[1] * 6),
        helper.make_node("Conv", ["a", "second"], ["b"], pads=[1] * 6),
        helper.make_node("Add", ["b", "small"], ["c"]),
        helper.make_node("ReduceMean", ["c", "axes"], ["logit"], keepdims=0),
    ]
    constants = {
        "first": weight,
        "second": weight,
        "small": np.ones(1, np.float32),
        "axes": np.array([1, 2, 3, 4]),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 32, 2, 6, 6])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    whole = folder / "whole.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), whole)
    for word in ("on", "off"):
        files.hollow(whole, folder / f"few_slices-{word}.onnx")
    np.savez(folder / "inputs.npz", image=np.random.default_rng(2).normal(size=(1, 32, 2, 6, 6)).astype(np.float32))


def test_large_weights_are_drawn_anew_and_small_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    files = load(monkeypatch, "network_files")
    tiny_networks(tmp_path, files)
    assert (tmp_path / "few_slices-on.onnx").stat().st_size < (tmp_path / "whole.onnx").stat().st_size / 50
    made = []
    for turn in range(2):
        files.fill(tmp_path / "few_slices-on.onnx", tmp_path / f"{turn}.onnx")
        stored = onnx.load(tmp_path / f"{turn}.onnx").graph.initializer
        made.append({tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in stored})
    assert all(np.array_equal(made[0][name], made[1][name]) for name in made[0])
    first = made[0]["first"]
    assert np.array_equal(first, made[0]["second"]) and first.shape == (32, 32, 3, 3, 3)
    assert abs(first.mean() - 0.01) < 1e-3 and abs(first.std() - 0.02) < 1e-3
    assert made[0]["small"].tolist() == [1] and made[0]["axes"].tolist() == [1, 2, 3, 4]


@pytest.fixture
def variants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for package in ("torch", "onnx", "mmcaf_export", "ml_dtypes", "onnx_ir"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    return load(monkeypatch, "rows", "card", "gpu_timing", "network_files", "network_variants")


def measured(variants: ModuleType, folder: Path, budget: Any, profile: Callable[[Any], Any]) -> tuple[int, list[str]]:
    """The exit status, and the rows' variants."""
    rows = sys.modules["rows"]
    times = sys.modules["gpu_timing"].Times([10.0, 12.0], [4.0, 4.0], 0, {"power_w": "310"})
    timer = SimpleNamespace(launches=lambda launch, runs: launch() and times)
    tables = rows.RowFile(folder / "network.csv"), rows.RowFile(folder / "kernels.csv")
    status = variants.run(folder, tables, 2, {"gpu": "H200"}, timer, profile, budget, "cpu")
    return status, (folder / "network.csv").read_text(encoding="utf-8").splitlines()


def test_the_usual_variant_is_first_then_those_with_one_change(variants: ModuleType) -> None:
    assert [variant.changes() for variant in variants.VARIANTS] == [0, 1, 1, 1, 2, 2, 2, 3]
    assert variants.VARIANTS[0].row() == {"few_slices": "on", "innermost": "on", "benchmark": "off"}


def test_every_variant_has_a_row_and_a_table_of_kernels(variants: ModuleType, tmp_path: Path) -> None:
    tiny_networks(tmp_path, sys.modules["network_files"])
    budget = sys.modules["rows"].Budget(None)
    status, lines = measured(variants, tmp_path, budget, lambda program: {"conv": (2, 30.0), "add": (1, 40.0)})
    assert status == 0 and len(lines) == 1 + len(variants.VARIANTS)
    assert lines[0].startswith("few_slices,innermost,benchmark,execution,runs,p50_us")
    assert lines[1].startswith("on,on,off,") and ",11.0," in lines[1] and lines[1].endswith(",310,H200")
    table = (tmp_path / "kernels.csv").read_text(encoding="utf-8").splitlines()
    assert table[1:3] == ["on,on,off,add,1,40.00", "on,on,off,conv,2,30.00"]
    assert len(table) == 1 + 2 * len(variants.VARIANTS)


def test_a_variant_that_is_wrong_or_too_late_is_left_out(
    variants: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_networks(tmp_path, sys.modules["network_files"])
    monkeypatch.setattr(variants, "TOLERANCE", -1.0)
    rows = sys.modules["rows"]
    budget = rows.Budget(3, iter(range(100)).__next__)
    rows.append(tmp_path / "network.csv", "", first=True)
    status, lines = measured(variants, tmp_path, budget, lambda program: {})
    told = capsys.readouterr().err
    assert status == 1 and lines == []
    assert told.count("ArithmeticError: the logit is") == 2 and told.count("not measured, the time is over") == 6


@pytest.mark.parametrize("asked", [[], ["--kernel", "kan", "fusion_head"]], ids=["all", "two"])
def test_each_kernel_is_called_once(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    calls = load(monkeypatch, "kernel_cases", "single_calls")
    monkeypatch.setattr(sys.modules["kernel_cases"], "DEVICE", "cpu")
    monkeypatch.setenv(UNCACHED, "")
    assert calls.main(["--small", *asked], lambda: None) == 0
    called = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    known = ["msdc", "groupnorm_act", "msca_attention", "upsample_dw", "kan", "fusion_head", "cross_attention"]
    assert called == ([name for name in known if name in asked] if asked else known)


@pytest.mark.parametrize(("given", "expected"), [([], ""), (["--small"], "1")])
def test_for_memcheck_every_tensor_is_an_allocation_of_its_own(
    given: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before torch is asked for the first."""
    calls = load(monkeypatch, "single_calls")
    monkeypatch.setenv(UNCACHED, "")
    told: list[str] = []
    assert calls.main(given, lambda: told.append(os.environ[UNCACHED]) or "none") == 6
    assert told == [expected]


def test_a_kernel_that_raises_is_said_and_the_others_are_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    calls = load(monkeypatch, "kernel_cases", "single_calls")
    cases = sys.modules["kernel_cases"]
    monkeypatch.setattr(cases, "DEVICE", "cpu")
    monkeypatch.setattr(cases, "kan", Mock(side_effect=RuntimeError("an illegal address")))
    monkeypatch.setattr(cases, "upsample_dw_case", Mock(side_effect=MemoryError("no room")))
    monkeypatch.setenv(UNCACHED, "")
    (tmp_path / "msdc.fatbin").write_bytes(b"no fatbin")
    assert calls.main(["--small", "--fatbin", str(tmp_path / "msdc.fatbin")], lambda: None) == 1
    told = capsys.readouterr()
    called = [line.split()[0] for line in told.out.splitlines()]
    assert called == ["msdc", "groupnorm_act", "msca_attention", "fusion_head", "cross_attention"]
    for fact in ("left out: msdc (CUDA C++): ", "left out: kan table ", "an illegal address", "MemoryError: no room"):
        assert fact in told.err


def test_what_was_not_prepared_here_is_left_alone(preparing: ModuleType, tmp_path: Path) -> None:
    thesis = tmp_path / "work" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(thesis.parent)
    for carry in (thesis.parent, thesis, link):
        assert preparing.prepare(ROOT, carry, "3.12", "sm_90") == 2
    assert thesis.read_text() == "precious"
    (tmp_path / "carry").mkdir()
    for _ in range(2):
        assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90", largest=10**9) == 0
