"""CUDA sources compiled as C++ and run on the CPU, under the compiler's sanitizers: `cuda_on_host/emulate.cpp`.

Needs g++ with its sanitizers, and neither a GPU nor anything of CUDA.
"""

import ctypes
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from counterparts import need
from shared import Shared

Check = Literal["memory", "races"]
FLAGS: dict[Check, tuple[str, ...]] = {
    "memory": ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-DMMCAF_ADDRESSES"),
    "races": ("-fsanitize=thread",),
}
ORDER: dict[Check, str] = {"memory": "random", "races": "parallel"}
FOLDER = Path(__file__).parent / "cuda_on_host"
SOURCES = {source.stem: source for source in sorted(Path(__file__).parents[2].glob("kernels/cuda/*.cu"))}
ALIGNMENT = 16


class EmulationError(Exception):
    """What the emulated kernel did wrong, in the words of the emulator or of a sanitizer."""


@dataclass(frozen=True)
class Call:
    """One launch: the arguments as ctypes values, pointers among them to the tensors, which lie on the CPU."""

    kernel: str
    blocks: int
    threads: int
    shared: int  # bytes
    arguments: Sequence[Any]
    tensors: Sequence[Tensor]


@dataclass(frozen=True)
class Emulator:
    """The compiled program; `run` starts a kernel of it."""

    program: Path
    check: Check

    def run(self, call: Call, seed: int = 0) -> None:
        """Change the call's tensors as the kernel does.

        Args:
            call: what is launched.
            seed: of the order in which blocks run, and threads between two barriers.

        Raises:
            EmulationError: a sanitizer or the emulator found a fault, or the arguments are not those of the kernel.
        """
        buffers: list[Tensor] = []
        words = [
            _word(value, list(call.tensors), buffers, call.arguments[:k]) for k, value in enumerate(call.arguments)
        ]
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder, "data")
            data.write_bytes(b"".join(_bytes(tensor) for tensor in buffers))
            numbers = (seed, call.kernel, call.blocks, call.threads, call.shared)
            command = [*_prefix(self.check), self.program, ORDER[self.check], *map(str, numbers), data, *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                raise EmulationError(f"exit status {done.returncode}: {done.stderr}")
            made = data.read_bytes()
        for tensor in buffers:
            size = tensor.numel() * tensor.element_size()
            tensor.copy_(torch.frombuffer(bytearray(made[:size]), dtype=tensor.dtype).reshape(tensor.shape))
            made = made[size:]


class Compiler:
    """Makes emulators; what they have in common is compiled once for each check, into a folder of this run."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def __call__(self, source: Path, folder: Path, check: Check, wanted: Callable[[str], bool] = bool) -> Emulator:
        """Compile a source's kernels, those whose name is wanted, into a folder.

        Without g++, or where its programs do not run with this check's sanitizers, the test is skipped.
        """
        _prefix(check)
        common = self._shared(
            f"emulator-{check}", lambda made: _compiled("emulate.cpp", made / "emulate.o", check, "-c")
        )
        names = [f"KERNEL({name})" for name in kernels_of(source) if wanted(name)]
        defined = (f'-DMMCAF_SOURCE="{source}"', f"-DMMCAF_KERNELS={' '.join(names)}")
        return Emulator(
            _compiled("kernels.cpp", folder / f"{source.stem}-{check}", check, *defined, str(common)), check
        )


def _compiled(file: str, made: Path, check: Check, *more: str) -> Path:
    flags = ["-std=c++20", "-O0", "-g1", "-pthread", "-fno-strict-aliasing", *FLAGS[check], f"-I{FOLDER}"]
    command = [need("g++"), *flags, FOLDER / file, *more, "-o", made]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{file} does not compile with {more}: {done.stderr}"
    return made


def kernels_of(source: Path) -> list[str]:
    """The names of a source's kernels, those that macros make included."""
    command = [need("g++"), "-std=c++20", "-x", "c++", "-E", "-P", "-DMMCAF_NAMES", f"-I{FOLDER}", source]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.findall(r'extern\s*"C"\s*__global__\s+void\s+(\w+)', text)


def _prefix(check: Check) -> tuple[str, ...]:
    found = how_it_runs(check)
    return pytest.skip(found) if isinstance(found, str) else found


@cache
def how_it_runs(check: Check) -> tuple[str, ...] | str:
    """What stands before such a program's name, or why none runs.

    The thread sanitizer maps its memory at fixed places, which more random addresses than it knows may overlap; without
    random ones it starts.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "nothing.cpp"), Path(folder, "nothing")
        source.write_text("int main() {}\n", encoding="utf-8")
        command = [need("g++"), *FLAGS[check], source, "-o", program]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.returncode:
            for prefix in ((), ("setarch", platform.machine(), "-R")):
                if prefix and shutil.which(prefix[0]) is None:
                    continue
                done = subprocess.run([*prefix, program], capture_output=True, text=True, check=False)
                if not done.returncode:
                    return prefix
    said = (done.stderr.strip().splitlines() or ["no message"])[0]
    return f"{FLAGS[check][0]} does not work with g++ ({said}); tests/counterparts/install brings what it needs"


def _word(value: Any, tensors: list[Tensor], buffers: list[Tensor], before: Sequence[Any]) -> str:
    if not isinstance(value, ctypes.c_void_p):
        size = ctypes.sizeof(value)
        return f"number:{size}:{int.from_bytes(bytes(value), 'little')}"
    if value.value is None:
        return "null"
    for index, earlier in enumerate(before):
        if isinstance(earlier, ctypes.c_void_p) and earlier.value == value.value:
            return f"again:{index}"
    [tensor] = [one for one in tensors if one.numel() and one.data_ptr() == value.value]
    buffers.append(tensor)
    return f"buffer:{tensor.numel() * tensor.element_size()}:{value.value % ALIGNMENT}"


def _bytes(tensor: Tensor) -> bytes:
    assert tensor.is_contiguous() and tensor.device.type == "cpu"
    return ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())
