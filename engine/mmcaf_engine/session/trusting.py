"""Taking over an engine that another machine built, on the word of the user."""

from pathlib import Path

from ..backends.tensorrt.signature import Package, read_package, trust
from ..cache.cache import MAKE_ROOM
from ..cache.engines import ENGINES, EngineCache, EngineTooLargeError, cache_limit, switched_off
from ..errors import Remedy, UsageError


def trust_package(folder: Path, fingerprint: str, *, force: bool = False) -> Package:
    """Check a package that `build_ahead` wrote, and keep its engine where sessions on such GPUs load it.

    Args:
        fingerprint: SHA-256 of the package's signature, as the machine that built it has shown it.
        force: also in the place of one that was trusted before and is newer.

    Raises:
        BackendError: no package, another fingerprint, an altered file, another bundle than is shown, or another version
            of TensorRT.
        UsageError: one that is newer was trusted before; the cache is switched off, too small, or cannot be written.
    """
    package = read_package(folder)
    limit = cache_limit()
    if limit == 0:
        raise UsageError(f"The cache is {switched_off()}.", "Set another limit.")
    cache = EngineCache(ENGINES.folder(), limit)
    try:
        trust(package, fingerprint, cache, force=force)
    except EngineTooLargeError as failure:
        raise UsageError(
            f"{folder}: {failure}.", Remedy("Raise the limit", command="export MMCAF_CACHE_LIMIT=MIB")
        ) from None
    except OSError as failure:
        raise UsageError(
            f"{cache.folder}: the engine cannot be kept: {failure.strerror or failure}.", MAKE_ROOM
        ) from None
    return package
