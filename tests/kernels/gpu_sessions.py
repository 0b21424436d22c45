"""A machine on which tests run benchmarks/gpu_session.py: what was prepared, stand-ins of its steps, and a clock."""

import json
import os
import struct
import sys
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kernels.scripts import BENCHMARKS, load

ROOT = BENCHMARKS.parent
TOOLS = ("compute-sanitizer", "ncu")
H200 = (9, 0)
NOTHING = SimpleNamespace(found=(), reason="no NVIDIA driver was found")


def gpus(capability: tuple[int, int]) -> Any:
    """What a machine with this GPU finds."""
    target = SimpleNamespace(major=capability[0], minor=capability[1])
    return SimpleNamespace(found=(SimpleNamespace(target=target),), reason="")


def at_an_h200(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
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


def alive(group: int) -> list[str]:
    """Commands of a process group, but of those that ended and that nobody has asked for."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = file.read_text().rpartition(")")
            state, _, of = rest.split()[:3]
            found += [name] if int(of) == group and state != "Z" else []
    return found
