"""Bundles that the C library must not open: damaged, incomplete, of a newer format, not signed by the right key."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from libmmcaf import (
    Network,
    opened,
)
from mmcaf_engine.bundle.bundle import load_bundle, load_unjudged, write_bundle
from mmcaf_engine.bundle.signature import SecretKey
from mmcaf_engine.errors import MmcafError
from tiny_bundle import make_draft, tiny_manifest
from wrong_calls import (
    BUNDLE,
    GOOD,
    KEPT,
    USAGE,
    refused,
)


def test_no_bundle(tmp_path: Path) -> None:
    with refused(BUNDLE, "no such bundle"), opened(tmp_path / "none.mmcaf"):
        pass
    (tmp_path / "text.zip").write_text("no zip")
    with refused(BUNDLE, "text.zip"), opened(tmp_path / "text.zip"):
        pass


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "golden.npz"])
def test_a_bundle_with_one_bit_changed(bundle: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(bundle, tmp_path / "tiny.mmcaf")
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 0x80
    (copy / name).write_bytes(data)
    with refused(BUNDLE), opened(copy, cache=""):
        pass


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "golden.npz"])
def test_a_bundle_that_lacks_a_file_or_has_a_link_for_one(bundle: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(bundle, tmp_path / "tiny.mmcaf")
    (copy / name).unlink()
    with refused(BUNDLE, name), opened(copy, cache=""):
        pass
    if name != "manifest.json":
        (copy / name).symlink_to(bundle / name)
        with refused(BUNDLE, name), opened(copy, cache=""):
            pass


def test_a_newer_format_is_refused_by_name(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "tiny.mmcaf")
    document = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**document, "format_version": 3, "speed": "high"}))
    with refused(BUNDLE, "bundle format 3", "up to 2"), opened(copy):
        pass


def test_an_unknown_field_is_refused_by_name(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "tiny.mmcaf")
    document = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**document, "speed": "high"}))
    with refused(BUNDLE, "speed"), opened(copy):
        pass


def test_only_what_a_key_has_signed_is_opened_with_it(bundle: Path, tmp_path: Path) -> None:
    key, other = SecretKey.new(), SecretKey.new()
    copy = shutil.copytree(bundle, tmp_path / "tiny.mmcaf")
    with refused(BUNDLE, "signed"), opened(copy, cache="", trusted_key=str(key.public())):
        pass
    sealed = (copy / "manifest.json").read_bytes()
    (copy / "manifest.json.minisig").write_bytes(key.sign(sealed, "release 1").file())
    with opened(copy, cache="", trusted_key=str(key.public())) as network:
        assert network.json["signed_by"] is not None
    with refused(BUNDLE, key.public().name), opened(copy, cache="", trusted_key=str(other.public())):
        pass
    with opened(copy, cache="") as network:
        assert any(key.public().name in one for one in json.loads(network.answer(KEPT, GOOD.decode()))["remarks"])
    (copy / "manifest.json.minisig").write_bytes(key.sign(sealed + b" ", "release 1").file())
    with refused(BUNDLE, "altered"), opened(copy, cache="", trusted_key=str(key.public())):
        pass


def test_where_signatures_are_required_only_a_named_key_opens(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("MMCAF_REQUIRE_SIGNATURE", "1")
    key = SecretKey.new()
    copy = shutil.copytree(bundle, tmp_path / "tiny.mmcaf")
    refuses_as_python(copy, BUNDLE)
    sealed = (copy / "manifest.json").read_bytes()
    (copy / "manifest.json.minisig").write_bytes(key.sign(sealed, "release 1").file())
    refuses_as_python(copy, BUNDLE)
    with opened(copy, cache="", trusted_key=str(key.public())) as network:
        assert network.json["signed_by"] is not None
    monkeypatch.setenv("MMCAF_REQUIRE_SIGNATURE", "yes")
    refuses_as_python(copy, USAGE)
    with refused(USAGE, "MMCAF_REQUIRE_SIGNATURE"), opened(copy, cache="", trusted_key=str(key.public())):
        pass
    monkeypatch.setenv("MMCAF_REQUIRE_SIGNATURE", "0")
    with opened(copy, cache="") as network:
        assert network.json["signed_by"] is None


def refuses_as_python(bundle: Path, code: int) -> None:
    """With the same words."""
    with pytest.raises(MmcafError) as by_python:
        load_bundle(bundle)
    with refused(code, by_python.value.problem), opened(bundle, cache=""):
        pass


@pytest.mark.parametrize("fault", ["compressed", "twice", "cut", "altered"])
def test_a_zip_that_is_no_bundles(bundle: Path, tmp_path: Path, fault: str) -> None:
    file = tmp_path / "tiny.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if fault == "compressed" else zipfile.ZIP_STORED) as archive:
        for name in sorted(one.name for one in bundle.iterdir()):
            data = (bundle / name).read_bytes()
            archive.writestr(name, data[:-1] + b"?" if fault == "altered" and name == "model.onnx" else data)
        if fault == "twice":
            archive.writestr("MANIFEST.json", "{}")
    if fault == "cut":
        file.write_bytes(file.read_bytes()[:-30])
    with refused(BUNDLE, "tiny.zip"), opened(file, cache=""):
        pass


def test_a_zip_answers_as_its_folder_does(network: Network, tmp_path: Path) -> None:
    packed = write_bundle(make_draft(tmp_path / "draft"), tiny_manifest(), tmp_path / "tiny.zip")
    assert load_unjudged(packed.shown)
    with opened(tmp_path / "tiny.zip", cache="") as zipped:
        first, second = (json.loads(one.answer(KEPT, GOOD.decode())) for one in (network, zipped))
    assert first["probabilities"] == second["probabilities"]
