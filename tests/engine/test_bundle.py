"""Bundles: written whole, read with every hash checked, refused by name."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.bundle import load_bundle, write_bundle
from mmcaf_engine.errors import BundleError, UsageError
from tiny_bundle import make_tiny_bundle, tiny_manifest


def edit_manifest(folder: Path, **changes: Any) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def zip_folder(folder: Path, output: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(output, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return output


def test_round_trip(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    assert bundle.manifest.name == "tiny"
    assert set(bundle.manifest.files) == {"model.onnx", "golden.npz"}
    assert bundle.file("model.onnx").is_file()


def test_same_content_same_identity(tmp_path: Path) -> None:
    first = load_bundle(make_tiny_bundle(tmp_path / "a.mmcaf"))
    second = load_bundle(make_tiny_bundle(tmp_path / "b.mmcaf"))
    assert first.sha256 == second.sha256


def test_zip_equals_directory(tiny_bundle: Path, tmp_path: Path) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    assert load_bundle(archive).sha256 == load_bundle(tiny_bundle).sha256
    assert load_bundle(archive).file("model.onnx").read_bytes() == (tiny_bundle / "model.onnx").read_bytes()


def test_damaged_cached_copy_of_a_zip_is_unpacked_again(tiny_bundle: Path, tmp_path: Path) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    load_bundle(archive).file("model.onnx").write_bytes(b"damaged")
    assert load_bundle(archive).file("model.onnx").read_bytes() == (tiny_bundle / "model.onnx").read_bytes()


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
    with pytest.raises(UsageError, match="--force"):
        write_bundle(draft, tiny_manifest(), tiny_bundle)
    write_bundle(draft, {**tiny_manifest(), "name": "renamed"}, tiny_bundle, force=True)
    assert load_bundle(tiny_bundle).manifest.name == "renamed"


def test_flipped_byte_is_refused_by_name(tiny_bundle: Path) -> None:
    file = tiny_bundle / "model.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.onnx is damaged or altered") as caught:
        load_bundle(tiny_bundle)
    assert caught.value.exit_code == 5


def test_flipped_byte_in_a_zip_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    data = bytearray(archive.read_bytes())
    model = (tiny_bundle / "golden.npz").read_bytes()
    data[data.find(model) + len(model) // 2] ^= 1
    archive.write_bytes(data)
    with pytest.raises(BundleError, match="Copy the bundle again"):
        load_bundle(archive)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "manifest.json"])
def test_missing_file_is_named(tiny_bundle: Path, name: str) -> None:
    (tiny_bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 2}, "bundle format 2; this engine reads up to 1"),
        ({"format_version": "1"}, "no format_version"),
        ({"surprise": 1}, "surprise"),
        ({"threshold": 1.5}, "threshold"),
        ({"labels": ["one"]}, "labels"),
        ({"models": {"int8": "model.onnx"}}, "no fp32"),
        ({"models": {"fp32": "other.onnx"}}, "other.onnx"),
        ({"table": None}, "table"),
    ],
    ids=["newer", "text-version", "unknown-field", "threshold", "labels", "no-fp32", "unlisted-model", "no-table"],
)
def test_invalid_manifest(tiny_bundle: Path, changes: dict[str, Any], said: str) -> None:
    edit_manifest(tiny_bundle, **changes)
    with pytest.raises(BundleError) as caught:
        load_bundle(tiny_bundle)
    assert said in str(caught.value)


def test_absent_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        load_bundle(tmp_path / "absent.mmcaf")


def test_file_that_is_no_zip(tmp_path: Path) -> None:
    file = tmp_path / "bundle.zip"
    file.write_text("hello")
    with pytest.raises(BundleError, match="neither a bundle directory nor an intact zip"):
        load_bundle(file)


def test_compressed_zip_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="without compression"):
        load_bundle(zip_folder(tiny_bundle, tmp_path / "tiny.zip", zipfile.ZIP_DEFLATED))
