"""GPUs to build for, named by compute capability: sm_86 is 8.6 (NVIDIA, CUDA C++ Programming Guide)."""

import re
from dataclasses import dataclass
from typing import Self

from ..errors import Remedy, UsageError

_NAME = re.compile(r"sm_([1-9][0-9]{0,2})([0-9])", re.ASCII | re.IGNORECASE)

WHICH_TARGET = Remedy(
    "See which compute capability a GPU has", command="nvidia-smi --query-gpu=name,compute_cap --format=csv"
)


@dataclass(frozen=True, order=True)
class Target:
    """A compute capability, as CUDA reports it of a GPU: major and minor."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The target that is written sm_86.

        Raises:
            UsageError: it is not written so.
        """
        found = _NAME.fullmatch(text.strip())
        if found is None:
            raise UsageError(
                f"No GPU target is called {text[:40]!r}; a target is written sm_ and the compute capability, "
                "without its dot: sm_86 for 8.6.",
                WHICH_TARGET,
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"sm_{self.major}{self.minor}"


TURING = Target(7, 5)
"""Where TensorRT for RTX has no FP32 products."""

OLDEST_TARGET = TURING
"""What CUDA 13 begins with (NVIDIA, CUDA 13.0 release notes, "Deprecated Architectures"), and what is built with it."""

BF16_FROM = Target(8, 0)
"""The first compute capability that multiplies BF16."""
