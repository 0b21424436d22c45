"""Bundles: written whole, every file hashed whenever it is read, refused by name."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from backends_here import backends
from mmcaf_engine.bundle.bundle import load_bundle, write_bundle
from mmcaf_engine.bundle.hashing import file_sha256, open_listed
from mmcaf_engine.bundle.sealed import SIGNATURE_NAME, is_signed, read_sealed
from mmcaf_engine.errors import BundleError, UsageError
from mmcaf_engine.session.session import open_session
from refusals import Fact, check_facts, refused
from several_precisions import add_precisions
from tiny_bundle import make_draft, make_tiny_bundle, tiny_manifest

MANY = 10**9


def edit_manifest(folder: Path, **changes: Any) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def zip_folder(folder: Path, output: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(output, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return output


def flip(path: Path, at: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(data)


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache that no other test has filled."""
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are hashed from now on."""
    names: list[str] = []

    def note(path: Path) -> str:
        names.append(path.name)
        return file_sha256(path)

    def note_opened(path: Path, name: str, *rest: Any, **named: Any) -> Any:
        names.append(name)
        return open_listed(path, name, *rest, **named)

    monkeypatch.setattr("mmcaf_engine.bundle.bundle.file_sha256", note)
    monkeypatch.setattr("mmcaf_engine.bundle.bundle.open_listed", note_opened)
    return names


def test_round_trip(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    assert bundle.manifest.name == "tiny"
    assert set(bundle.manifest.files) == {"model.onnx", "golden.npz"}
    assert bundle.read("golden.npz", MANY) == (tiny_bundle / "golden.npz").read_bytes()


def test_same_content_same_identity(tmp_path: Path) -> None:
    first = load_bundle(make_tiny_bundle(tmp_path / "a.mmcaf"))
    second = load_bundle(make_tiny_bundle(tmp_path / "b.mmcaf"))
    assert first.sha256 == second.sha256


def test_zip_equals_directory(tiny_bundle: Path, tmp_path: Path) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    assert load_bundle(archive).sha256 == load_bundle(tiny_bundle).sha256
    assert load_bundle(archive).read("model.onnx", MANY) == (tiny_bundle / "model.onnx").read_bytes()


def test_damaged_cached_copy_of_a_zip_is_unpacked_again(tiny_bundle: Path, tmp_path: Path) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    (load_bundle(archive).folder / "model.onnx").write_bytes(b"damaged")
    assert load_bundle(archive).read("model.onnx", MANY) == (tiny_bundle / "model.onnx").read_bytes()


def test_written_zip_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    first = tmp_path / "a.zip"
    second = tmp_path / "b.zip"
    for output in (first, second):
        source = make_tiny_bundle(tmp_path / f"{output.stem}.mmcaf")
        (source / "manifest.json").unlink()
        write_bundle(source, tiny_manifest(), output)
    assert first.read_bytes() == second.read_bytes()


def test_existing_output_is_kept_unless_forced(tiny_bundle: Path, tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    shutil.copytree(tiny_bundle, draft)
    with refused(UsageError, str(tiny_bundle), option="force"):
        write_bundle(draft, tiny_manifest(), tiny_bundle)
    write_bundle(draft, {**tiny_manifest(), "name": "renamed"}, tiny_bundle, force=True)
    assert load_bundle(tiny_bundle).manifest.name == "renamed"


def test_flipped_byte_is_refused_by_name_whenever_the_file_is_used(tiny_bundle: Path) -> None:
    flip(tiny_bundle / "model.onnx")
    bundle = load_bundle(tiny_bundle)
    for _ in range(2):
        with refused(BundleError, "tiny.mmcaf", "model.onnx", "SHA-256") as caught:
            bundle.read("model.onnx", MANY)
    assert caught.value.exit_code == 5
    assert bundle.read("golden.npz", MANY)
    with refused(BundleError, "tiny.mmcaf", "model.onnx", "SHA-256"):
        bundle.verify()


@pytest.mark.parametrize("backend", list(backends()))
@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_damaged_bundle_never_answers(own_cache: None, tiny_bundle: Path, backend: str, name: str) -> None:
    flip(tiny_bundle / name)
    with refused(BundleError, "tiny.mmcaf", name, "SHA-256"):
        open_session(load_bundle(tiny_bundle), backend=backend)


def test_only_what_is_used_is_hashed_and_that_for_every_session(
    tiny_bundle: Path, tmp_path: Path, hashed: list[str]
) -> None:
    bundle = load_bundle(add_precisions(tiny_bundle, tmp_path / "several.mmcaf", {"int8": 0.0, "fp16": 0.0}))
    hashed.clear()
    for opened in (1, 2):
        with open_session(bundle, backend="onnxruntime", precision="int8"):
            assert set(hashed) <= {"model.int8.onnx", "golden.npz"} and hashed.count("model.int8.onnx") == opened


@pytest.mark.parametrize(
    ("damage", "facts"),
    [
        (flip, ("SHA-256",)),
        (Path.unlink, ("manifest", "100 bytes")),
        (lambda path: path.write_bytes(b"x"), ("1 bytes", 100)),
    ],
    ids=["flip", "gone", "cut"],
)
def test_weights_beside_a_model_are_checked_with_it(
    tiny_bundle: Path, tmp_path: Path, damage: Any, facts: tuple[Fact, ...]
) -> None:
    draft = Path(shutil.copytree(tiny_bundle, tmp_path / "draft"))
    (draft / "manifest.json").unlink()
    (draft / "model.onnx.data").write_bytes(bytes(100))
    write_bundle(draft, tiny_manifest(), tmp_path / "weights.mmcaf")
    bundle = load_bundle(tmp_path / "weights.mmcaf")
    damage(bundle.folder / "model.onnx.data")
    with refused(BundleError, "weights.mmcaf", "model.onnx.data", *facts):
        open_session(bundle, backend="onnxruntime")


def test_file_that_the_manifest_does_not_list(tiny_bundle: Path) -> None:
    (tiny_bundle / "other.onnx").write_bytes(b"")
    with refused(BundleError, "tiny.mmcaf", "manifest", "other.onnx"):
        load_bundle(tiny_bundle).read("other.onnx", MANY)


def test_write_verifies_what_it_wrote(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = Path(shutil.copytree(tiny_bundle, tmp_path / "draft"))
    (draft / "manifest.json").unlink()
    write = Path.write_text

    def damage_beside(path: Path, text: str, encoding: str) -> int:
        flip(path.parent / "golden.npz")
        return write(path, text, encoding)

    monkeypatch.setattr(Path, "write_text", damage_beside)
    with refused(BundleError, "golden.npz", "SHA-256"):
        write_bundle(draft, tiny_manifest(), tmp_path / "out.mmcaf")
    assert not (tmp_path / "out.mmcaf").exists()


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_flipped_byte_in_a_zip_is_refused(own_cache: None, tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    sound = load_bundle(zip_folder(tiny_bundle, tmp_path / "sound.zip")).folder
    content = (tiny_bundle / name).read_bytes()
    flip(archive, archive.read_bytes().find(content) + len(content) // 2)
    with refused(BundleError, "tiny.zip", name, "CRC-32", command="mmcaf export"):
        load_bundle(archive).verify()
    shutil.rmtree(sound)
    with refused(BundleError, "tiny.zip", name, "CRC-32", command="mmcaf export"):
        load_bundle(archive)
    assert not sound.exists()


def test_zip_is_unpacked_and_hashed_once(own_cache: None, tiny_bundle: Path, tmp_path: Path, hashed: list[str]) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    load_bundle(archive)
    assert sorted(hashed) == ["golden.npz", "model.onnx"]
    load_bundle(archive)
    assert len(hashed) == 2
    load_bundle(archive).read("model.onnx", MANY)
    assert hashed[2:] == ["model.onnx"]


def test_encrypted_zip(tiny_bundle: Path, tmp_path: Path) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    data = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(signature, at + 1)
    archive.write_bytes(data)
    with refused(BundleError, "tiny.zip", "manifest.json", "encrypted"):
        load_bundle(archive)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("model.onnx", ("manifest", "bytes")),
        ("golden.npz", ("manifest", "bytes")),
        ("manifest.json", ("no such file",)),
    ],
)
def test_missing_file_is_named(tiny_bundle: Path, name: str, facts: tuple[Fact, ...]) -> None:
    (tiny_bundle / name).unlink()
    with refused(BundleError, name, *facts):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"format_version": 3}, ("manifest.json", 3, 2)),
        ({"format_version": "1"}, ("manifest.json", "format_version")),
        ({"surprise": 1}, ("surprise",)),
        ({"threshold": 1.5}, ("threshold", 1)),
        ({"labels": ["one"]}, ("labels", "sigmoid")),
        ({"models": {"int8": "model.onnx"}}, ("models", "fp32")),
        ({"models": {"fp32": "other.onnx"}}, ("files", "other.onnx")),
        ({"table": None}, ("inputs", "table")),
    ],
    ids=["newer", "text-version", "unknown-field", "threshold", "labels", "no-fp32", "unlisted-model", "no-table"],
)
def test_invalid_manifest(tiny_bundle: Path, changes: dict[str, Any], facts: tuple[Fact, ...]) -> None:
    edit_manifest(tiny_bundle, **changes)
    with refused(BundleError, *facts) as caught:
        load_bundle(tiny_bundle)
    check_facts(caught.value.problem, "tiny.mmcaf" if "manifest.json" not in facts else "manifest.json")


def test_absent_bundle(tmp_path: Path) -> None:
    with refused(BundleError, "absent.mmcaf", "no such", command="mmcaf export"):
        load_bundle(tmp_path / "absent.mmcaf")


def test_file_that_is_no_zip(tmp_path: Path) -> None:
    file = tmp_path / "bundle.zip"
    file.write_text("hello")
    with refused(BundleError, "bundle.zip", "zip", command="mmcaf export"):
        load_bundle(file)


def test_compressed_zip_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    with refused(BundleError, "tiny.zip", "manifest.json", command="zip -0 -r"):
        load_bundle(zip_folder(tiny_bundle, tmp_path / "tiny.zip", zipfile.ZIP_DEFLATED))


def test_a_bundle_that_is_written_again_keeps_its_signature_if_it_is_the_same(tmp_path: Path) -> None:
    """To the byte; else the signature would be wrong."""
    for output in (tmp_path / "out.mmcaf", tmp_path / "out.zip"):
        write_bundle(make_draft(tmp_path / "a"), tiny_manifest(), output)
        assert not is_signed(output)
        if output.suffix == ".zip":
            with zipfile.ZipFile(output, "a") as archive:
                archive.writestr(SIGNATURE_NAME, b"of this manifest")
        else:
            (output / SIGNATURE_NAME).write_bytes(b"of this manifest")
        write_bundle(make_draft(tmp_path / "a"), tiny_manifest(), output, force=True)
        assert read_sealed(output)[1] == b"of this manifest"
        write_bundle(make_draft(tmp_path / "a"), {**tiny_manifest(), "threshold": 0.4}, output, force=True)
        assert not is_signed(output)
        shutil.rmtree(tmp_path / "a", ignore_errors=True)
