"""What `aot` does: binaries of every Triton kernel at the networks' shapes, and what launching them takes."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .compiled import Binary, compile_launch
from .launch import Launch
from .network import calls
from .targets import SHARED_MEMORY

_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
HEADER = f"{'target':8}{'kernel':28}{'precision':11}{'warps':>6}{'registers':>10}{'shared':>8}{'spills':>8}  shapes\n"


@dataclass(frozen=True)
class Job:
    """One binary to make, and the network's launches of it, as kernels.json describes them."""

    launch: Launch
    precision: str
    launches: list[dict[str, Any]]


def compile_all(folder: Path, targets: Sequence[str], precisions: Sequence[str]) -> list[str]:
    """Write FOLDER/TARGET/NAME.cubin and FOLDER/kernels.json, and print a table of their resources.

    Returns:
        The kernels that spill or ask for too much shared memory, in words.
    """
    sys.stdout.write(HEADER)
    listed, wrong = [], []
    for job in jobs(precisions):
        for target in targets:
            binary = compile_launch(job.launch, target)
            listed.append(_write(folder, job, binary))
            sys.stdout.write(_row(job, binary))
            if binary.spills or binary.shared_memory > SHARED_MEMORY[target]:
                wrong.append(f"{binary.kernel} ({job.precision}) for {target}")
    (folder / "kernels.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    return wrong


def jobs(precisions: Sequence[str]) -> list[Job]:
    """The network's launches without repetition."""
    found: dict[str, Job] = {}
    for precision in precisions:
        for kernel, shape, make in calls(_TYPES[precision]):
            for step, launch in enumerate(make()):
                job = found.setdefault(_identity(launch), Job(launch, precision, []))
                job.launches.append({"call": f"{kernel} {shape}", "step": step, **_described(launch)})
    return list(found.values())


def _described(launch: Launch) -> dict[str, Any]:
    """Grid, numbers, and the types and shapes of the tensors."""
    given = launch.arguments.items()
    return {
        "grid": list(launch.grid),
        "numbers": {name: value for name, value in given if isinstance(value, int | float)},
        "tensors": {
            name: {"type": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
            for name, value in given
            if isinstance(value, Tensor)
        },
    }


def _identity(launch: Launch) -> str:
    """What decides the binary: kernel, constants, types and Triton's special cases of whole numbers."""
    kinds = {name: _kind(value) for name, value in launch.arguments.items()}
    return f"{launch.kernel.__name__} {launch.constants} {launch.warps} {kinds}"


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(value.dtype)
    if type(value) is int:
        return f"int {value == 1} {value % 16 == 0} {value >= 2**31}"
    return type(value).__name__


def _write(folder: Path, job: Job, binary: Binary) -> dict[str, Any]:
    digest = hashlib.sha256(binary.cubin).hexdigest()
    file = Path(binary.target) / f"{binary.kernel}-{digest[:16]}.cubin"
    (folder / binary.target).mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(binary.cubin)
    return {
        "file": file.as_posix(),
        "sha256": digest,
        "kernel": binary.kernel,
        "target": binary.target,
        "precision": job.precision,
        "signature": [asdict(argument) for argument in binary.signature],
        "fixed": binary.fixed,
        "scratch": binary.scratch,
        "warps": job.launch.warps,
        "registers": binary.registers,
        "shared_memory": binary.shared_memory,
        "spills": binary.spills,
        "launches": job.launches,
    }


def _row(job: Job, binary: Binary) -> str:
    return (
        f"{binary.target:8}{binary.kernel:28}{job.precision:11}{job.launch.warps:6}{binary.registers:10}"
        f"{binary.shared_memory:8}{binary.spills:8}  {', '.join(launch['call'] for launch in job.launches)}\n"
    )
