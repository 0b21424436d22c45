"""What the machine draws while windows are run: RAPL of the processor on Linux, NVML of an NVIDIA GPU.

Linux kernel, Documentation/power/powercap/powercap.rst: energy_uj counts microjoules and wraps at max_energy_range_uj.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

from ..machine.gpu import Gpu, energy_used, first_gpu
from ..session.session import Session
from .report import Energy

POWERCAP = Path("/sys/class/powercap")
SECONDS = 1.0
"""At least so long, as counters move every millisecond or slower."""


def measure_energy(
    session: Session, window: Mapping[str, NDArray[Any]], powercap: Path = POWERCAP
) -> tuple[Energy | None, str]:
    """What windows of a session cost, one after another for a second, and in words why nothing was measured.

    All that the counted part of the machine draws is counted, also what it would draw idle.
    """
    if session.device == "CPU":
        read, source, why = _rapl(powercap)
    else:
        read, source, why = _nvml(first_gpu())
    if read is None:
        return None, why
    session.run(window)
    windows, before, started = 0, read(), perf_counter()
    while (seconds := perf_counter() - started) < SECONDS:
        session.run(window)
        windows += 1
    joules = read() - before
    if joules <= 0:
        return None, f"Energy was not measured: the counter {source} did not rise."
    return Energy(joules / windows, joules / seconds, source), ""


def _rapl(powercap: Path) -> tuple[Callable[[], float] | None, str, str]:
    """Reads joules of all processor packages since the first reading."""
    zones = sorted(zone for zone in powercap.glob("*-rapl:[0-9]*") if zone.name.count(":") == 1)
    zones = [zone for zone in zones if _text(zone / "name").startswith("package")]
    if not zones:
        return None, "", "Energy was not measured: this machine shows no RAPL counters of its processor."
    try:
        ranges = [int((zone / "max_energy_range_uj").read_text()) for zone in zones]
        last = [int((zone / "energy_uj").read_text()) for zone in zones]
    except (OSError, ValueError):
        reason = "Energy was not measured: RAPL may be read by the administrator only. To allow it until the next start"
        return None, "", f"{reason}: sudo chmod a+r {powercap}/*/energy_uj"
    total = 0

    def joules() -> float:
        nonlocal total
        for at, zone in enumerate(zones):
            now = int((zone / "energy_uj").read_text())
            total += (now - last[at]) % ranges[at]
            last[at] = now
        return total / 1e6

    return joules, f"RAPL, {len(zones)} processor package{'s' if len(zones) > 1 else ''}", ""


def _nvml(gpu: Gpu | None) -> tuple[Callable[[], float] | None, str, str]:
    """Reads joules that the GPU used since its driver was loaded."""
    if gpu is None or energy_used(gpu) is None:
        return None, "", "Energy was not measured: NVML does not tell this GPU's."
    return (lambda: energy_used(gpu) or 0.0), f"NVML, {gpu.name}", ""


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
