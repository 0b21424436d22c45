"""What a program asked of the system, as strace saw it: each call with its data, and when it began and ended."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from counterparts import need

CALLS = (
    "openat,write,pwrite64,pwritev,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,"
    "rmdir,link,linkat,sendto,sendmsg,writev"
)
_LINE = re.compile(r"^(\d+) +(?:(\w+)\(|<\.\.\. (\w+) resumed>)(.*)$")
_RESULT = re.compile(r"^(.*)\) += (.*)$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"^(-?\d+|AT_FDCWD)<((?:->|[^>])*)>")


@dataclass
class Call:
    """One call that was made well.

    target: the path or socket of its descriptor; strings: its paths or its data; numbers: whole numbers behind them.
    began, ended: places in the order of all that was seen.
    """

    name: str
    target: str
    strings: tuple[bytes, ...]
    numbers: tuple[int, ...]
    result: int
    began: int
    ended: int
    flags: str = field(default="", repr=False)

    def paths(self) -> list[str]:
        """What its strings name."""
        return [str(Path(self.target, os.fsdecode(one))) for one in self.strings if b"\0" not in one]


@contextmanager
def traced(command: Sequence[str], trace: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a program under strace; it ends with the block."""
    words = [need("strace"), "-f", "-yy", "-xx", "-s", "300000", "-e", f"trace={CALLS}", "-o", str(trace), *command]
    running = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        assert running.stdin is not None
        running.stdin.close()
        ends = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < ends:
            time.sleep(0.02)
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
        running.wait()
        assert running.stdout is not None
        running.stdout.close()


def read_calls(trace: Path) -> list[Call]:
    """Those that succeeded, in the order in which they ended."""
    calls: list[Call] = []
    open_calls: dict[str, tuple[str, int, str]] = {}
    for at, line in enumerate(trace.read_text(encoding="ascii", errors="replace").splitlines()):
        found = _LINE.match(line)
        if found is None:
            continue
        pid, name, resumed, rest = found.groups()
        if name is not None and rest.endswith("<unfinished ...>"):
            open_calls[pid] = (name, at, rest.removesuffix("<unfinished ...>"))
            continue
        began, arguments = at, rest
        if resumed is not None:
            name, began, first = open_calls.pop(pid)
            arguments = first + rest
        made = _RESULT.match(arguments)
        if made is not None and not made[2].startswith(("-1", "?")):
            calls.append(_call(name, made[1], made[2], began, at))
    return calls


def _call(name: str, text: str, ended: str, began: int, at: int) -> Call:
    descriptor = _DESCRIPTOR.match(text)
    target = "" if descriptor is None else _plain(descriptor[2])
    strings = tuple(bytes.fromhex(one.replace("\\x", "")) for one in _STRING.findall(text))
    rest = _STRING.sub("", text if descriptor is None else text[descriptor.end() :])
    numbers = tuple(int(one) for one in re.findall(r"(?<![\w.:-])\d+(?![\w.:])", rest))
    return Call(name, target, strings, numbers, int(ended.split("<")[0].split()[0], 0), began, at, rest)


def _plain(path: str) -> str:
    """strace writes some characters of a path as it writes data."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), path)
