"""What others may have put into the cache: an engine is close to a program, so only this user's is ever loaded."""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.bundle.test_bundle import zip_folder
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.cache.cache import cache_folder
from mmcaf_engine.cache.engines import EngineCache, engine_key
from mmcaf_engine.checkup.kept import cached_items
from mmcaf_engine.errors import BackendError, BundleError, UsageError
from mmcaf_engine.outputs import remove
from refusals import refused
from tiny_bundle import SIZE, SLICES

FACTS = {"model": ["ab"], "runtime": "none"}
INPUTS = {"image": np.ones((1, 1, SLICES, SIZE, SIZE), np.float32), "table": np.ones((1, 2), np.float32)}
STRANGER = 12345
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
posix = pytest.mark.skipif(os.name != "posix", reason="file owners are of POSIX")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def cache() -> EngineCache:
    cache = EngineCache(cache_folder("engines"), 1 << 20)
    cache.keep(cache.draft(FACTS, "a bundle", lambda output: output.write(b"engine")))
    return cache


def entry(cache: EngineCache) -> Path:
    return cache.folder / engine_key(FACTS)


@as_root
@pytest.mark.parametrize("name", ["engine.bin", "entry.json"])
def test_a_file_of_another_user(cache: EngineCache, name: str) -> None:
    os.chown(entry(cache) / name, STRANGER, STRANGER)
    with refused(BackendError, "engine", name, "user"):
        cache.load(FACTS)


@posix
@pytest.mark.parametrize("name", ["engine.bin", "entry.json"])
def test_a_link_in_place_of_a_file(cache: EngineCache, tmp_path: Path, name: str) -> None:
    (entry(cache) / name).rename(tmp_path / name)
    (entry(cache) / name).symlink_to(tmp_path / name)
    with refused(BackendError, "engine", name, "Too many levels of symbolic links"):
        cache.load(FACTS)
    assert cache.remove(FACTS)
    assert (tmp_path / name).exists()


@posix
def test_a_link_in_place_of_an_entry(cache: EngineCache, tmp_path: Path) -> None:
    entry(cache).rename(tmp_path / "elsewhere")
    entry(cache).symlink_to(tmp_path / "elsewhere")
    with refused(BackendError, "engine", "entry", "folder"):
        cache.load(FACTS)
    assert cache.remove(FACTS)
    assert (tmp_path / "elsewhere" / "engine.bin").exists()


@posix
def test_a_pipe_in_place_of_a_file_does_not_hang(cache: EngineCache) -> None:
    (entry(cache) / "engine.bin").unlink()
    os.mkfifo(entry(cache) / "engine.bin")
    with refused(BackendError, "engine", "engine.bin", "user"):
        cache.load(FACTS)


def test_an_entry_that_claims_to_be_another(cache: EngineCache) -> None:
    other = {**FACTS, "model": ["cd"]}
    shutil.copytree(entry(cache), cache.folder / engine_key(other))
    with refused(BackendError, "engine", "entry.json", "something else"):
        cache.load(other)


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707], ids=["group", "everyone"])
def test_a_folder_that_others_may_write_to(cache: EngineCache, mode: int) -> None:
    cache.folder.chmod(mode)
    with refused(UsageError, str(cache.folder), f"mode {mode:o}"):
        cache_folder("engines")


@posix
def test_a_folder_of_another_user(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    with refused(UsageError, str(cache.folder), "another user"):
        cache_folder("engines")


@posix
def test_a_link_in_place_of_the_folder_is_neither_used_nor_emptied(cache: EngineCache, tmp_path: Path) -> None:
    cache.folder.rename(tmp_path / "elsewhere")
    cache.folder.symlink_to(tmp_path / "elsewhere")
    with refused(UsageError, str(cache.folder), "link"):
        cached_items()
    assert (tmp_path / "elsewhere" / engine_key(FACTS) / "engine.bin").exists()


def test_new_folders_are_for_this_user_alone(cache: EngineCache) -> None:
    if os.name == "posix":
        assert cache.folder.stat().st_mode & 0o077 == 0
        assert entry(cache).stat().st_mode & 0o077 == 0


@posix
def test_a_session_answers_without_a_cache_that_others_may_write_to(
    tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_session(load_bundle(tiny_bundle), backend="openvino") as session:
        expected = session.run(INPUTS)["logit"]
    cache_folder("engines").chmod(0o777)
    with caplog.at_level(logging.WARNING), open_session(load_bundle(tiny_bundle), backend="openvino") as session:
        assert session.describe()["cache_hit"] is False
        assert session.run(INPUTS)["logit"] == expected
    assert "other users may write to the cache folder" in caplog.text


@as_root
def test_a_planted_engine_is_not_loaded(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    open_session(bundle, backend="openvino").close()
    (item,) = cached_items(("engines",))
    planted = b"planted" * 1000
    facts = json.loads((item.path / "entry.json").read_text())
    facts |= {"sha256": hashlib.sha256(planted).hexdigest(), "size": len(planted)}
    (item.path / "engine.bin").write_bytes(planted)
    (item.path / "entry.json").write_text(json.dumps(facts))
    for file in item.path.iterdir():
        os.chown(file, STRANGER, STRANGER)
    with open_session(bundle, backend="openvino") as session:
        assert "is not a file of this user" in session.describe()["cache"]
        assert session.describe()["cache_hit"] is False


@posix
def test_a_self_test_that_is_a_link_counts_for_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    open_session(bundle, backend="onnxruntime").close()
    (item,) = cached_items(("self-tests",))
    item.path.rename(tmp_path / "stamp.json")
    item.path.symlink_to(tmp_path / "stamp.json")
    with open_session(bundle, backend="onnxruntime") as session:
        assert session.describe()["self_test"]["remembered"] is False


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"max_abs_error": 0}', '{"max_abs_error": -1, "cases": 2}', "[" * 9999]
)
def test_a_damaged_self_test_counts_for_nothing(tiny_bundle: Path, text: str) -> None:
    bundle = load_bundle(tiny_bundle)
    open_session(bundle, backend="onnxruntime").close()
    (item,) = cached_items(("self-tests",))
    item.path.write_text(text)
    with open_session(bundle, backend="onnxruntime") as session:
        assert session.describe()["self_test"]["remembered"] is False


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_an_altered_copy_of_a_zipped_bundle_never_answers(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    copy = load_bundle(archive).folder / name
    data = bytearray(copy.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    with refused(BundleError, name, "SHA-256", command="mmcaf cache clear --kind bundles"):
        open_session(load_bundle(archive), backend="onnxruntime")
    assert remove(load_bundle(archive).folder)
    open_session(load_bundle(archive), backend="onnxruntime").close()


@posix
def test_a_link_in_place_of_the_copy_of_a_zipped_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    folder = load_bundle(archive).folder
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert not load_bundle(archive).folder.is_symlink()
    assert (tmp_path / "elsewhere" / "model.onnx").exists()


@posix
@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_rights_of_what_is_kept(tiny_bundle: Path, tmp_path: Path, umask: int) -> None:
    """Files 0600 and folders 0700, whatever the umask: of engines, their notes, self-tests and unpacked bundles."""
    before = os.umask(umask)
    try:
        open_session(load_bundle(zip_folder(tiny_bundle, tmp_path / "tiny.zip")), backend="openvino").close()
        cache = EngineCache(cache_folder("engines"), 1 << 20)
        cache.keep(cache.draft(FACTS, "a bundle", lambda output: output.write(b"engine"), notes={"note": "text"}))
    finally:
        os.umask(before)
    found = {path: path.stat().st_mode & 0o777 for path in (tmp_path / "cache").rglob("*")}
    assert {path.parts[len(tmp_path.parts) + 1] for path in found} >= {"engines", "bundles", "self-tests"}
    assert {path.name: mode for path, mode in found.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


@posix
@pytest.mark.parametrize(
    ("mode", "accepted"),
    [(0o777, False), (0o775, False), (0o1777, True), (0o755, True), (0o700, True)],
    ids=oct,
)
@pytest.mark.parametrize("through", ["path", "link"])
def test_a_folder_above_that_others_may_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, accepted: bool, through: str
) -> None:
    """They could put another cache in the place of this one; in a folder with the sticky bit they cannot."""
    above = tmp_path / "above"
    (above / "own" / "cache").mkdir(parents=True, mode=0o700)
    above.chmod(mode)
    (tmp_path / "link").symlink_to(above)
    monkeypatch.setenv("MMCAF_CACHE", str((above if through == "path" else tmp_path / "link") / "own" / "cache"))
    if accepted:
        assert cache_folder("engines").is_dir()
        return
    with refused(UsageError, "above", "other users", command="export MMCAF_CACHE=/path/to/folder"):
        cache_folder("engines")


@posix
def test_a_link_to_the_cache_where_others_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "safe").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "link").symlink_to(tmp_path / "safe")
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "open" / "link"))
    with refused(UsageError, "open", "other users"):
        cache_folder("engines")


@as_root
def test_a_folder_above_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", STRANGER, STRANGER)
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "theirs" / "cache"))
    with refused(UsageError, "theirs", STRANGER):
        cache_folder("engines")
