"""The NVIDIA GPUs of this machine, asked of the driver itself: no package is needed, and absence is an answer.

NVIDIA, CUDA Driver API reference (cuInit, cuDeviceGet...) and NVML API reference (nvmlSystemGetDriverVersion,
nvmlDeviceGetMemoryInfo, nvmlDeviceGetTotalEnergyConsumption); both libraries come with the driver.
"""

import ctypes
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import Remedy, printable
from .compute_capability import OLDEST_TARGET, Target

OLDEST_CUDA = 13
"""The major CUDA version that a driver must support: that of the packages which `pip install` brings."""

DRIVER_REMEDY = Remedy(
    "Install NVIDIA driver 580 or newer, from https://www.nvidia.com/drivers or, on Ubuntu",
    command="sudo ubuntu-drivers install",
)

_log = logging.getLogger(__name__)

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...
_WORDS = {
    34: "the driver library is a stub, as in a build image",
    100: "the driver sees no GPU ($CUDA_VISIBLE_DEVICES may hide it)",
    803: "the driver library and the driver in the kernel are of different versions; start the machine again",
    804: "this GPU does not support the driver's compatibility package",
    999: "the driver gave no reason; start the machine again",
}


@dataclass(frozen=True)
class Gpu:
    """One GPU: index among the visible ones, name, compute capability, memory in bytes, PCI bus id.

    driver: its version, "580.65.06", or "unknown"; cuda: the newest CUDA version that it supports.
    """

    index: int
    name: str
    target: Target
    memory: int
    bus: str
    driver: str
    cuda: tuple[int, int]

    @property
    def compute_capability(self) -> str:
        """As NVIDIA writes it: "8.6"."""
        return f"{self.target.major}.{self.target.minor}"

    @property
    def unusable(self) -> str | None:
        """Why what is built for CUDA 13 cannot run on it, or None; `remedies` is what helps."""
        if self.target < OLDEST_TARGET:
            oldest = f"{OLDEST_TARGET.major}.{OLDEST_TARGET.minor}"
            return f"compute capability {self.compute_capability}, and CUDA {OLDEST_CUDA} begins with {oldest}"
        if self.cuda[0] >= OLDEST_CUDA:
            return None
        found = ".".join(map(str, self.cuda))
        return f"driver {self.driver} supports CUDA {found}, and {OLDEST_CUDA}.0 is needed"

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """What would make it usable; nothing where it is, or where nothing does."""
        return (DRIVER_REMEDY,) if self.unusable and self.target >= OLDEST_TARGET else ()


@dataclass(frozen=True)
class Gpus:
    """The visible GPUs; `reason` says in words why there is none, or is empty.

    present: whether an NVIDIA card is in the machine, usable or not, as far as the system says.
    remedies: what would help, where that is known.
    """

    found: tuple[Gpu, ...]
    reason: str
    present: bool
    remedies: tuple[Remedy, ...] = ()


@cache
def find_gpus() -> Gpus:
    """The GPUs that CUDA would use; asked once, since a driver does not change under a running process."""
    return ask_driver(_library("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"), _driver_version())


def first_gpu() -> Gpu | None:
    """The GPU that is used: the first that $CUDA_VISIBLE_DEVICES leaves visible."""
    return next(iter(find_gpus().found), None)


def ask_driver(library: Any, driver: str, on_bus: Callable[[], bool] | None = None) -> Gpus:
    """As `find_gpus`, from CUDA's driver library, or None if there is none."""
    card = (on_bus or _card_on_bus)()
    if library is None:
        if card:
            reason = "an NVIDIA card is in this machine, but no NVIDIA driver (libcuda)"
            return Gpus((), reason, True, (DRIVER_REMEDY,))
        return Gpus((), "no NVIDIA driver was found (libcuda)", False)
    try:
        if code := library.cuInit(0):
            return Gpus((), f"the NVIDIA driver cannot start: {_WORDS.get(code, f'error {code}')}", card)
        version = _number(library.cuDriverGetVersion)
        cuda = (version // 1000, version % 1000 // 10)
        count = _number(library.cuDeviceGetCount)
        found = tuple(_answering(library, count, driver, cuda))
    except (OSError, AttributeError, ValueError) as failure:
        return Gpus((), f"the NVIDIA driver does not answer: {failure}", card)
    return Gpus(found, "" if found else _WORDS[100], card or bool(found))


def free_memory(gpu: Gpu) -> int | None:
    """Free bytes on a GPU at this moment, without starting CUDA; None if NVML does not say."""
    sizes = (ctypes.c_ulonglong * 3)()  # nvmlMemory_t: total, free, used
    return int(sizes[1]) if _asked("nvmlDeviceGetMemoryInfo", gpu, sizes) else None


def energy_used(gpu: Gpu) -> float | None:
    """Joules that a GPU used since its driver was loaded; None if NVML does not say, as before Volta."""
    millijoules = ctypes.c_ulonglong()
    return millijoules.value / 1e3 if _asked("nvmlDeviceGetTotalEnergyConsumption", gpu, millijoules) else None


def _asked(name: str, gpu: Gpu, answer: Any) -> bool:
    """Whether NVML wrote its answer about a GPU."""
    nvml = nvml_library()
    if nvml is None:
        return False
    try:
        handle = ctypes.c_void_p()
        _accept(nvml.nvmlDeviceGetHandleByPciBusId_v2(gpu.bus.encode(), ctypes.byref(handle)))
        _accept(getattr(nvml, name)(handle, ctypes.byref(answer)))
    except (OSError, AttributeError, ValueError):
        return False
    return True


def _answering(library: Any, count: int, driver: str, cuda: tuple[int, int]) -> Iterator[Gpu]:
    """The first GPU, which is the one that is used, and those of the others that answer.

    Raises:
        OSError, ValueError: the first does not.
    """
    for index in range(count):
        try:
            yield _gpu(library, index, driver, cuda)
        except (OSError, ValueError) as failure:
            if not index:
                raise
            _log.warning("GPU %d does not answer: %s", index, failure)


def _gpu(library: Any, index: int, driver: str, cuda: tuple[int, int]) -> Gpu:
    device = _number(lambda out: library.cuDeviceGet(out, index))
    name, bus = ctypes.create_string_buffer(256), ctypes.create_string_buffer(64)
    _accept(library.cuDeviceGetName(name, len(name), device))
    _accept(library.cuDeviceGetPCIBusId(bus, len(bus), device))
    major = _number(lambda out: library.cuDeviceGetAttribute(out, _MAJOR, device))
    minor = _number(lambda out: library.cuDeviceGetAttribute(out, _MINOR, device))
    memory = ctypes.c_size_t()
    _accept(library.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
    shown = printable(name.value.decode(errors="replace"))
    return Gpu(index, shown, Target(major, minor), memory.value, bus.value.decode(), driver, cuda)


def _number(ask: Callable[[Any], int]) -> int:
    value = ctypes.c_int()
    _accept(ask(ctypes.byref(value)))
    return value.value


def _accept(code: int) -> None:
    if code:
        raise ValueError(f"error {code}")


def _driver_version() -> str:
    nvml = nvml_library()
    if nvml is None:
        return "unknown"
    words = ctypes.create_string_buffer(96)
    try:
        _accept(nvml.nvmlSystemGetDriverVersion(words, len(words)))
    except (OSError, AttributeError, ValueError):
        return "unknown"
    return words.value.decode(errors="replace")


@cache
def nvml_library() -> Any:
    """NVML, started once for the process; None without it."""
    library = _library("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    try:
        return None if library is None or library.nvmlInit_v2() else library
    except AttributeError:
        return None


def _library(name: str) -> Any:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _card_on_bus() -> bool:
    """Whether an NVIDIA display or 3D controller is on the PCI bus; only Linux says (PCI-SIG vendor 0x10de)."""
    try:
        devices = list(Path("/sys/bus/pci/devices").iterdir())
        return any(
            (device / "vendor").read_text().strip() == "0x10de" and (device / "class").read_text().startswith("0x03")
            for device in devices
        )
    except OSError:
        return False
