"""Engines from elsewhere: none is used that the user has not named by its fingerprint, or that was touched since."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine import load_bundle
from mmcaf_engine.backends.tensorrt.signature import BUNDLE_NAME, SIGNATURE_NAME, Package, read_package, trust
from mmcaf_engine.cache.cache import cache_folder
from mmcaf_engine.cache.engines import EngineCache, EngineTooLargeError, engine_key
from mmcaf_engine.errors import BackendError, UsageError
from mmcaf_engine.session.build_ahead import build_ahead
from refusals import Fact, refused
from small_networks import make_convolution_bundle

pytest.importorskip("tensorrt_rtx")

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes are of POSIX")
LIMIT = 1 << 30


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A package for two GPUs; read it, do not change it."""
    folder = tmp_path_factory.mktemp("built")
    bundle = load_bundle(make_convolution_bundle(folder / "small.mmcaf"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCAF_CACHE", str(folder / "cache"))
        package = build_ahead(bundle, "fp32", ["sm_86", "sm_89"], output=folder / "package").package
    assert package is not None
    return package


@pytest.fixture
def copy(built: Package, tmp_path: Path) -> Path:
    """A copy that a test may touch."""
    return Path(shutil.copytree(built.folder, tmp_path / "copy"))


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EngineCache:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    return EngineCache(cache_folder("engines"), LIMIT)


def not_trusted(folder: Path, fingerprint: str, cache: EngineCache, *facts: Fact) -> None:
    with refused(BackendError, *facts):
        trust(read_package(folder), fingerprint, cache)
    assert list(cache.folder.iterdir()) == []


def test_the_untouched_copy_is_taken(built: Package, copy: Path, cache: EngineCache) -> None:
    trust(read_package(copy), built.fingerprint.upper(), cache)
    assert len(list(cache.folder.iterdir())) == 2


@pytest.mark.parametrize("fingerprint", ["0" * 64, "", "PREFIX"])
def test_another_fingerprint(fingerprint: str, built: Package, copy: Path, cache: EngineCache) -> None:
    named = built.fingerprint[:32] if fingerprint == "PREFIX" else fingerprint
    not_trusted(copy, named, cache, "SHA-256", "signature", f"{built.fingerprint[:16]}...")


@pytest.mark.parametrize("name", ["engine.plan", "precision.json"])
@pytest.mark.parametrize(
    ("touch", "facts"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), ("SHA-256",)),
        (lambda data: data[:-1], ("bytes", "signed")),
        (lambda data: data + b"\0", ("more than", "bytes", "signed")),
        (lambda data: b"", ("0 bytes", "signed")),
    ],
    ids=["bit", "cut", "longer", "empty"],
)
def test_a_touched_file(
    touch: Callable[[bytes], bytes], facts: tuple[Fact, ...], name: str, built: Package, copy: Path, cache: EngineCache
) -> None:
    (copy / name).write_bytes(touch((built.folder / name).read_bytes()))
    not_trusted(copy, built.fingerprint, cache, name, *facts)


@pytest.mark.parametrize("name", ["engine.plan", "precision.json"])
def test_a_missing_file(name: str, built: Package, copy: Path, cache: EngineCache) -> None:
    (copy / name).unlink()
    not_trusted(copy, built.fingerprint, cache, name, "No such file or directory")


@posix
def test_a_link_in_place_of_the_engine(built: Package, copy: Path, cache: EngineCache, tmp_path: Path) -> None:
    (copy / "engine.plan").rename(tmp_path / "elsewhere")
    (copy / "engine.plan").symlink_to(tmp_path / "elsewhere")
    not_trusted(copy, built.fingerprint, cache, "engine.plan", "Too many levels of symbolic links")


@posix
def test_a_pipe_in_place_of_the_engine_does_not_hang(built: Package, copy: Path, cache: EngineCache) -> None:
    (copy / "engine.plan").unlink()
    os.mkfifo(copy / "engine.plan")
    not_trusted(copy, built.fingerprint, cache, "engine.plan", "regular file")


def sign(folder: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """Change the signature as one who made the package could, and return the new fingerprint."""
    document = json.loads((folder / SIGNATURE_NAME).read_text())
    change(document)
    (folder / SIGNATURE_NAME).write_text(json.dumps(document))
    return hashlib.sha256((folder / SIGNATURE_NAME).read_bytes()).hexdigest()


def test_a_changed_signature_has_another_fingerprint(built: Package, copy: Path, cache: EngineCache) -> None:
    sign(copy, lambda document: document.update(bundle="lung"))
    not_trusted(copy, built.fingerprint, cache, "SHA-256", "signature", f"{built.fingerprint[:16]}...")


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda d: d.update(format=2), ("format", 1)),
        (lambda d: d.update(run="rm -rf ~"), ("run", "Extra inputs")),
        (lambda d: d.update(engines=[]), ("engines", 1)),
        (lambda d: d["engines"][0].update(runtime="openvino"), ("engines.0.runtime",)),
        (lambda d: d["engines"][0].update(compute_capability="../.."), ("engines.0.compute_capability",)),
        (lambda d: d["engines"][0].pop("model"), ("engines.0.model",)),
        (lambda d: d["engines"][0].update(threads=2), ("engines.0.threads",)),
        (lambda d: d["files"].update({"../outside": d["files"]["engine.plan"]}), ("files.../outside",)),
        (lambda d: d["files"].update({"entry.json": d["files"]["engine.plan"]}), ("files.entry.json",)),
        (lambda d: d["files"]["engine.plan"].update(sha256="x"), ("files.engine.plan.sha256",)),
        (lambda d: d["files"].pop("engine.plan"), ("engine.plan",)),
    ],
    ids=[
        "format", "unknown-field", "no-engine", "another-runtime", "strange-target", "no-model", "unknown-fact",
        "file-outside", "entry-of-the-cache", "no-hash", "unsigned-engine",
    ],
)  # fmt: skip
def test_a_signature_of_another_form(
    change: Callable[[dict[str, Any]], object], facts: tuple[Fact, ...], copy: Path, cache: EngineCache
) -> None:
    not_trusted(copy, sign(copy, change), cache, SIGNATURE_NAME, *facts)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format": NaN}', b"\xff\xfe", b"[" * 100_000], ids=range(6))
def test_a_signature_that_is_no_json(data: bytes, copy: Path, cache: EngineCache) -> None:
    (copy / SIGNATURE_NAME).write_bytes(data)
    not_trusted(copy, hashlib.sha256(data).hexdigest(), cache, SIGNATURE_NAME)


def test_an_engine_of_another_version_names_both(copy: Path, cache: EngineCache) -> None:
    def older(document: dict[str, Any]) -> None:
        for one in document["engines"]:
            one["version"] = "1.0.0.1"

    fingerprint = sign(copy, older)
    with refused(BackendError, "tensorrt_rtx", "1.0.0.1", "expected") as caught:
        trust(read_package(copy), fingerprint, cache)
    assert list(cache.folder.iterdir()) == []
    [again] = caught.value.remedies
    assert again.command == "pip install tensorrt-rtx-cu13==1.0.0.1 'cuda-python>=13'"


@pytest.mark.parametrize("version", ["", "1.7; os_name", "1.7 --index-url http://x", "\x1b[2J", "1" * 33])
def test_a_version_that_is_none(version: str, copy: Path, cache: EngineCache) -> None:
    """It ends up in a command to paste."""

    def renamed(document: dict[str, Any]) -> None:
        for one in document["engines"]:
            one["version"] = version

    not_trusted(copy, sign(copy, renamed), cache, SIGNATURE_NAME, "version")


def test_engines_of_two_versions(copy: Path, cache: EngineCache) -> None:
    not_trusted(
        copy,
        sign(copy, lambda document: document["engines"][1].update(version="1.0")),
        cache,
        "versions",
        "TensorRT",
    )


def bundle_of(folder: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """Change the bundle's manifest that a package shows, and its signature with it; the new fingerprint."""
    manifest = json.loads((folder / BUNDLE_NAME).read_text())
    change(manifest)
    data = json.dumps(manifest).encode()
    (folder / BUNDLE_NAME).write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()

    def signed(document: dict[str, Any]) -> None:
        document["files"][BUNDLE_NAME] = {"sha256": sha256, "size": len(data)}
        document["bundle_sha256"] = sha256

    return sign(folder, signed)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda d: d.update(bundle_sha256="0" * 64), ("bundle", "0" * 16)),
        (lambda d: d.update(bundle="lung"), ("lung", "tiny")),
        (lambda d: d["engines"][1].update(model=["0" * 64]), ("tiny", "fp32", "hashes")),
        (lambda d: d["engines"][0].update(precision="int8"), ("tiny", "int8", "hashes")),
        (lambda d: d["files"].pop(BUNDLE_NAME), (BUNDLE_NAME,)),
    ],
    ids=["hash", "name", "model", "precision", "none"],
)
def test_an_engine_of_another_bundle_than_is_shown(
    change: Callable[[dict[str, Any]], object], facts: tuple[Fact, ...], copy: Path, cache: EngineCache
) -> None:
    """What is shown for people to compare must be what the cache finds the engine by."""
    not_trusted(copy, sign(copy, change), cache, *facts)


def test_the_manifest_of_another_bundle(copy: Path, cache: EngineCache) -> None:
    fingerprint = bundle_of(copy, lambda d: d["files"]["model.onnx"].update(sha256="0" * 64))
    not_trusted(copy, fingerprint, cache, "tiny", "fp32", "hashes")


def test_an_older_one_does_not_replace_a_newer_one(copy: Path, cache: EngineCache) -> None:
    def of(created: str | None) -> str:
        return sign(copy, lambda document: document.update(created=created))

    def origins() -> set[str]:
        return {json.loads((entry / "entry.json").read_text())["origin"] for entry in cache.folder.iterdir()}

    newer = of("2026-11-30T12:00:00Z")
    trust(read_package(copy), newer, cache)
    for created in ("2026-11-30T11:59:59Z", "2025-12-31T23:00:00Z", None):
        older = of(created)
        with refused(UsageError, "2026-11-30T12:00:00Z", *((created,) if created else ()), option="force"):
            trust(read_package(copy), older, cache)
        assert origins() == {f"package {newer}"}
    trust(read_package(copy), older, cache, force=True)
    assert origins() == {f"package {older}"}
    newest = of("2026-11-30T12:00:01Z")
    trust(read_package(copy), newest, cache)
    assert origins() == {f"package {newest}"}


@pytest.mark.parametrize("created", ["", "yesterday", "9999", "2026-11-30T12:00:00+01:00", "\x1b[2J"])
def test_a_time_that_is_none(created: str, copy: Path, cache: EngineCache) -> None:
    not_trusted(copy, sign(copy, lambda document: document.update(created=created)), cache, SIGNATURE_NAME, "created")


def test_one_that_is_too_large_for_the_cache(built: Package, copy: Path, cache: EngineCache) -> None:
    with pytest.raises(EngineTooLargeError):
        trust(read_package(copy), built.fingerprint, EngineCache(cache.folder, 1000))
    assert list(cache.folder.iterdir()) == []


def test_no_session_looks_at_a_package(built: Package, cache: EngineCache) -> None:
    """Only `trust` makes an entry of one; put where its entry would be, it is refused."""
    facts = built.signature.engines[0].facts()
    shutil.copytree(built.folder, cache.folder / engine_key(facts))
    with refused(BackendError, "engine", "entry.json", "missing"):
        cache.load(facts)
