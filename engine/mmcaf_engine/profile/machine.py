"""Where a report is measured."""

import os
import platform

from ..machine.cpu import processor, usable_cores
from ..machine.gpu import first_gpu
from .report import MachineFacts


def machine_facts() -> MachineFacts:
    """This machine: system, processor, cores that this process may use, memory, and the GPU."""
    found, gpu = processor(), first_gpu()
    return MachineFacts(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=found.name,
        instructions=found.instructions,
        cores=usable_cores(),
        memory_mb=_memory_mb(),
        gpu=None if gpu is None else f"{gpu.name}, driver {gpu.driver}",
    )


def _memory_mb() -> float | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (AttributeError, ValueError, OSError):
        return None
