"""What the driver tells of the first GPU while it works: clocks, power, temperature; empty where it does not tell."""

import ctypes
from collections.abc import Callable
from typing import Any

_CLOCKS = {"sm_mhz": 1, "memory_mhz": 2}
"""NVML's numbers of its clocks."""
_NOTHING = {**dict.fromkeys(_CLOCKS, ""), "power_w": "", "celsius": ""}


def card_state(cuda: str = "libcuda.so.1", nvml: str = "libnvidia-ml.so.1") -> Callable[[], dict[str, str]]:
    """What asks the driver for the state of the first visible GPU, in the same fields always; ask while it works."""
    try:
        card, library = _found(ctypes.CDLL(cuda), ctypes.CDLL(nvml))
    except (OSError, AttributeError, LookupError):
        return _NOTHING.copy

    def told(function: str, *which: int) -> str:
        found = ctypes.c_uint()
        try:
            failed = getattr(library, function)(card, *which, ctypes.byref(found))
        except AttributeError:
            return ""
        return "" if failed else str(found.value)

    def state() -> dict[str, str]:
        power = told("nvmlDeviceGetPowerUsage")
        return {
            **{name: told("nvmlDeviceGetClockInfo", number) for name, number in _CLOCKS.items()},
            "power_w": power and f"{int(power) / 1e3:.0f}",
            "celsius": told("nvmlDeviceGetTemperature", 0),
        }

    return state


def _found(cuda: Any, nvml: Any) -> tuple[ctypes.c_void_p, Any]:
    """NVML's handle of the GPU that CUDA counts as the first, by its place on the bus; raises LookupError."""
    device, bus, card = ctypes.c_int(), ctypes.create_string_buffer(64), ctypes.c_void_p()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        raise LookupError("no GPU")
    if cuda.cuDeviceGetPCIBusId(bus, len(bus), device):
        raise LookupError("no place on the bus")
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByPciBusId_v2(bus.value, ctypes.byref(card)):
        raise LookupError("NVML does not know it")
    return card, nvml
