"""What a runtime is given to read: copies of listed files, hashed while they were copied, in a folder of its own."""

import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.bundle import hashing
from mmcaf_engine.bundle.bundle import BUNDLES, Bundle, load_bundle
from mmcaf_engine.bundle.held import Held
from mmcaf_engine.errors import BundleError, UsageError
from mmcaf_engine.outputs.leftovers import staging_path, sweep
from refusals import refused
from tampering import tampered

MODEL, WEIGHTS = "model.onnx", "model.onnx.data"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def held(bundle: Bundle) -> Any:
    return Held(bundle, "fp32").reading(bundle.folder / MODEL)


def left(cache: Path) -> list[Path]:
    return list((cache / BUNDLES.name).iterdir())


def test_a_private_copy_of_what_belongs_to_the_model_alone(tiny_bundle: Path, tmp_path: Path, cache: Path) -> None:
    (tiny_bundle / WEIGHTS).write_bytes(b"not listed")
    with held(load_bundle(tiny_bundle)) as model:
        assert model.read_bytes() == (tiny_bundle / MODEL).read_bytes() and model.parent.parent == cache / BUNDLES.name
        assert stat.S_IMODE(model.parent.stat().st_mode) == 0o700 and stat.S_IMODE(model.stat().st_mode) == 0o600
        assert [path.name for path in model.parent.iterdir()] == [MODEL]
        (tiny_bundle / MODEL).write_bytes(b"changed")
        assert model.read_bytes() != b"changed"
    assert not left(cache)


def test_several_readers_share_it_until_the_last_has_gone(tiny_bundle: Path, cache: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    both = Held(bundle, "fp32")
    with both.reading(bundle.folder / MODEL) as first:
        with both.reading(bundle.folder / MODEL) as second:
            assert first == second and len(left(cache)) == 1
        assert first.exists()
    assert not left(cache)
    with both.reading(bundle.folder / MODEL) as third:
        assert third.exists() and third != first
    assert not left(cache)


def test_nothing_is_left_of_what_is_refused(tiny_bundle: Path, cache: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    (tiny_bundle / MODEL).write_bytes(tampered((tiny_bundle / MODEL).read_bytes()))
    with refused(BundleError, "tiny.mmcaf", MODEL, "SHA-256"), held(bundle):
        pass
    assert not left(cache)


def test_without_a_cache_it_lies_among_temporary_files(
    tiny_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("no folder")
    with held(load_bundle(tiny_bundle)) as model:
        assert cache not in model.parents and stat.S_IMODE(model.parent.stat().st_mode) == 0o700
    assert not model.parent.exists()


def test_no_room(tiny_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> Any:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(hashing, "create", full)
    with refused(UsageError, "tiny.mmcaf", MODEL, "No space left"), held(load_bundle(tiny_bundle)):
        pass
    assert not left(cache)


def test_where_the_file_system_can_the_blocks_are_shared_and_hashed(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, given = load_bundle(tiny_bundle), (tiny_bundle / MODEL).read_bytes()

    def cloned(content: bytes) -> Callable[[Any, Any], bool]:
        return lambda stream, output: (output.write(content), output.flush()) is not None

    monkeypatch.setattr(hashing, "share_blocks", cloned(given))
    with held(bundle) as model:
        assert model.read_bytes() == given
    monkeypatch.setattr(hashing, "share_blocks", cloned(tampered(given)))
    with refused(BundleError, MODEL, "SHA-256"), held(bundle):
        pass


def test_what_a_killed_process_left_is_removed_and_what_is_held_is_not(tiny_bundle: Path, cache: Path) -> None:
    with held(load_bundle(tiny_bundle)) as model:
        stale = model.parent.with_name(staging_path(cache).name)
        shutil.copytree(model.parent, stale)
        assert {item.path for item in BUNDLES.items()} == {model.parent, stale}
        sweep(BUNDLES.folder())
        assert left(cache) == [model.parent] and model.exists()
    assert not left(cache)
