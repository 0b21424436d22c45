"""A process that is killed at a chosen moment: a child of this one, which has imported everything already.

Moments are calls of the system, found by strace in a run that nobody ends: the N-th `write`, say, of the main thread.
strace then sends the signal at exactly that call. Others are points in time, at which this process sends it.
"""

import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
CALLS = (
    "write", "writev", "pwrite64", "ftruncate", "copy_file_range", "sendfile", "fsync", "rename", "renameat",
    "renameat2", "mkdir", "unlink", "unlinkat", "rmdir", "link", "symlink", "chmod", "fchmod",
)  # fmt: skip
"""What changes files or folders."""

SECONDS = 300
"""After so many, a child hangs."""

_LINE = re.compile(r"^(\d+) +(?:(\w+)\(|<\.\.\. (\w+) resumed>)(.*)$")


@dataclass(frozen=True)
class Moment:
    """When a signal comes: at the `count`-th `call` of the main thread, or after `seconds`."""

    signal: str
    call: str = ""
    count: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        where = f"{self.call} {self.count}" if self.call else f"{self.seconds:.3f} s"
        return f"{self.signal} at {where}"


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    code: its exit code, or minus the signal's number; hit: whether the signal reached it; said: its stdout and stderr.
    """

    code: int
    hit: bool
    seconds: float
    said: str


@dataclass(frozen=True)
class Recorded:
    """The calls of a run that change something below a folder, in order: of each its name and its number among those
    of this name; and how the run ended.
    """

    calls: tuple[tuple[str, int], ...]
    ended: Ended

    def between(self, signal_name: str, draw: float) -> Moment:
        """After the first of them and not after the last, the one at `draw`, 0 to 1, on the way."""
        inner = self.calls[1:]
        call, count = inner[min(int(draw * len(inner)), len(inner) - 1)]
        return Moment(signal_name, call, count)

    def each(self, call: str) -> Iterator[Moment]:
        """At every call of this name in order, each signal in turn."""
        for name, count in self.calls:
            if name == call:
                yield from (Moment(signal_name, call, count) for signal_name in SIGNALS)


def run(work: Callable[[], int | None], log: Path, moment: Moment | None = None) -> Ended:
    """Run `work` in a child, to its end or to the moment; what it prints goes to the file `log`."""
    options: list[str] = []
    if moment is not None and moment.call:
        options = ["-e", f"trace={moment.call}", "-e"]
        options += [f"inject={moment.call}:signal={moment.signal}:when={moment.count}"]
    trace = log.with_suffix(".strace")
    trace.unlink(missing_ok=True)
    started = time.monotonic()
    with _child(work, log, [*options, "-o", str(trace)] if options else []) as (pid, tracer):
        if moment is not None and not moment.call:
            time.sleep(moment.seconds)
            os.kill(pid, getattr(signal, moment.signal))
        status = _wait(pid, started)
        if tracer is not None:
            tracer.wait()
    code = os.waitstatus_to_exitcode(status)
    told = trace.read_text(encoding="utf-8", errors="replace") if options and trace.exists() else ""
    hit = moment is not None and (code < 0 or code == 130 or f"--- {moment.signal} " in told)
    return Ended(code, hit, time.monotonic() - started, log.read_text(encoding="utf-8", errors="replace"))


def start(work: Callable[[], int | None], log: Path) -> Callable[[], Ended]:
    """Begin `work` in a child; what is returned waits for its end."""
    started = time.monotonic()
    pid = _fork(work, log, stop=False)

    def wait() -> Ended:
        code = os.waitstatus_to_exitcode(_wait(pid, started))
        return Ended(code, False, time.monotonic() - started, log.read_text(encoding="utf-8", errors="replace"))

    return wait


def record(work: Callable[[], int | None], log: Path, folder: Path) -> Recorded:
    """Run `work` to its end and note the calls of its main thread that change something below `folder`."""
    trace = log.with_suffix(".strace")
    started = time.monotonic()
    with _child(work, log, ["-y", "-e", f"trace={','.join(CALLS)}", "-o", str(trace)]) as (pid, tracer):
        status = _wait(pid, started)
        assert tracer is not None
        tracer.wait()
    calls, counts = [], Counter[str]()
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _LINE.match(line)
        if found and int(found[1]) == pid and found[2]:
            counts[found[2]] += 1
            if str(folder) in found[4]:
                calls.append((found[2], counts[found[2]]))
    ended = Ended(os.waitstatus_to_exitcode(status), False, time.monotonic() - started, log.read_text(encoding="utf-8"))
    return Recorded(tuple(calls), ended)


@contextmanager
def _child(
    work: Callable[[], int | None], log: Path, options: list[str]
) -> Iterator[tuple[int, "subprocess.Popen[bytes] | None"]]:
    pid = _fork(work, log, stop=bool(options))
    tracer = None
    if options:
        os.waitpid(pid, os.WUNTRACED)
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-p", str(pid), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _until_traced(pid, tracer)
        os.kill(pid, signal.SIGCONT)
    yield pid, tracer


def _fork(work: Callable[[], int | None], log: Path, *, stop: bool) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        target = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.dup2(target, 1)
        os.dup2(target, 2)
        if stop:
            os.kill(os.getpid(), signal.SIGSTOP)
        code = work() or 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _until_traced(pid: int, tracer: "subprocess.Popen[bytes]") -> None:
    while f"TracerPid:\t{tracer.pid}\n" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8"):
        if tracer.poll() is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise OSError("strace cannot follow a process here")
        time.sleep(0.005)


def _wait(pid: int, started: float) -> int:
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        if time.monotonic() - started > SECONDS:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"a child did not end within {SECONDS} s")
        time.sleep(0.005)
