"""All that this program keeps between runs, of every room."""

from collections.abc import Iterable

from ..backends.tensorrt.kernel_cache import KERNELS
from ..bundle.bundle import BUNDLES
from ..cache.cache import CachedItem, CacheKind
from ..cache.engines import ENGINES
from ..cache.journal import MEASUREMENTS
from ..session.self_test import SELF_TESTS
from ..session.timings import TUNING

KINDS: dict[str, CacheKind] = {
    kind.name: kind for kind in (ENGINES, SELF_TESTS, TUNING, KERNELS, BUNDLES, MEASUREMENTS)
}


def cached_items(names: Iterable[str] = tuple(KINDS)) -> list[CachedItem]:
    """Everything of these kinds, the least recently used first.

    Raises:
        UsageError: a folder is not this user's; see `cache.cache_folder`.
    """
    items = [item for name in names for item in KINDS[name].items()]
    return sorted(items, key=lambda item: (item.last_used, item.path))
