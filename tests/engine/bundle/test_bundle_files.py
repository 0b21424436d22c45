"""A bundle as files: every byte is what the manifest says, in a folder and in a zip, or it is refused."""

import json
import os
import pickle
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mmcaf_engine.bundle.bundle import check_output, load_bundle, write_bundle
from mmcaf_engine.bundle.hashing import file_sha256
from mmcaf_engine.bundle.held import Held
from mmcaf_engine.errors import BundleError, UsageError
from mmcaf_engine.outputs import remove
from tiny_bundle import make_tiny_bundle

MANY = 10**9


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


def zipped(folder: Path, output: Path, kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(output, "w", kind) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return output


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a byte more": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "a byte less": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "gone": lambda file: file.unlink(),
    "a link": lambda file: file.symlink_to(file.rename(file.with_name("moved"))),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_sizes_are_checked_when_it_is_loaded(damage: Callable[[Path], object], tiny_bundle: Path) -> None:
    damage(tiny_bundle / "model.onnx")
    with pytest.raises(BundleError):
        load_bundle(tiny_bundle)


def test_hashes_are_checked_whenever_a_file_is_read(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    for read in (lambda name: bundle.read(name, MANY), lambda name: bundle.copy(name, tmp_path / "copies")):
        read("golden.npz")
        with pytest.raises(BundleError):
            read("other.bin")
    assert (tmp_path / "copies" / "golden.npz").read_bytes() == bundle.read("golden.npz", MANY)
    assert stat.S_IMODE((tmp_path / "copies" / "golden.npz").stat().st_mode) == 0o600
    flip(tiny_bundle / "golden.npz")
    with pytest.raises(BundleError):
        bundle.read("golden.npz", MANY)
    with pytest.raises(BundleError):
        bundle.copy("golden.npz", tmp_path / "others")
    with pytest.raises(BundleError):
        bundle.verify()


def test_no_more_is_read_than_was_asked_for(tiny_bundle: Path) -> None:
    bundle = load_bundle(tiny_bundle)
    size = bundle.manifest.files["model.onnx"].size
    assert len(bundle.read("model.onnx", size)) == size
    with pytest.raises(BundleError):
        bundle.read("model.onnx", size - 1)


def test_weights_beside_a_model_are_checked_with_it(tiny_bundle: Path, tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    shutil.copytree(tiny_bundle, draft)
    manifest = json.loads((draft / "manifest.json").read_text())
    del manifest["files"]
    (draft / "model.onnx.data").write_bytes(b"weights")
    output = write_bundle(draft, manifest, tmp_path / "out.mmcaf").folder
    bundle = load_bundle(output)
    with Held(bundle, "fp32").reading(output / "model.onnx") as model:
        assert model.with_name("model.onnx.data").read_bytes() == b"weights"
    flip(output / "model.onnx.data")
    with pytest.raises(BundleError), Held(bundle, "fp32").reading(output / "model.onnx"):
        pass


def test_the_manifest_does_not_list_itself(tiny_bundle: Path) -> None:
    assert "manifest.json" not in load_bundle(tiny_bundle).manifest.files


def test_a_zip_answers_as_its_folder(tiny_bundle: Path, tmp_path: Path) -> None:
    packed = zipped(tiny_bundle, tmp_path / "tiny.zip")
    bundle = load_bundle(packed)
    bundle.verify()
    assert bundle.sha256 == load_bundle(tiny_bundle).sha256 and bundle.archive == packed
    assert bundle.read("model.onnx", MANY) == (tiny_bundle / "model.onnx").read_bytes()
    os.utime(bundle.folder, (1000, 1000))
    assert load_bundle(packed).folder.stat().st_mtime > 1000


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_compressed_zip_is_refused(kind: int, tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        load_bundle(zipped(tiny_bundle, tmp_path / "tiny.zip", kind))


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_a_zip_of_other_bytes_is_refused(name: str, tiny_bundle: Path, tmp_path: Path) -> None:
    packed = zipped(tiny_bundle, tmp_path / "tiny.zip")
    bundle = load_bundle(packed)
    flip(tiny_bundle / name)
    zipped(tiny_bundle, packed)
    with pytest.raises(BundleError):
        bundle.verify()
    remove(bundle.folder)
    with pytest.raises(BundleError):
        load_bundle(packed)
    (tiny_bundle / name).write_bytes((tiny_bundle / name).read_bytes() + b"\0")
    with pytest.raises(BundleError):
        load_bundle(zipped(tiny_bundle, packed))


@pytest.mark.parametrize("place", ["another bundle", "link", "incomplete"])
def test_what_is_no_copy_is_unpacked_again(place: str, tiny_bundle: Path, tmp_path: Path) -> None:
    packed = zipped(tiny_bundle, tmp_path / "tiny.zip")
    copy = load_bundle(packed).folder
    if place == "another bundle":
        other = make_tiny_bundle(tmp_path / "other.mmcaf", intended_use="Another one.")
        shutil.rmtree(copy)
        shutil.copytree(other, copy)
    elif place == "link":
        copy.rename(tmp_path / "elsewhere")
        copy.symlink_to(tmp_path / "elsewhere")
    else:
        (copy / "model.onnx").unlink()
    found = load_bundle(packed)
    found.verify()
    assert found.folder == copy and not copy.is_symlink()
    assert file_sha256(copy / "manifest.json") == found.sha256


@pytest.mark.parametrize("packed", [True, False])
def test_a_bundle_that_was_handed_over_is_still_that_one(
    packed: bool, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = zipped(tiny_bundle, tmp_path / "tiny.zip") if packed else tiny_bundle
    monkeypatch.chdir(tmp_path)
    bundle = load_bundle(place.relative_to(tmp_path))
    handed = pickle.dumps(bundle)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    found = pickle.loads(handed)
    assert found.sha256 == bundle.sha256 and (found.archive == place if packed else found.folder == place)
    remove(place)
    made = make_tiny_bundle(tmp_path / "made.mmcaf", intended_use="Another one.")
    zipped(made, place) if packed else made.rename(place)
    with pytest.raises(BundleError):
        pickle.loads(handed)


@pytest.mark.parametrize("there", ["folder", "file"])
def test_only_a_bundle_is_ever_replaced(there: str, tmp_path: Path) -> None:
    output = tmp_path / "out.mmcaf"
    if there == "folder":
        output.mkdir()
        (output / "thesis.txt").write_text("years of work")
        with pytest.raises(UsageError):
            check_output(output, force=True)
        assert (output / "thesis.txt").exists()
        (output / "manifest.json").write_text('{"format_version": 1, "models": {}, "files": {"thesis.txt": {}}}')
    else:
        output.write_text("an archive")
    with pytest.raises(UsageError):
        check_output(output)
    check_output(output, force=True)
    with pytest.raises(UsageError):
        check_output(output, inputs=[output], force=True)
