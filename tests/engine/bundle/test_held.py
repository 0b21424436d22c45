"""What a runtime is given to read: copies of listed files, hashed while they were copied, in a folder of its own."""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.bundle import hashing
from mmcaf_engine.bundle.bundle import BUNDLES, Bundle, load_bundle
from mmcaf_engine.bundle.held import Held
from mmcaf_engine.cache.cache import MAKE_ROOM
from mmcaf_engine.errors import BackendError, BundleError, UsageError
from mmcaf_engine.outputs.leftovers import staging_path, sweep
from refusals import refused
from tampering import forge, tampered, with_weights_beside

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


@pytest.fixture
def with_weights(tiny_bundle: Path) -> Path:
    model, weights = with_weights_beside((tiny_bundle / MODEL).read_bytes(), WEIGHTS)
    forge(tiny_bundle, MODEL, model)
    forge(tiny_bundle, WEIGHTS, weights)
    return tiny_bundle


def turn_round(file: Path) -> None:
    file.write_bytes(file.read_bytes()[::-1])


@pytest.mark.parametrize("raised", [None, BackendError("refused by the runtime")], ids=["loaded", "refused"])
def test_weights_that_are_others_are_told_of_whatever_the_runtime_makes_of_them(
    raised: Exception | None, with_weights: Path, cache: Path
) -> None:
    turn_round(with_weights / WEIGHTS)
    with refused(BundleError, "tiny.mmcaf", WEIGHTS, "SHA-256"), held(load_bundle(with_weights)):
        if raised is not None:
            raise raised
    assert not left(cache)


def test_a_model_that_is_another_is_refused_before_anything_reads_it(with_weights: Path, cache: Path) -> None:
    turn_round(with_weights / MODEL)
    given: list[Path] = []
    with refused(BundleError, "tiny.mmcaf", MODEL, "SHA-256"), held(load_bundle(with_weights)) as model:
        given.append(model)
    assert not given and not left(cache)


def test_a_second_reader_is_told_as_the_first(with_weights: Path) -> None:
    turn_round(with_weights / WEIGHTS)
    bundle = load_bundle(with_weights)
    both = Held(bundle, "fp32")
    one, another = both.reading(bundle.folder / MODEL), both.reading(bundle.folder / MODEL)
    with refused(BundleError, WEIGHTS, "SHA-256"), one, refused(BundleError, WEIGHTS, "SHA-256"), another:
        pass


def in_pieces(output: int, given: int, at: int, count: int) -> int:
    """Of seven bytes, as the system may copy less than it was asked to."""
    return os.write(output, os.pread(given, min(count, 7), at))


def after_some(output: int, given: int, at: int, count: int) -> int:
    if at:
        raise OSError(errno.EINVAL, "not between these files")
    return in_pieces(output, given, at, count)


@pytest.mark.parametrize("copies", [None, in_pieces, after_some], ids=["not at hand", "in pieces", "not to its end"])
def test_however_the_system_copies(copies: Any, with_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if copies is None:
        monkeypatch.delattr(os, "sendfile", raising=False)
    else:
        monkeypatch.setattr(os, "sendfile", copies, raising=False)
    with held(load_bundle(with_weights)) as model:
        for name in (MODEL, WEIGHTS):
            assert model.with_name(name).read_bytes() == (with_weights / name).read_bytes()


def test_what_is_hashed_already_is_not_written_again(with_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system copies half of a file, which is hashed at once, and then no more; meanwhile that half is another."""
    bundle, model = load_bundle(with_weights), with_weights / MODEL
    genuine = model.read_bytes()
    half = len(genuine) // 2

    def half_of_it(output: int, given: int, at: int, count: int) -> int:
        if at:
            model.write_bytes(bytes(half) + genuine[half:])
            raise OSError(errno.EINVAL, "not between these files")
        return os.write(output, os.pread(given, half if count == len(genuine) else count, 0))

    class AtOnce(ThreadPoolExecutor):
        def submit(self, *work: Any, **named: Any) -> Any:
            job = super().submit(*work, **named)
            job.result()
            return job

    monkeypatch.setattr(os, "sendfile", half_of_it, raising=False)
    with AtOnce(1) as beside:
        check = bundle.clone(MODEL, model.parent.parent / "copies", beside)
        assert (model.parent.parent / "copies" / MODEL).read_bytes() == genuine
        check()


def test_a_file_cut_short_while_it_is_copied(with_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sendfile", lambda output, given, at, count: 0 if at else os.write(output, b"x"))
    with refused(BundleError, MODEL, "SHA-256"), held(load_bundle(with_weights)):
        pass


def test_what_a_killed_process_left_is_removed_and_what_is_held_is_not(tiny_bundle: Path, cache: Path) -> None:
    with held(load_bundle(tiny_bundle)) as model:
        stale = model.parent.with_name(staging_path(cache).name)
        shutil.copytree(model.parent, stale)
        assert {item.path for item in BUNDLES.items()} == {model.parent, stale}
        sweep(BUNDLES.folder())
        assert left(cache) == [model.parent] and model.exists()
    assert not left(cache)


@pytest.mark.skipif(os.name != "posix", reason="limits of files' sizes are of POSIX")
@pytest.mark.parametrize("by", ["clone", "open"])
def test_a_disk_that_is_full_is_no_fault_of_the_bundle(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """What is still buffered is tried again when the file is closed, and must not look as if reading had failed."""
    import resource

    bundle = load_bundle(tiny_bundle)
    monkeypatch.setattr("mmcaf_engine.bundle.bundle.IN_MEMORY_BYTES", 1)
    (tmp_path / "copies").mkdir()
    assert bundle.manifest.files["model.onnx"].size > 4096
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with refused(UsageError, "tiny.mmcaf", "model.onnx", "File too large", command=MAKE_ROOM.command):
            if by == "clone":
                bundle.clone("model.onnx", tmp_path / "copies")
            else:
                bundle.read("model.onnx", 10**9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
