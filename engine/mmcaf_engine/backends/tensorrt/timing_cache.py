"""Which kernels TensorRT found fastest on this GPU, kept so that the next build need not measure them again."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from ...cache.cache import mark_used, open_own
from ...outputs import write_file
from .flavour import Flavour
from .kernel_cache import KERNELS

_MAX_BYTES = 256 * 2**20
_log = logging.getLogger(__name__)


def timing_cache_file(flavour: Flavour, gpu: str, driver: str) -> Path:
    """Where the times of this flavour, GPU and driver are kept.

    Raises:
        UsageError: the cache folder cannot be used.
    """
    key = hashlib.sha256(json.dumps([flavour.name, flavour.version, gpu, driver]).encode()).hexdigest()
    return KERNELS.folder() / f"{key}.bin"


def read_timing_cache(config: Any, file: Path) -> None:
    """Give a builder's configuration the kept times; without any, or with some that it refuses, an empty cache."""
    kept = b""
    try:
        with open_own(file) as stream:
            kept = stream.read(_MAX_BYTES)
        mark_used(file)
    except OSError as failure:
        if not isinstance(failure, FileNotFoundError):
            _log.warning("The kept kernel times are not used: %s.", failure.strerror or failure)
    for data in (kept, b"") if kept else (b"",):
        times = config.create_timing_cache(data)
        if times is not None and config.set_timing_cache(times, False):
            return
    _log.warning("TensorRT takes no timing cache; kernels are measured again.")


def write_timing_cache(config: Any, file: Path) -> None:
    """Keep the times that a build has used or made; what cannot be written is measured again next time."""
    times = config.get_timing_cache()
    if times is None:
        return
    try:
        write_file(file, bytes(times.serialize()))
    except OSError as failure:
        _log.warning("The kernel times cannot be kept. %s: %s.", file, failure.strerror)
