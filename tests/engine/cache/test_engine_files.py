"""Kept engines as files: what is found, what is never used, and what makes room for what."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from mmcaf_engine.cache import engines
from mmcaf_engine.cache.cache import cache_folder
from mmcaf_engine.cache.engines import EngineCache, EngineTooLargeError, engine_key
from mmcaf_engine.errors import BackendError
from mmcaf_engine.outputs import is_staging, sweep
from mmcaf_engine.outputs.leftovers import let_go

FACTS: dict[str, Any] = {"model": "ab", "runtime": "none 1", "precision": "fp32", "threads": 2}
MIB = 2**20


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EngineCache:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    return EngineCache(cache_folder("engines"), MIB)


def of(number: int) -> dict[str, Any]:
    return {**FACTS, "model": number}


def keep(cache: EngineCache, facts: dict[str, Any], data: bytes, used: float | None = None) -> Path:
    cache.keep(cache.draft(facts, "a bundle", lambda output: output.write(data)))
    entry = cache.folder / engine_key(facts)
    if used is not None:
        os.utime(entry, (used, used))
    return entry


def size_of(entry: Path) -> int:
    return sum(file.stat().st_size for file in entry.iterdir())


def test_what_is_kept_is_found_under_its_facts_alone(cache: EngineCache) -> None:
    keep(cache, FACTS, b"engine")
    found = cache.load(FACTS)
    assert found is not None and bytes(found.blob) == b"engine"
    assert cache.load(dict(reversed(FACTS.items()))) is not None
    for name in FACTS:
        assert cache.load({**FACTS, name: "other"}) is None
        assert cache.load({key: value for key, value in FACTS.items() if key != name}) is None


def test_an_entry_of_another_format_is_never_found(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(cache, FACTS, b"engine")
    monkeypatch.setattr(engines, "ENTRY_FORMAT", engines.ENTRY_FORMAT + 1)
    assert cache.load(FACTS) is None


def rewritten(**changes: Any) -> Callable[[Path], object]:
    def damage(entry: Path) -> None:
        document = json.loads((entry / "entry.json").read_text())
        (entry / "entry.json").write_text(json.dumps({**document, **changes}))

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a byte changed": lambda entry: (entry / "engine.bin").write_bytes(b"Engine"),
    "a byte more": lambda entry: (entry / "engine.bin").write_bytes(b"engine."),
    "a byte less": lambda entry: (entry / "engine.bin").write_bytes(b"engin"),
    "empty": lambda entry: (entry / "engine.bin").write_bytes(b""),
    "no engine": lambda entry: (entry / "engine.bin").unlink(),
    "no entry": lambda entry: (entry / "entry.json").unlink(),
    "no JSON": lambda entry: (entry / "entry.json").write_text("{"),
    "a list": lambda entry: (entry / "entry.json").write_text("[]"),
    "of other facts": rewritten(facts={**FACTS, "precision": "fp16"}),
    "of another format": rewritten(format=0),
    "no hash": rewritten(sha256=None),
    "another hash": rewritten(sha256="0" * 64),
    "no size": rewritten(size="6"),
    "a smaller size": rewritten(size=5),
    "an entry without end": lambda entry: (entry / "entry.json").write_text(" " * MIB),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_refused(cache: EngineCache, damage: Callable[[Path], object]) -> None:
    damage(keep(cache, FACTS, b"engine"))
    with pytest.raises(BackendError):
        cache.load(FACTS)


def test_an_entry_that_is_no_folder(cache: EngineCache, tmp_path: Path) -> None:
    entry = keep(cache, FACTS, b"engine")
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackendError):
        cache.load(FACTS)
    assert cache.remove(FACTS) and (tmp_path / "elsewhere" / "engine.bin").exists()
    entry.write_bytes(b"engine")
    with pytest.raises(BackendError):
        cache.load(FACTS)


@pytest.mark.parametrize("successor", [None, b"another"], ids=["gone", "replaced"])
def test_an_entry_that_is_removed_while_it_is_read_is_none(
    cache: EngineCache, successor: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cache, FACTS, b"engine")
    real = engines.open_own

    def removes(path: Path) -> BinaryIO:
        if path.name == "engine.bin":
            path.parent.rename(path.parent.with_name("away"))
            if successor is not None:
                path.parent.mkdir()
        return real(path)

    monkeypatch.setattr(engines, "open_own", removes)
    assert cache.load(FACTS) is None


def test_what_is_loaded_counts_as_used(cache: EngineCache) -> None:
    entry = keep(cache, FACTS, b"engine", used=1000)
    assert cache.load(FACTS) is not None
    assert time.time() - entry.stat().st_mtime < 60


def test_the_least_recently_used_make_room_and_no_more_than_needed(cache: EngineCache) -> None:
    entries = [keep(cache, of(at), bytes(1000), used=1000 + at) for at in (2, 0, 1, 3)]
    entries.sort(key=lambda entry: entry.stat().st_mtime)
    one = size_of(entries[0])
    cache.limit = 4 * one
    newest = keep(cache, of(4), bytes(1000))
    assert [entry.exists() for entry in [*entries, newest]] == [False, True, True, True, True]
    cache.limit = 5 * one
    keep(cache, of(5), bytes(1000))
    assert all(entry.exists() for entry in [*entries[1:], newest])
    cache.limit = 2 * one
    last = keep(cache, of(6), bytes(1000))
    assert last.exists() and len(list(cache.folder.iterdir())) == 2


def test_the_newest_stays_though_it_alone_is_above_the_limit(cache: EngineCache) -> None:
    cache.limit = 1000
    entry = keep(cache, FACTS, bytes(1000))
    assert size_of(entry) > cache.limit and entry.exists()


def test_what_another_process_is_writing_is_left_alone(cache: EngineCache) -> None:
    draft = cache.draft(of(1), "a bundle", lambda output: output.write(bytes(1000)))
    abandoned = cache.draft(of(2), "a bundle", lambda output: output.write(bytes(1000)))
    let_go(abandoned.folder)  # As when its process ends.
    sweep(cache.folder)
    cache.limit = 1000
    keep(cache, of(3), bytes(10))
    assert draft.folder.exists() and not abandoned.folder.exists()
    assert cache.load(of(1)) is None


@pytest.mark.parametrize(("pieces", "kept"), [([1000], True), ([600, 400], True), ([1001], False), ([600, 401], False)])
def test_an_engine_is_at_most_as_large_as_the_cache(cache: EngineCache, pieces: list[int], kept: bool) -> None:
    cache.limit = 1000

    def write(output: BinaryIO) -> None:
        for size in pieces:
            output.write(bytes(size))
            output.flush()

    if kept:
        cache.discard(cache.draft(FACTS, "a bundle", write))
    else:
        with pytest.raises(EngineTooLargeError):
            cache.draft(FACTS, "a bundle", write)
    assert list(cache.folder.iterdir()) == []


def test_the_first_stays_unless_it_is_replaced(cache: EngineCache) -> None:
    keep(cache, FACTS, b"first")
    keep(cache, FACTS, b"second")
    found = cache.load(FACTS)
    assert found is not None and bytes(found.blob) == b"first"
    cache.replace(cache.draft(FACTS, "a bundle", lambda output: output.write(b"third")))
    found = cache.load(FACTS)
    assert found is not None and bytes(found.blob) == b"third"
    assert not any(is_staging(one.name) for one in cache.folder.iterdir())


def test_what_cannot_be_removed_is_not_replaced(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(cache, FACTS, b"first")
    draft = cache.draft(FACTS, "a bundle", lambda output: output.write(b"second"))
    real = engines.remove
    monkeypatch.setattr(engines, "remove", lambda path: is_staging(path.name) and real(path))
    with pytest.raises(PermissionError):
        cache.replace(draft)
    assert not draft.folder.exists()


def test_notes_beside_an_engine(cache: EngineCache) -> None:
    notes = {"layers.json": "Größe"}
    cache.keep(cache.draft(FACTS, "a bundle", lambda output: output.write(b"engine"), notes=notes))
    assert cache.note(FACTS, "layers.json") == "Größe"
    assert cache.note(FACTS, "other.json") is None
    (cache.folder / engine_key(FACTS) / "layers.json").write_bytes(b"\xff")
    assert cache.note(FACTS, "layers.json") == "\ufffd"
