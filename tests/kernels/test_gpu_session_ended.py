"""What a step of a session on a lent GPU has started ends with it, whatever ends the step."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from kernels.gpu_sessions import alive
from kernels.scripts import BENCHMARKS


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


SLEEPER = """
import os, pathlib, subprocess, sys
print("begun", flush=True)
sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
left = subprocess.Popen(sleeping, start_new_session=True)
written = pathlib.Path(sys.argv[1] + ".part")
written.write_text(f"a row {os.getpid()} {left.pid}")
written.rename(sys.argv[1])
if len(sys.argv) == 2:
    subprocess.run(sleeping)
"""
"""Starts one that sleeps in a session of its own, writes both numbers, and sleeps unless it is given a second word."""
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_step_and_what_was_written_stays(number: signal.Signals, tmp_path: Path) -> None:
    """Nobody is left in the step's process group, its grandchild neither, and none that had left it."""
    command = [sys.executable, "-c", SESSION, str(BENCHMARKS), str(tmp_path), SLEEPER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        begun = time.monotonic()
        while not (tmp_path / "two.csv").exists() and time.monotonic() - begun < 60:
            time.sleep(0.01)
        step, left = (tmp_path / "two.csv").read_text().split()[-2:]
        started.send_signal(number)
        said, wrong = started.communicate(timeout=60)
    assert started.returncode == 128 + number and wrong == ""
    assert (tmp_path / "two.csv").read_text() == f"a row {step} {left}"
    assert (tmp_path / "summary").read_text() == said
    assert [line.split()[:2] for line in said.splitlines()] == [["passed", "none"], ["ended", "two"]]
    assert said.endswith("with the session: begun\n")
    assert alive(int(step)) == alive(int(left)) == []


@pytest.mark.parametrize("ends", ["by itself", "too late"])
def test_what_has_gone_into_a_session_of_its_own_ends_with_the_step(
    ends: str, session: ModuleType, tmp_path: Path
) -> None:
    """And nothing that was there before it."""
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    row = tmp_path / "row"
    with subprocess.Popen(sleeping) as before:
        command = [sys.executable, "-c", SLEEPER, str(row), *(["end"] if ends == "by itself" else [])]
        status = session.run_limited(command, tmp_path / "log", 60.0 if ends == "by itself" else 1.0, os.environ)
        assert before.poll() is None
        before.kill()
    assert status == (0 if ends == "by itself" else None)
    step, left = row.read_text().split()[-2:]
    assert alive(int(step)) == alive(int(left)) == []


def test_one_that_cannot_be_killed_is_left_and_said(
    session: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one that waits for a driver that hangs; the session goes on."""
    descendants = sys.modules["descendants"]
    monkeypatch.setattr(descendants, "PATIENCE", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(descendants.os, "kill", lambda pid, number: None)
        command = [sys.executable, "-c", SLEEPER, str(tmp_path / "row")]
        assert session.run_limited(command, tmp_path / "log", 1.0, os.environ) is None
    step, left = map(int, (tmp_path / "row").read_text().split()[-2:])
    said = capsys.readouterr().err
    assert said.startswith("still there, though killed: process ") and {str(step), str(left)} <= {
        *said.replace(",", "").split()
    }
    for group in (step, left):
        os.killpg(group, signal.SIGKILL)


def test_a_signal_while_a_step_is_started_ends_it_too(session: ModuleType, tmp_path: Path) -> None:
    """Before its number is known."""
    script = f"""
import os, signal, subprocess, sys
sys.path.insert(0, {str(BENCHMARKS)!r})
import gpu_session, usage
popen = subprocess.Popen
def starting(*given, **more):
    made = popen(*given, **more)
    print(made.pid, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    return made
gpu_session.subprocess.Popen = starting
command = [sys.executable, "-c", "import time; time.sleep(600)"]
log = gpu_session.Path({str(tmp_path / "log")!r})
usage.run(lambda: gpu_session.run_limited(command, log, 60.0, os.environ))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 143, done.stderr
    assert alive(int(done.stdout)) == []
