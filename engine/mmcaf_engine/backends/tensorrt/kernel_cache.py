"""The kernels that TensorRT for RTX compiles for the very GPU when an engine is loaded, kept for the next start.

They are code, and are trusted as kept engines are: only a whole file of this user, in a folder that nobody else may
write to. TensorRT for RTX itself refuses those of another version, GPU or driver.
"""

import hashlib
import json
import logging
import zlib
from pathlib import Path

from ...cache.cache import CacheKind, mark_used, open_own
from ...errors import UsageError
from ...machine.gpu import Gpu
from ...outputs import write_file
from .engine_key import Facts
from .loading import Plan

_DIGEST_BYTES = 32
_MAX_BYTES = 2**30
_log = logging.getLogger(__name__)

KERNELS = CacheKind(
    "kernels", "kernel cache", r"[0-9a-f]{64}\.bin", lambda _file: "what TensorRT measured or compiled for a GPU"
)
"""Also of `timing_cache`."""


class KernelCache:
    """The kept kernels of one engine on one GPU under one driver."""

    def __init__(self, facts: Facts, plan: Plan, gpu: Gpu) -> None:
        key = [facts, zlib.crc32(plan), gpu.name, gpu.driver]
        self._name = f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()}.bin"
        self._read = b""

    def read(self) -> bytes:
        """The kept kernels; b"" if there are none that can be used."""
        try:
            file = self._file()
            with open_own(file) as stream:
                digest, kernels = stream.read(_DIGEST_BYTES), stream.read(_MAX_BYTES)
        except FileNotFoundError:
            return b""
        except (OSError, UsageError) as failure:
            _log.warning("The kept kernels are not used, and are compiled again: %s", failure)
            return b""
        if hashlib.sha256(kernels).digest() != digest:
            _log.warning("%s is damaged; the kernels are compiled again.", file)
            return b""
        mark_used(file)
        self._read = kernels
        return kernels

    def keep(self, kernels: bytes) -> None:
        """Keep kernels, unless they are those that were read; what cannot be written is compiled again next time."""
        if not kernels or kernels == self._read:
            return
        try:
            write_file(self._file(), hashlib.sha256(kernels).digest() + kernels)
        except (OSError, UsageError) as failure:
            _log.warning("The compiled kernels cannot be kept: %s", failure)

    def _file(self) -> Path:
        return KERNELS.folder() / self._name
