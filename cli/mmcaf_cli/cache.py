"""`mmcaf cache list | clear`."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from mmcaf_engine.cache.cache import CachedItem, cache_root
from mmcaf_engine.cache.engines import cache_limit
from mmcaf_engine.checkup.kept import KINDS, cached_items
from mmcaf_engine.errors import UsageError
from mmcaf_engine.outputs import is_staging, remove, remove_left

from .console import to_json
from .report import Report


def list_command(report: Report) -> None:
    """Print what is kept, as text or JSON."""
    report.check()
    items, limit = cached_items(), cache_limit()
    report.give(lambda: "\n".join(_lines(items, limit)), lambda: to_json(_document(items, limit)))


def clear_command(kind: str | None, older_than: float | None, report: Report) -> None:
    """Remove what is kept, and say what that freed."""
    cache_root()  # Refuses where there can be none, before "removed nothing" would be said.
    before = None if older_than is None else time.time() - older_than * 86400
    chosen = [
        item for item in cached_items(KINDS if kind is None else (kind,)) if before is None or item.last_used < before
    ]
    written = [item for item in chosen if is_staging(item.path.name)]
    removed = [item for item in chosen if (remove_left if item in written else remove)(item.path)]
    left = [item for item in chosen if item not in removed]
    busy = [item for item in left if item in written]
    freed = sum(item.size for item in removed)
    said = f"; {_count(busy)} left, which another process is writing" if busy else ""
    report.give(
        lambda: f"removed {_count(removed)}; {_size(freed)} freed{said}",
        lambda: to_json({"removed": [_item(item) for item in removed], "left": [_item(item) for item in left]}),
    )
    if stuck := [item for item in left if item not in busy]:
        raise UsageError(
            f"{_count(stuck)} could not be removed, the first of them {stuck[0].path}.",
            "End the programs that use them, and see whether the folder is yours.",
        )


def _lines(items: list[CachedItem], limit: int) -> list[str]:
    lines = []
    for item in items:
        used = datetime.fromtimestamp(item.last_used).strftime("%Y-%m-%d %H:%M")
        lines.append(f"{item.kind:<12}{_size(item.size):>10}   {used}   {item.what}")
    return [
        *lines,
        f"{_count(items)} in {cache_root()}, {_size(sum(item.size for item in items))}",
        f"engines may take {_size(limit)}; another limit, in MiB: $MMCAF_CACHE_LIMIT, or cache_limit in config.toml",
    ]


def _document(items: list[CachedItem], limit: int) -> dict[str, Any]:
    return {
        "folder": str(cache_root()),
        "engines_limit_bytes": limit,
        "total_bytes": sum(item.size for item in items),
        "items": [_item(item) for item in items],
    }


def _item(item: CachedItem) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "what": item.what,
        "bytes": item.size,
        "last_used": datetime.fromtimestamp(item.last_used, UTC).isoformat(timespec="seconds"),
        "path": str(item.path),
    }


def _count(items: list[CachedItem]) -> str:
    counts = Counter(item.kind for item in items)
    kinds = [kind for kind in KINDS.values() if counts[kind.name]]
    parts = [f"{counts[kind.name]} {kind.noun}{'s' if counts[kind.name] > 1 else ''}" for kind in kinds]
    return ", ".join(parts) or "nothing"


def _size(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
