"""Where a session on a lent GPU cannot begin it says so in one line, and no step is done."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kernels.gpu_sessions import NOTHING, ROOT, Machine, gpus, play, told
from kernels.scripts import BENCHMARKS


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


@pytest.mark.parametrize(
    "given",
    ["prepare --out x", "prepare --seconds 5 --force", "1 --out x --python 3.12", "2 --out x --target sm_90"],
)
def test_an_option_that_the_part_has_no_use_for_is_refused(
    session: ModuleType, given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        session.main([*given.split(), "--carry", str(tmp_path / "new")])
    words = capsys.readouterr().err
    assert f"{given.split()[0]} has no use for --" in words and words.count("\n") == 1
    assert not (tmp_path / "new").exists()


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
