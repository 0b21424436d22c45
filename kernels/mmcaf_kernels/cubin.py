"""Kernels compiled ahead of time, launched through cuda-python: neither Triton nor torch is imported, or needed.

entries = read_kernels(Path("build/cubin"))
entry = choose(entries, "msdc_kernel", "fp16", "msdc stage1", capability=(8, 9))
with LoadedKernel(entry) as kernel:
    kernel.launch(entry.launch("msdc stage1").grid, {"x": address, ...}, stream)
"""

import ctypes
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

THREADS_PER_WARP = 32
ALIGNMENT = 16
USUAL_SHARED_MEMORY = 48 * 1024
"""Bytes that a program may use without asking for more (CUDA C++ Programming Guide)."""
_NUMBERS = {"i32": ctypes.c_int32, "i64": ctypes.c_int64}


@dataclass(frozen=True)
class Argument:
    """One argument as the compiled kernel takes it.

    type: "*fp16" and the like for a pointer into the device's memory, "i32", "i64" or "fp32" for a number.
    aligned: whether the kernel relies on the pointer, or the number, being a multiple of 16.
    """

    name: str
    type: str
    aligned: bool


@dataclass(frozen=True)
class KnownLaunch:
    """One of the network's launches: its grid, numbers, and the types and shapes of its tensors."""

    call: str
    step: int
    grid: tuple[int, ...]
    numbers: Mapping[str, int | float]
    tensors: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Entry:
    """One binary of kernels.json, as `python -m mmcaf_kernels.aot` writes it; memory in bytes."""

    file: Path
    sha256: str
    kernel: str
    target: str
    precision: str
    signature: tuple[Argument, ...]
    fixed: Mapping[str, Any]
    scratch: Mapping[str, int]
    warps: int
    shared_memory: int
    launches: tuple[KnownLaunch, ...]

    def launch(self, call: str, step: int | None = None) -> KnownLaunch:
        """The launch of a call such as "msdc stage1"; `step` tells apart several of one call.

        Raises:
            ValueError: there is none, or more than one.
        """
        found = [known for known in self.launches if known.call == call and step in (None, known.step)]
        if len(found) != 1:
            listed = ", ".join(f"{known.call!r} step {known.step}" for known in self.launches)
            raise ValueError(f"{self.kernel}: {len(found)} launches of {call!r}, step {step}; it has {listed}")
        return found[0]


def read_kernels(folder: Path) -> list[Entry]:
    """What kernels.json in a folder lists.

    Raises:
        ValueError: the file is not of this form; it says which part.
        OSError: it cannot be read.
    """
    try:
        listed = json.loads((folder / "kernels.json").read_text(encoding="utf-8"))
        return [_entry(folder, fields) for fields in listed]
    except (KeyError, TypeError, json.JSONDecodeError) as failure:
        raise ValueError(
            f"{folder / 'kernels.json'}: not written by this version of python -m mmcaf_kernels.aot ({failure!r}); "
            f"compile again: python -m mmcaf_kernels.aot --out {folder}"
        ) from None


def choose(entries: Iterable[Entry], kernel: str, precision: str, call: str, *, capability: tuple[int, int]) -> Entry:
    """The binary for a GPU's compute capability: of its major version, and the newest that is not newer.

    Raises:
        ValueError: there is none; the message lists the targets that there are.
    """
    named = [entry for entry in entries if (entry.kernel, entry.precision) == (kernel, precision)]
    named = [entry for entry in named if any(known.call == call for known in entry.launches)]
    fitting = [
        entry for entry in named if _number(entry) // 10 == capability[0] and _number(entry) % 10 <= capability[1]
    ]
    if not fitting:
        targets = ", ".join(sorted({entry.target for entry in named})) or "no target"
        raise ValueError(
            f"{kernel} in {precision} for {call!r} was compiled for {targets}; compute capability "
            f"{capability[0]}.{capability[1]} is needed (python -m mmcaf_kernels.aot --target ...)"
        )
    return max(fitting, key=_number)


class LoadedKernel:
    """A binary on a GPU; a context manager. `driver` is cuda.bindings.driver unless another is given.

    Raises:
        RuntimeError: cuda-python is not installed, or the driver refuses a call.
        ValueError: the file is not the one that was listed, or needs scratch memory.
    """

    def __init__(self, entry: Entry, device: int = 0, *, driver: Any = None) -> None:
        self.entry = entry
        image = entry.file.read_bytes()
        digest = hashlib.sha256(image).hexdigest()
        if digest != entry.sha256:
            raise ValueError(f"{entry.file}: SHA-256 {digest[:16]}..., kernels.json has {entry.sha256[:16]}...")
        if any(entry.scratch.values()):
            raise ValueError(f"{entry.kernel}: it needs scratch memory ({dict(entry.scratch)}); none is provided here")
        self._driver = _cuda_python() if driver is None else driver
        self._call("cuInit", 0)
        self._device = self._call("cuDeviceGet", device)
        self._call("cuCtxSetCurrent", self._call("cuDevicePrimaryCtxRetain", self._device))
        try:
            self._module = self._call("cuModuleLoadData", image)
            self._function = self._call("cuModuleGetFunction", self._module, entry.kernel.encode())
            if entry.shared_memory > USUAL_SHARED_MEMORY:
                most = self._driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                self._call("cuFuncSetAttribute", self._function, most, entry.shared_memory)
        except RuntimeError:
            self._call("cuDevicePrimaryCtxRelease", self._device)
            raise

    def launch(self, grid: Sequence[int], values: Mapping[str, int | float | None], stream: int = 0) -> None:
        """Start the kernel on a stream (0: the default one); it runs on while this returns.

        Args:
            grid: programs along up to three axes.
            values: argument -> device address or number. Those that were compiled in may be left out.

        Raises:
            ValueError: an argument is missing, unknown, misaligned, or not what was compiled in.
            RuntimeError: the driver refuses it.
        """
        packed = pack(self.entry, values)
        addresses = (ctypes.c_void_p * len(packed))(*(ctypes.addressof(value) for value in packed))
        if not 1 <= len(grid) <= 3 or min(grid) < 1:
            raise ValueError(f"{self.entry.kernel}: grid is {list(grid)}; expected one to three positive numbers")
        blocks = (*grid, 1, 1)[:3]
        threads = THREADS_PER_WARP * self.entry.warps
        shared = self.entry.shared_memory
        at = ctypes.addressof(addresses)
        self._call("cuLaunchKernel", self._function, *blocks, threads, 1, 1, shared, stream, at, 0)

    def close(self) -> None:
        """Unload it; closing twice is harmless. Launches must have ended."""
        if self._module is not None:
            module, self._module = self._module, None
            self._call("cuModuleUnload", module)
            self._call("cuDevicePrimaryCtxRelease", self._device)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, name: str, *arguments: Any) -> Any:
        """The one result of a driver's function, if it has one."""
        status, *results = getattr(self._driver, name)(*arguments)
        if int(status):
            raise RuntimeError(f"{self.entry.kernel} ({self.entry.target}): {name} failed with {status!r}")
        return results[0] if results else None


def pack(entry: Entry, values: Mapping[str, int | float | None]) -> list[Any]:
    """The kernel's arguments as ctypes values, in order, with null for the scratch pointers that follow them.

    Raises:
        ValueError: as `LoadedKernel.launch`.
    """
    wrong = [name for name, value in values.items() if name in entry.fixed and value != entry.fixed[name]]
    for name in wrong:
        raise ValueError(f"{entry.kernel}: {name} is {values[name]}; it was compiled for {entry.fixed[name]}")
    expected = {argument.name for argument in entry.signature}
    given = set(values) - set(entry.fixed)
    if given != expected:
        missing, unknown = sorted(expected - given), sorted(given - expected)
        raise ValueError(f"{entry.kernel}: arguments missing: {missing}; unknown: {unknown}")
    return [_packed(entry, argument, values[argument.name]) for argument in entry.signature] + [
        ctypes.c_void_p(0) for _ in entry.scratch
    ]


def _packed(entry: Entry, argument: Argument, value: Any) -> Any:
    shown = f"{entry.kernel}: {argument.name} is {value!r}"
    if argument.type == "fp32":
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"{shown}; expected a number")
        return ctypes.c_float(value)
    if not isinstance(value, int) or isinstance(value, bool):
        kind = "a device address" if argument.type.startswith("*") else "a whole number"
        raise ValueError(f"{shown}; expected {kind}")
    if argument.aligned and value % ALIGNMENT:
        raise ValueError(f"{shown}; the kernel was compiled for multiples of {ALIGNMENT}")
    if argument.type.startswith("*"):
        return ctypes.c_void_p(value)
    number: Any = _NUMBERS[argument.type](value)
    if number.value != value:
        raise ValueError(f"{shown}, which does not fit {argument.type}")
    return number


def _entry(folder: Path, fields: Mapping[str, Any]) -> Entry:
    plain = ("sha256", "kernel", "target", "precision", "fixed", "scratch", "warps", "shared_memory")
    return Entry(
        file=folder / fields["file"],
        signature=tuple(Argument(**argument) for argument in fields["signature"]),
        launches=tuple(KnownLaunch(**{**one, "grid": tuple(one["grid"])}) for one in fields["launches"]),
        **{name: fields[name] for name in plain},
    )


def _number(entry: Entry) -> int:
    return int(entry.target.removeprefix("sm_"))


def _cuda_python() -> Any:
    try:
        return import_module("cuda.bindings.driver")
    except ImportError as failure:
        raise RuntimeError("cuda-python is not installed: pip install 'cuda-python>=13'") from failure
