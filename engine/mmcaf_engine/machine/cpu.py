"""The processor that runs the network: what it is called and which vector instructions it has."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_VECTOR_PREFIXES = ("sse4", "avx", "amx", "fma", "f16c", "asimd", "fphp", "bf16", "i8mm", "sve", "sme")


@dataclass(frozen=True)
class Processor:
    """A processor's name, and its vector instruction sets in alphabetical order."""

    name: str
    instructions: tuple[str, ...]


@cache
def processor() -> Processor:
    """This machine's processor; Linux says its instructions, other systems only its name."""
    facts: dict[str, str] = {}
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as stream:
            for line in stream:
                key, separator, value = line.partition(":")
                if not separator:
                    break  # The cores that follow are the same.
                facts[key.strip()] = value.strip()
    except OSError:
        return Processor(platform.processor() or platform.machine(), ())
    identity = [facts.get(key, "") for key in ("model name", "cpu family", "model", "stepping", "CPU part")]
    flags = facts.get("flags", facts.get("Features", "")).split()
    instructions = tuple(sorted(flag for flag in flags if flag.startswith(_VECTOR_PREFIXES)))
    return Processor(" ".join(part for part in identity if part), instructions)


def usable_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
