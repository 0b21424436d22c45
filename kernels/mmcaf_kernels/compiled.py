"""Ahead-of-time compilation of launches: no GPU is needed, only the compiler that Triton brings."""

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .cubin import Argument
from .launch import OPTIONS, Launch
from .targets import TARGETS

_TYPES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "i1",
}
_ALIGNED = [["tt.divisibility", 16]]
_IN_PTX = {"i32": "u32", "i64": "u64", "fp32": "f32"}
SCRATCH = ("global_scratch", "profile_scratch")
"""Pointers that Triton (from 3.4) appends to the arguments of every kernel; null where it needs no such memory."""


@dataclass(frozen=True)
class Binary:
    """One kernel compiled for one target; memory in bytes, registers and spills per thread.

    signature: the arguments in order, without `scratch`, whose bytes per program follow by name. fixed: what was
    compiled in, and what an argument must be because the compiler has used it (1, or None for an absent tensor).
    """

    kernel: str
    target: str
    cubin: bytes
    registers: int
    shared_memory: int
    spills: int
    signature: tuple[Argument, ...] = ()
    fixed: dict[str, Any] = field(default_factory=dict)
    scratch: dict[str, int] = field(default_factory=dict)


def compile_launch(launch: Launch, target: str) -> Binary:
    """Compile one launch, whose tensors may be on the meta device, for one of TARGETS.

    Raises:
        ValueError: no such target.
        RuntimeError: the interpreter was chosen when Triton was first imported, or the compiler refused.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if target not in TARGETS:
        raise ValueError(f"target is {target!r}; expected one of {', '.join(TARGETS)}")
    if not isinstance(launch.kernel, triton.runtime.jit.JITFunction):
        raise RuntimeError("Triton was imported with TRITON_INTERPRET=1; compiling needs a process without it")
    signature, constants, attributes = _specialise(launch)
    source = ASTSource(launch.kernel, signature, constants, attributes)
    gpu = GPUTarget("cuda", int(target.removeprefix("sm_")), 32)
    made = triton.compile(source, target=gpu, options={"num_warps": launch.warps, **OPTIONS})
    registers, spills = _resources(made.asm["cubin"])
    arguments = tuple(
        Argument(name, kind, (index,) in attributes)
        for index, (name, kind) in enumerate(signature.items())
        if kind != "constexpr"
    )
    _check_parameters(made.asm["ptx"], arguments)
    return Binary(
        kernel=made.metadata.name,
        target=target,
        cubin=made.asm["cubin"],
        registers=registers,
        shared_memory=made.metadata.shared,
        spills=spills,
        signature=arguments,
        fixed=constants,
        scratch={name: getattr(made.metadata, f"{name}_size") for name in SCRATCH},
    )


def _check_parameters(ptx: str, arguments: tuple[Argument, ...]) -> None:
    """What the compiled kernel takes must be these arguments and the scratch pointers."""
    entry = re.search(r"\.entry\s+\w+\((.*?)\)", ptx, re.DOTALL)
    found = re.findall(r"\.param\s+\.(\w+)", entry[1]) if entry is not None else []
    expected = [_IN_PTX.get(argument.type, "u64") for argument in arguments] + ["u64"] * len(SCRATCH)
    if found != expected:
        raise RuntimeError(f"Triton compiled a kernel with parameters {found}; expected {expected}")


def _specialise(launch: Launch) -> tuple[dict[str, str], dict[str, Any], dict[tuple[int, ...], Any]]:
    """What Triton's own launcher derives from arguments: their types, and what is divisible by 16."""
    signature: dict[str, str] = {}
    constants: dict[str, Any] = dict(launch.constants)
    attributes: dict[tuple[int, ...], Any] = {}
    for index, name in enumerate(launch.kernel.arg_names):
        if name in launch.constants:
            signature[name] = "constexpr"
            continue
        value = launch.arguments[name]
        if value is None or (type(value) is int and value == 1):
            signature[name] = "constexpr"
            constants[name] = value
        elif isinstance(value, Tensor):
            signature[name] = "*" + _TYPES[value.dtype]
            attributes[(index,)] = _ALIGNED
        elif type(value) is int:
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            if value % 16 == 0:
                attributes[(index,)] = _ALIGNED
        else:
            signature[name] = "fp32"
    return signature, constants, attributes


def _resources(cubin: bytes) -> tuple[int, int]:
    """(registers, bytes of stack) per thread, read from the binary; the kernels use a stack only to spill."""
    from triton.knobs import nvidia

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        command = [nvidia.cuobjdump.path, "-res-usage", str(file)]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    found = re.search(r"REG:(\d+) STACK:(\d+)", done.stdout)
    if done.returncode or found is None:
        raise RuntimeError(f"cuobjdump found no resources in the binary: {done.stderr.strip() or done.stdout.strip()}")
    return int(found[1]), int(found[2])
