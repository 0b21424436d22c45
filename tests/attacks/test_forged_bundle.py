"""Bundles that are not from whom they say, or are older than they should be; and trust stores that others wrote."""

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.bundle.test_bundle import zip_folder
from mmcaf_engine import load_bundle
from mmcaf_engine.bundle import bundle as module
from mmcaf_engine.bundle import trusted
from mmcaf_engine.bundle.sealed import MANIFEST_NAME, SIGNATURE_NAME
from mmcaf_engine.bundle.signature import SecretKey, Signature
from mmcaf_engine.bundle.trusted import forget_key, mark_seen, read_store, store_file, trust_key
from mmcaf_engine.errors import BackendError, BundleError, UsageError
from refusals import Fact, refused
from signed_bundles import new_key, sign, with_id_of
from tiny_bundle import make_tiny_bundle

pytest.importorskip("cryptography")

posix = pytest.mark.skipif(os.name != "posix", reason="owners, modes and links are of POSIX")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
STRANGER = 12345


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCAF_REQUIRE_SIGNATURE", "1")


def edit(folder: Path, **changes: Any) -> None:
    """Change the manifest, as whoever can write to the bundle can."""
    manifest = folder / MANIFEST_NAME
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **changes}))


def of_release(folder: Path, release: int | None, key: SecretKey, name: str = "tiny") -> Path:
    if release is None:
        return sign(make_tiny_bundle(folder, name=name), key)
    return sign(make_tiny_bundle(folder, name=name, release=release), key)


# The signature


def test_an_edited_manifest(tiny_bundle: Path) -> None:
    key = new_key("lab")
    edit(sign(tiny_bundle, key), threshold=0.1)
    with refused(BundleError, "tiny.mmcaf", "lab", key.public().name):
        load_bundle(tiny_bundle)


def test_one_byte_that_means_nothing(tiny_bundle: Path) -> None:
    """A manifest that says the same in other bytes is not the one that was signed."""
    sign(tiny_bundle, new_key("lab"))
    with (tiny_bundle / MANIFEST_NAME).open("a") as stream:
        stream.write("\n")
    with refused(BundleError, "lab"):
        load_bundle(tiny_bundle)


def test_the_signature_of_another_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    key = new_key("lab")
    other = sign(make_tiny_bundle(tmp_path / "other.mmcaf", name="other"), key)
    shutil.copy(other / SIGNATURE_NAME, tiny_bundle)
    with refused(BundleError, "tiny.mmcaf", "lab"):
        load_bundle(tiny_bundle)
    assert load_bundle(other).origin.name == "lab"


def test_another_key_of_the_same_id(tiny_bundle: Path) -> None:
    """An id is eight bytes that anybody can write into a signature."""
    key = new_key("lab")
    sign(tiny_bundle, with_id_of(key.public()))
    with refused(BundleError, "lab", key.public().name):
        load_bundle(tiny_bundle)


def test_another_key_of_the_same_id_is_not_trusted_beside_the_first() -> None:
    key = new_key("lab")
    with refused(UsageError, key.public().name, "lab"):
        trust_key(with_id_of(key.public()).public(), "other")
    assert [one.name for one in read_store().keys] == ["lab"]


def test_another_key_of_the_same_name() -> None:
    key = new_key("lab")
    with refused(UsageError, "lab", key.public().name, command="mmcaf trust --remove lab"):
        trust_key(SecretKey.new().public(), "lab")


@pytest.mark.parametrize("name", ["LAB", "ID", "id"])
def test_a_name_that_means_another_key_where_one_is_removed(name: str) -> None:
    """`--remove` takes names and ids, in either case: it must never take away another key than is meant."""
    held = new_key("lab").public()
    name = name if name == "LAB" else held.name if name == "ID" else held.name.lower()
    with refused(UsageError, name, "lab", held.name, command="mmcaf trust --remove lab"):
        trust_key(SecretKey.new().public(), name)
    other = SecretKey.new().public()
    forget_key("lab")
    trust_key(held, other.name)
    with refused(UsageError, other.name, held.name):
        trust_key(other, "other")
    assert [one.public() for one in read_store().keys] == [held]


def test_a_changed_comment(tiny_bundle: Path) -> None:
    file = sign(tiny_bundle, new_key("lab")) / SIGNATURE_NAME
    file.write_bytes(file.read_bytes().replace(b"timestamp:1\t", b"timestamp:2\t"))
    with refused(BundleError, "lab"):
        load_bundle(tiny_bundle)


def test_a_comment_does_not_steer_the_terminal(tiny_bundle: Path) -> None:
    key = new_key("lab")
    made = key.sign((tiny_bundle / MANIFEST_NAME).read_bytes(), "\x1b[2J\rtrusted\u202e" + "x" * 9000)
    (tiny_bundle / SIGNATURE_NAME).write_bytes(made.file()[:16_000])
    found = load_bundle(tiny_bundle).origin
    assert found.in_words.isprintable() and len(found.in_words) < 300


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"x" * 100_000, b"a\nb\nc\nd\n"], ids=range(4))
def test_a_file_that_is_no_signature(tiny_bundle: Path, data: bytes) -> None:
    """Also where none is required: half a signature is not none."""
    (tiny_bundle / SIGNATURE_NAME).write_bytes(data)
    with refused(BundleError, "tiny.mmcaf", "signature", "damaged"):
        load_bundle(tiny_bundle)


@posix
@pytest.mark.parametrize("what", ["link", "pipe", "folder"])
def test_something_else_in_place_of_the_signature(tiny_bundle: Path, what: str, tmp_path: Path) -> None:
    file = sign(tiny_bundle, new_key("lab")) / SIGNATURE_NAME
    file.rename(tmp_path / "elsewhere")
    {"link": lambda: file.symlink_to(tmp_path / "elsewhere"), "pipe": lambda: os.mkfifo(file), "folder": file.mkdir}[
        what
    ]()
    with refused(BundleError, SIGNATURE_NAME, "expected a file"):
        load_bundle(tiny_bundle)


def test_a_zip(tiny_bundle: Path, tmp_path: Path) -> None:
    """Of one whose files are in the cache already, too."""
    key = new_key("lab")
    sound = zip_folder(sign(tiny_bundle, key), tmp_path / "sound.zip")
    assert load_bundle(sound).origin.signed_by == {"name": "lab", "key": key.public().name}
    sign(tiny_bundle, with_id_of(key.public()))
    with refused(BundleError, "forged.zip", "lab"):
        load_bundle(zip_folder(tiny_bundle, tmp_path / "forged.zip"))


def test_a_manifest_that_is_another_when_it_is_read_again(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes that were verified are the bytes that are parsed."""
    sign(tiny_bundle, new_key("lab"))
    judge = module.origin_of

    def then_swap(*given: Any, **named: Any) -> Any:
        found = judge(*given, **named)
        edit(tiny_bundle, name="forged", threshold=0.1)
        return found

    monkeypatch.setattr(module, "origin_of", then_swap)
    bundle = load_bundle(tiny_bundle)
    assert (bundle.manifest.name, bundle.manifest.threshold, bundle.origin.name) == ("tiny", 0.5, "lab")


def test_a_manifest_cannot_list_its_own_signature(tiny_bundle: Path) -> None:
    files = json.loads((tiny_bundle / MANIFEST_NAME).read_text())["files"]
    (tiny_bundle / SIGNATURE_NAME).write_text("x")
    edit(tiny_bundle, files={**files, SIGNATURE_NAME: files["model.onnx"]})
    (tiny_bundle / SIGNATURE_NAME).unlink()
    with refused(BundleError, SIGNATURE_NAME):
        load_bundle(tiny_bundle)


# Where signatures are required


def test_an_unsigned_bundle(tiny_bundle: Path, required: None, tmp_path: Path) -> None:
    for path in (tiny_bundle, zip_folder(tiny_bundle, tmp_path / "tiny.zip")):
        with refused(BundleError, path.name, "not signed", "$MMCAF_REQUIRE_SIGNATURE", command="mmcaf sign"):
            load_bundle(path)


def test_a_signature_that_was_taken_away(tiny_bundle: Path, required: None) -> None:
    sign(tiny_bundle, new_key("lab"))
    assert load_bundle(tiny_bundle).origin.name == "lab"
    (tiny_bundle / SIGNATURE_NAME).unlink()
    with refused(BundleError, "not signed"):
        load_bundle(tiny_bundle)


def test_a_key_that_nobody_trusts(tiny_bundle: Path, required: None) -> None:
    new_key("lab")
    stranger = new_key()
    sign(tiny_bundle, stranger)
    with refused(BundleError, stranger.public().name, "not trusted", command="mmcaf trust KEY.pub"):
        load_bundle(tiny_bundle)


@pytest.mark.parametrize("by", ["trusted", "stranger"])
def test_without_what_verifies(tiny_bundle: Path, required: None, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never taken for verified: what is by a trusted key names the package, what is not is refused as ever."""
    key = new_key("lab" if by == "trusted" else None)
    sign(tiny_bundle, key)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with refused(BackendError, "cryptography", command="pip install") if by == "trusted" else refused(BundleError):
        load_bundle(tiny_bundle)
    monkeypatch.delenv("MMCAF_REQUIRE_SIGNATURE")
    if by == "trusted":
        with refused(BackendError, "cryptography", command="pip install"):
            load_bundle(tiny_bundle)
    else:
        assert load_bundle(tiny_bundle).origin.signed_by is None


# Older releases


@pytest.mark.parametrize("older", [2, None])
def test_an_older_release(tmp_path: Path, older: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key("lab")
    old, new = of_release(tmp_path / "old.mmcaf", older, key), of_release(tmp_path / "new.mmcaf", 3, key)
    load_bundle(old)
    load_bundle(new)
    with refused(BundleError, "old.mmcaf", 3, *((older,) if older else ()), command="export"):
        load_bundle(old)
    assert load_bundle(new).origin.warnings == ()
    monkeypatch.setenv("MMCAF_ALLOW_OLDER_RELEASE", "1")
    allowed = load_bundle(old).origin
    assert "release 3" in allowed.in_words and ["release 3" in one for one in allowed.warnings] == [True]
    monkeypatch.delenv("MMCAF_ALLOW_OLDER_RELEASE")
    with refused(BundleError, 3):  # Having been allowed once does not lower it.
        load_bundle(old)


def test_releases_are_of_one_model_and_one_key(tmp_path: Path) -> None:
    key, other = new_key("lab"), new_key("other")
    load_bundle(of_release(tmp_path / "a.mmcaf", 5, key))
    load_bundle(of_release(tmp_path / "b.mmcaf", 1, key, name="liver"))
    load_bundle(of_release(tmp_path / "c.mmcaf", 2, other))
    load_bundle(of_release(tmp_path / "d.mmcaf", 1, new_key()))
    load_bundle(make_tiny_bundle(tmp_path / "e.mmcaf", release=1))
    seen = {(one.model, one.key): one.release for one in read_store().seen}
    keys = {one.name: one.key for one in read_store().keys}
    assert seen == {("tiny", keys["lab"]): 5, ("liver", keys["lab"]): 1, ("tiny", keys["other"]): 2}


def test_a_forged_release_is_not_remembered(tiny_bundle: Path) -> None:
    """Else whoever can write a bundle could have all genuine ones refused from then on."""
    edit(sign(tiny_bundle, new_key("lab")), release=10**6, format_version=2)
    with refused(BundleError, "lab"):
        load_bundle(tiny_bundle)
    assert read_store().seen == ()


def test_a_release_that_cannot_be_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where the configuration is read-only: it answers, and says so."""
    bundle = of_release(tmp_path / "new.mmcaf", 3, new_key("lab"))

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("mmcaf_engine.bundle.trusted.write_file", refuse)
    assert load_bundle(bundle).origin.name == "lab"
    assert "Read-only file system" in caplog.text and read_store().seen == ()


# The trust store


def test_a_store_never_becomes_too_large_to_be_read(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever signs bundles of many names could have nothing trusted any more."""
    monkeypatch.setattr(trusted, "_MAX_STORE_BYTES", 3000)
    key, added = read_store().keys[0], 0
    with refused(UsageError, "trusted.json", "full", 3000, command="mmcaf trust --list"):
        for added in range(100):
            mark_seen(key, f"{added:0200}", 1)
    assert added > 3 and len(read_store().seen) == added and load_bundle(signed).origin.name == "lab"


@contextmanager
def store_refused(bundle: Path, *facts: Fact) -> Iterator[None]:
    """What is changed within is refused by whoever reads the store and by whoever writes it."""
    yield
    with refused(UsageError, *facts):
        load_bundle(bundle)
    with refused(UsageError, *facts):
        new_key("another")


@pytest.fixture
def signed(tiny_bundle: Path) -> Path:
    return sign(tiny_bundle, new_key("lab"))


@posix
def test_a_link_in_place_of_the_store(signed: Path, tmp_path: Path) -> None:
    with store_refused(signed, "trusted.json", "link"):
        store_file().rename(tmp_path / "store")
        store_file().symlink_to(tmp_path / "store")
    assert json.loads((tmp_path / "store").read_text())["keys"][0]["name"] == "lab"


@posix
def test_a_store_of_this_user_alone(signed: Path) -> None:
    assert store_file().stat().st_mode & 0o777 == 0o600
    assert store_file().parent.stat().st_mode & 0o777 == 0o700


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_store_that_others_may_write(signed: Path, mode: int) -> None:
    with store_refused(signed, "trusted.json", f"{mode:o}"):
        store_file().chmod(mode)


@posix
@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_folder_that_others_may_write(signed: Path, mode: int) -> None:
    with store_refused(signed, "trust store", f"{mode:o}"):
        store_file().parent.chmod(mode)


@posix
def test_a_folder_above_that_others_may_write(signed: Path, tmp_path: Path) -> None:
    with store_refused(signed, "trust store", "777"):
        (tmp_path / "config").chmod(0o777)
    (tmp_path / "config").chmod(0o700)


@as_root
def test_a_store_of_another_user(signed: Path) -> None:
    with store_refused(signed, "trusted.json", "another user"):
        os.chown(store_file(), STRANGER, STRANGER)


@posix
@pytest.mark.parametrize("what", ["pipe", "folder"])
def test_something_else_in_place_of_the_store(signed: Path, what: str) -> None:
    store_file().unlink()
    with store_refused(signed, "trusted.json", "expected a file"):
        os.mkfifo(store_file()) if what == "pipe" else store_file().mkdir()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "", lambda text: "[]", lambda text: text[:-10],
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"seen"', '"also"'), lambda text: text.replace('"lab"', '"\\u001b[2J"'),
        lambda text: text.replace('"name": "lab"', '"name": "lab", "admin": true'),
        lambda text: text.replace('"key": "RW', '"key": "XX'), lambda text: text + " " * (1 << 20),
        lambda text: text.replace('"keys": [', f'"keys": [{{"name": "lab", "key": "{SecretKey.new().public()}"}},'),
    ],
    ids=["empty", "list", "cut", "format", "unknown", "control", "extra", "key", "long", "two of a name"],
)  # fmt: skip
def test_a_store_that_is_damaged(signed: Path, change: Callable[[str], str]) -> None:
    """Nothing of it is taken: half a store could be one without the newest release."""
    with store_refused(signed):
        store_file().write_text(change(store_file().read_text()))


def test_two_keys_of_one_id_in_the_store(signed: Path) -> None:
    document = json.loads(store_file().read_text())
    other = with_id_of(read_store().keys[0].public())
    document["keys"].append({"name": "other", "key": str(other.public())})
    with store_refused(signed, "two keys"):
        store_file().write_text(json.dumps(document))


def test_a_member_of_the_same_name_twice(signed: Path, tmp_path: Path) -> None:
    """Of a zip that holds two manifests, what is verified is what is read."""
    archive = zip_folder(signed, tmp_path / "twice.zip")
    forged = json.dumps({**json.loads((signed / MANIFEST_NAME).read_text()), "threshold": 0.1})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(archive, "a") as stream:
        stream.writestr(MANIFEST_NAME, forged)
    with refused(BundleError, "twice.zip"):
        load_bundle(archive)


def test_a_signature_names_the_key_and_not_the_other_way_round(signed: Path) -> None:
    found = Signature.read((signed / SIGNATURE_NAME).read_bytes(), shown="s")
    assert read_store().key(found.id) is not None and read_store().key(bytes(8)) is None
