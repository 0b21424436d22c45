"""Kept engines: found again by the same facts only, never damaged, bounded; sessions answer the same with them."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.bundle import Bundle, write_bundle
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.cache.cache import cache_folder
from mmcaf_engine.cache.engines import EngineCache, EngineTooLargeError, cache_limit, engine_key
from mmcaf_engine.checkup.kept import cached_items
from mmcaf_engine.errors import BackendError, BundleError, UsageError
from mmcaf_engine.session.opening import engine_facts
from mmcaf_engine.session.session import Session
from privileges import as_ordinary_user
from refusals import Fact, refused
from several_precisions import add_precisions
from tiny_bundle import SIZE, SLICES, make_tiny_bundle, tiny_manifest

FACTS = {"model": ["ab"], "runtime": "none", "precision": "fp32", "threads": 2, "inputs": [["image", 1, 3]]}
Damage = Callable[[Path], object]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache that no other test has filled."""
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMCAF_CACHE_LIMIT", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def cache() -> EngineCache:
    return EngineCache(cache_folder("engines"), 10_000)


def put(cache: EngineCache, facts: dict[str, Any], blob: bytes) -> None:
    cache.keep(cache.draft(facts, "a bundle", lambda output: output.write(blob)))


def entry(cache: EngineCache, facts: dict[str, Any] = FACTS) -> Path:
    return cache.folder / engine_key(facts)


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5])


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_was_kept_is_found(cache: EngineCache) -> None:
    assert cache.load(FACTS) is None
    put(cache, FACTS, b"engine")
    found = cache.load(FACTS)
    assert found is not None and bytes(found.blob) == b"engine"
    assert sorted(path.name for path in entry(cache).iterdir()) == ["engine.bin", "entry.json"]


@pytest.mark.parametrize(
    "change",
    [{"model": ["cd"]}, {"precision": "int8"}, {"threads": 3}, {"inputs": [["image", 1, 4]]}, {"build": "2"}],
    ids=lambda change: next(iter(change)),
)
def test_other_facts_are_another_engine(cache: EngineCache, change: dict[str, Any]) -> None:
    put(cache, FACTS, b"engine")
    assert cache.load({**FACTS, **change}) is None


def test_the_order_of_facts_does_not_matter() -> None:
    assert engine_key(dict(reversed(FACTS.items()))) == engine_key(FACTS)


@pytest.mark.parametrize(
    ("name", "damage", "facts"),
    [
        ("engine.bin", truncate, ("5 bytes", 6)),
        ("engine.bin", flip, ("SHA-256",)),
        ("engine.bin", lambda path: path.write_bytes(b""), ("0 bytes", 6)),
        ("engine.bin", Path.unlink, ("engine.bin", "missing")),
        ("entry.json", Path.unlink, ("entry.json", "missing")),
        ("entry.json", truncate, ("entry.json", "JSON", "line 2")),
        ("entry.json", lambda path: path.write_bytes(b"\xff\xfe"), ("entry.json", "UTF-8", "0xff", "offset 0")),
        ("entry.json", lambda path: path.write_text("[]"), ("entry.json", "something else")),
        ("entry.json", lambda path: path.write_text("[" * 9999), ("entry.json", "64 levels")),
        ("entry.json", lambda path: edit(path, format=2), ("entry.json", "something else")),
        ("entry.json", lambda path: edit(path, facts={}), ("entry.json", "something else")),
        ("entry.json", lambda path: edit(path, size="6"), ("entry.json", "size", "SHA-256")),
        ("entry.json", lambda path: edit(path, sha256=None), ("entry.json", "size", "SHA-256")),
        ("entry.json", lambda path: edit(path, sha256="0" * 64), ("SHA-256", "0000000000000000")),
        ("entry.json", lambda path: edit(path, kernels=["msdc"]), ("entry.json", "kernels")),
        ("entry.json", lambda path: edit(path, kernels={"msdc": -1}), ("entry.json", "kernels")),
        ("entry.json", lambda path: edit(path, kernels={"msdc": True}), ("entry.json", "kernels")),
    ],
)
def test_a_damaged_entry_is_refused(cache: EngineCache, name: str, damage: Damage, facts: tuple[Fact, ...]) -> None:
    put(cache, FACTS, b"engine")
    damage(entry(cache) / name)
    with refused(BackendError, "engine", *facts):
        cache.load(FACTS)
    assert cache.remove(FACTS)
    assert cache.load(FACTS) is None


def test_the_longest_unused_go_first(cache: EngineCache) -> None:
    size = 2800
    for number in range(3):
        put(cache, {"number": number}, bytes(size))
        os.utime(entry(cache, {"number": number}), (number, number))
    assert cache.load({"number": 0}) is not None  # and so it is used now
    put(cache, {"number": 3}, bytes(size))
    held = [number for number in range(4) if entry(cache, {"number": number}).exists()]
    assert held == [0, 2, 3]
    assert sum(item.size for item in cached_items()) <= cache.limit


def test_an_engine_above_the_limit_is_not_kept_and_pushes_nothing_out(cache: EngineCache) -> None:
    put(cache, FACTS, b"engine")
    with pytest.raises(EngineTooLargeError, match="limit"):
        cache.draft({"other": 1}, "a bundle", lambda output: output.write(bytes(10_001)))
    assert cache.load(FACTS) is not None
    assert len(list(cache.folder.iterdir())) == 1


def test_a_failed_write_leaves_nothing(cache: EngineCache) -> None:
    def fail(output: BinaryIO) -> None:
        output.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        cache.draft(FACTS, "a bundle", fail)
    assert list(cache.folder.iterdir()) == []


def test_a_draft_is_not_found_before_it_is_kept(cache: EngineCache) -> None:
    draft = cache.draft(FACTS, "a bundle", lambda output: output.write(b"engine"))
    assert cache.load(FACTS) is None
    cache.discard(draft)
    assert list(cache.folder.iterdir()) == []


def test_the_first_of_two_writers_stays(cache: EngineCache) -> None:
    drafts = [cache.draft(FACTS, "a bundle", lambda output, text=text: output.write(text)) for text in (b"A", b"B")]
    for draft in drafts:
        cache.keep(draft)
    found = cache.load(FACTS)
    assert found is not None and bytes(found.blob) == b"A"
    assert [path.name for path in cache.folder.iterdir()] == [engine_key(FACTS)]


WRITE_AND_READ = """
import os, sys
from pathlib import Path
from mmcaf_engine.cache.engines import EngineCache
cache = EngineCache(Path(sys.argv[1]), 1 << 20)
met = 0
for number in range(60):
    blob = sys.argv[2].encode() * 5000
    cache.keep(cache.draft({"number": number % 3}, "a bundle", lambda output: output.write(blob)))
    found = cache.load({"number": number % 3})
    if found is not None:
        assert len(set(bytes(found.blob))) == 1
        met += 1
    if number % 5 == 0:
        cache.remove({"number": number % 3})
assert met, "never found anything"
"""


def test_processes_that_write_at_once_never_see_a_damaged_engine(cache: EngineCache) -> None:
    command = [sys.executable, "-c", WRITE_AND_READ, str(cache.folder)]
    workers = [subprocess.Popen([*command, letter], stderr=subprocess.PIPE, text=True) for letter in "ABC"]
    for worker in workers:
        _, errors = worker.communicate()
        assert worker.returncode == 0, errors
    for number in range(3):
        found = cache.load({"number": number})
        assert found is None or len(set(bytes(found.blob))) == 1


@pytest.mark.parametrize(("text", "limit"), [("", 8192 * 2**20), ("0", 0), ("3", 3 * 2**20)])
def test_limit(monkeypatch: pytest.MonkeyPatch, text: str, limit: int) -> None:
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", text)
    assert cache_limit() == limit


@pytest.mark.parametrize("text", ["-1", "8 GiB", "1.5", "\u0663", "9" * 30])
def test_wrong_limit(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path, text: str) -> None:
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", text)
    with refused(UsageError, "MMCAF_CACHE_LIMIT", "MiB", 0, command="export"):
        open_session(load_bundle(tiny_bundle), backend="openvino")


def opened(bundle: Path | Bundle, **options: Any) -> Session:
    loaded = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    return open_session(loaded, **{"backend": "openvino", **options})


def engines() -> list[Path]:
    return [item.path for item in cached_items(("engines",))]


def given() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    return {
        "image": generator.normal(size=(1, 1, SLICES, SIZE, SIZE)).astype(np.float32),
        "table": generator.normal(size=(1, 2)).astype(np.float32),
    }


def test_miss_then_hit(tiny_bundle: Path) -> None:
    facts, answers = [], []
    for _ in range(2):
        with opened(tiny_bundle) as session:
            facts.append(session.describe())
            answers.append(session.run(given())["logit"].tobytes())
    assert [found["cache_hit"] for found in facts] == [False, True]
    assert [found["cache"] for found in facts] == ["built, kept", "loaded"]
    assert [found["self_test"]["remembered"] for found in facts] == [False, True]
    assert answers[0] == answers[1]


def test_a_kept_engine_of_a_real_network_answers_bit_for_bit_the_same() -> None:
    bundle = load_bundle(demo_bundle())
    with np.load(bundle.folder / "golden.npz") as cases:
        inputs = {spec.name: cases[spec.name] for spec in bundle.manifest.inputs}
    answers = []
    for hit in (False, True, True):
        with opened(bundle) as session:
            assert session.describe()["cache_hit"] is hit
            answers.append(session.run(inputs)["logit"].tobytes())
    assert answers[0] == answers[1] == answers[2]


def test_a_hit_does_not_read_the_model(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with opened(tiny_bundle) as session:
        expected = session.run(given())["logit"]
    flip(tiny_bundle / "model.onnx")
    with opened(tiny_bundle) as session:
        assert session.describe()["cache_hit"] is True
        assert session.run(given())["logit"] == expected
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "empty"))
    with refused(BundleError, "model.onnx", "SHA-256"):
        opened(tiny_bundle)


@pytest.mark.parametrize("options", [{"threads": 1}, {"precision": "int8"}], ids=["threads", "precision"])
def test_another_configuration_is_another_engine(tiny_bundle: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    bundle = load_bundle(add_precisions(tiny_bundle, tmp_path / "two.mmcaf", {"int8": 0.0}))
    opened(bundle, threads=2).close()
    with opened(bundle, **{"threads": 2, **options}) as session:
        assert session.describe()["cache_hit"] is False
    assert len(engines()) == 2


def test_another_network_is_another_engine(tiny_bundle: Path, tmp_path: Path) -> None:
    opened(tiny_bundle).close()
    moved = add_precisions(tiny_bundle, tmp_path / "draft.mmcaf", {"int8": 0.01})
    (moved / "manifest.json").unlink()
    (moved / "model.int8.onnx").replace(moved / "model.onnx")
    with np.load(moved / "golden.npz") as archive:
        cases = dict(archive)
    np.savez(moved / "golden.npz", **{**cases, "logit": cases["logit"] + 0.01})
    with opened(write_bundle(moved, tiny_manifest(), tmp_path / "moved.mmcaf")) as session:
        assert session.describe()["cache_hit"] is False


def test_other_code_of_another_package_is_another_engine(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same version, as while its author works on it."""
    found = []
    for state in ("acme 1.0 ab", "acme 1.0 ab", "acme 1.0 cd"):
        monkeypatch.setattr(OpenVinoBackend, "code", classmethod(lambda cls, state=state: state))
        with opened(tiny_bundle) as session:
            found.append(session.describe()["cache_hit"])
    assert found == [False, True, False] and len(engines()) == 2


def test_the_key_holds_what_the_engine_depends_on(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    manifest = bundle.manifest
    backend = OpenVinoBackend(bundle.folder / "model.onnx", manifest.inputs, manifest.outputs, 2)
    facts = engine_facts(bundle, backend)
    assert facts["model"] == [manifest.files["model.onnx"].sha256]
    assert facts["build"].startswith(backend.version()) and len(facts["build"]) > len(backend.version())
    assert facts["inputs"] == [["image", 1, SLICES, SIZE, SIZE], ["table", 2]]
    assert facts["configuration"]["INFERENCE_PRECISION_HINT"] == "f32"
    assert facts["processor"] and {"threads", "device", "precision", "instructions"} <= set(facts)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda entry: truncate(entry / "engine.bin"), "are recorded"),
        (lambda entry: flip(entry / "engine.bin", 100), "its SHA-256 is"),
        (lambda entry: (entry / "entry.json").write_text("{"), "not JSON"),
    ],
    ids=["truncated", "flipped", "json"],
)
def test_a_damaged_engine_is_built_again_and_that_is_said(
    tiny_bundle: Path, damage: Damage, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tiny_bundle) as session:
        expected = session.run(given())["logit"]
    damage(engines()[0])
    with caplog.at_level(logging.WARNING), opened(tiny_bundle) as session:
        facts = session.describe()
        assert session.run(given())["logit"] == expected
    assert facts["cache_hit"] is False and facts["self_test"]["remembered"] is False
    assert "built again" in facts["cache"] and said in facts["cache"]
    assert [record.name for record in caplog.records] == ["mmcaf_engine.session.opening"] and said in caplog.text
    with opened(tiny_bundle) as session:
        assert session.describe()["cache_hit"] is True


def test_an_engine_that_the_runtime_refuses_is_built_again(tiny_bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    bundle = load_bundle(tiny_bundle)
    manifest = bundle.manifest
    backend = OpenVinoBackend(bundle.folder / "model.onnx", manifest.inputs, manifest.outputs, 2)
    cache = EngineCache(cache_folder("engines"), 1 << 20)
    put(cache, engine_facts(bundle, backend), b"no engine at all" * 100)
    with opened(bundle, threads=2) as session:
        assert session.describe()["cache_hit"] is False
    assert "failed while loading the kept engine of model.onnx" in caplog.text
    with opened(bundle, threads=2) as session:
        assert session.describe()["cache_hit"] is True


def test_an_engine_that_fails_the_self_test_is_not_kept(tmp_path: Path) -> None:
    draft = make_tiny_bundle(tmp_path / "draft.mmcaf")
    (draft / "manifest.json").unlink()
    with np.load(draft / "golden.npz") as archive:
        cases = dict(archive)
    np.savez(draft / "golden.npz", **{**cases, "logit": cases["logit"] + 1})
    bundle = write_bundle(draft, tiny_manifest(), tmp_path / "wrong.mmcaf")
    for _ in range(2):
        with refused(BackendError, "self-test", "tiny", 1, 0.0001, option="backend"):
            opened(bundle)
        assert engines() == []


def test_a_kept_engine_is_self_tested_again_when_its_pass_is_forgotten(tiny_bundle: Path) -> None:
    opened(tiny_bundle).close()
    for item in cached_items(("self-tests",)):
        item.path.write_text('{"max_abs_error": NaN, "cases": 2}')
    with opened(tiny_bundle) as session:
        facts = session.describe()
    assert facts["cache_hit"] is True and facts["self_test"]["remembered"] is False


def forbid_drafts(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mmcaf_engine.cache.engines.new_staging_folder", refuse)


def make_read_only(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "engines").mkdir(parents=True)
    (folder / "engines").chmod(0o500)


def put_a_file_in_the_way(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    folder.write_text("a file")


@pytest.mark.parametrize("trouble", [forbid_drafts, make_read_only, put_a_file_in_the_way])
def test_without_a_usable_cache_it_answers_and_says_so(
    tiny_bundle: Path,
    trouble: Callable[[pytest.MonkeyPatch, Path], None],
    monkeypatch: pytest.MonkeyPatch,
    own_cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trouble(monkeypatch, own_cache)

    def answer() -> dict[str, Any]:
        with opened(tiny_bundle) as session:
            assert np.isfinite(session.run(given())["logit"]).all()
            return session.describe()

    facts = as_ordinary_user(answer)
    assert facts["cache_hit"] is False and "built, not kept" in facts["cache"]
    assert facts["self_test"]["passed"] and facts["self_test"]["remembered"] is False
    assert "will be built each time" in caplog.text and str(own_cache) in caplog.text


def test_a_disk_that_is_full_while_the_runtime_writes(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmcaf_engine.cache.engines._Bounded.write", refuse)
    with opened(tiny_bundle) as session:
        assert "not kept" in session.describe()["cache"]
    assert "No space left on device" in caplog.text and engines() == []


@pytest.mark.parametrize(("limit", "said"), [("0", "switched off"), ("1", "exceeds the cache's limit of 1 MiB")])
def test_above_the_limit_it_answers_without_keeping(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, limit: str, said: str
) -> None:
    monkeypatch.setenv("MMCAF_CACHE_LIMIT", limit)
    with opened(demo_bundle()) as session:
        facts = session.describe()
    assert facts["cache_hit"] is False and said in facts["cache"]
    assert engines() == [] and caplog.text == ""
