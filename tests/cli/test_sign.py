"""`mmcaf sign` and `mmcaf trust KEY.pub`: what they write and say, and what every wrong input is told."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

import counterparts
from command import Command
from dicom_factory import ct_series, hounsfield, save
from engine.bundle.test_bundle import zip_folder
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.bundle import signing
from mmcaf_engine.bundle.sealed import MANIFEST_NAME, SIGNATURE_NAME
from mmcaf_engine.bundle.signature import PublicKey, SecretKey, Signature, Work
from mmcaf_engine.bundle.trusted import mark_seen, read_store, store_file, trust_key
from mmcaf_engine.errors import UsageError
from mmcaf_engine.profile.report import Settings, SubjectFacts
from mmcaf_engine.profile.run import _Profile
from mmcaf_engine.profile.trace import trace_json
from refusals import Fact, refused
from signed_bundles import key_files, new_key, sign
from tiny_bundle import SIZE, make_tiny_bundle

pytest.importorskip("cryptography")

CHEAP = Work(32768, 16 << 20)


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The secret file; the public one lies beside it."""
    secret, _ = key_files(SecretKey.new(), tmp_path)
    return secret


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_a_folder(run: Command, tiny_bundle: Path, key: Path) -> None:
    before = content(tiny_bundle)
    (tiny_bundle / MANIFEST_NAME).chmod(0o644)
    outcome = run("mmcaf", "sign", tiny_bundle, "--key", key)
    public = PublicKey.read(key.with_suffix(".pub").read_bytes(), shown="k")
    assert outcome.code == 0 and outcome.err == "" and public.name in outcome.out
    assert f"minisign -Vm {tiny_bundle / MANIFEST_NAME} -P {public}" in outcome.out
    after = content(tiny_bundle)
    found = Signature.read(after.pop(SIGNATURE_NAME), shown="s")
    assert after == before and found.prehashed and found.verifies(before[MANIFEST_NAME], public)
    assert found.comment.endswith(b"\tfile:manifest.json\thashed")
    assert os.name != "posix" or (tiny_bundle / SIGNATURE_NAME).stat().st_mode & 0o777 == 0o644


def test_minisign_verifies_it_and_refuses_a_changed_manifest(run: Command, tiny_bundle: Path, key: Path) -> None:
    minisign = counterparts.need("minisign")
    assert run("mmcaf", "sign", tiny_bundle, "--key", key).code == 0
    command = [minisign, "-Vm", str(tiny_bundle / MANIFEST_NAME), "-p", str(key.with_suffix(".pub"))]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    manifest = (tiny_bundle / MANIFEST_NAME).read_text()
    (tiny_bundle / MANIFEST_NAME).write_text(manifest.replace('"threshold": 0.5', '"threshold": 0.4'))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_what_minisign_signed_is_taken(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    minisign = counterparts.need("minisign")
    public, secret = tmp_path / "vendor.pub", tmp_path / "vendor.key"
    subprocess.run([minisign, "-G", "-W", "-p", public, "-s", secret], capture_output=True, check=True)
    subprocess.run([minisign, "-Sm", tiny_bundle / MANIFEST_NAME, "-s", secret], capture_output=True, check=True)
    assert run("mmcaf", "trust", public).code == 0
    assert load_bundle(tiny_bundle).origin.name == "vendor"
    assert run("mmcaf", "sign", tiny_bundle, "--key", secret, "--force").code == 0


def test_a_zip_keeps_all_that_it_holds(run: Command, tiny_bundle: Path, tmp_path: Path, key: Path) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    with zipfile.ZipFile(archive, "a") as stream:
        stream.writestr("notes/", b"")
        stream.writestr("notes/of a reader.txt", b"kept", zipfile.ZIP_DEFLATED)
    archive.chmod(0o640)
    for force in ([], ["--force"]):
        assert run("mmcaf", "sign", archive, "--key", key, *force).code == 0
        with zipfile.ZipFile(archive) as stream:
            names = stream.namelist()
            assert stream.testzip() is None and stream.read("notes/of a reader.txt") == b"kept"
            signature = Signature.read(stream.read(SIGNATURE_NAME), shown="s")
            held = {name: stream.read(name) for name in content(tiny_bundle)}
        assert len(names) == len(set(names)) == len(content(tiny_bundle)) + 3
        assert held == content(tiny_bundle)
        assert signature.verifies(held[MANIFEST_NAME], PublicKey.read(key.with_suffix(".pub").read_bytes(), shown="k"))
    assert os.name != "posix" or archive.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    trust_key(PublicKey.read(key.with_suffix(".pub").read_bytes(), shown="k"), "lab")
    assert load_bundle(archive).origin.name == "lab"


def test_a_zip_stays_if_the_new_one_cannot_be_written(
    run: Command, tiny_bundle: Path, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    before = archive.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(signing.shutil, "copyfileobj", full)
    run("mmcaf", "sign", archive, "--key", key).refused(2, "tiny.zip", "No space left on device")
    assert archive.read_bytes() == before and not list(tmp_path.glob(".mmcaf*"))


def test_what_was_signed_is_replaced_by_force_alone(run: Command, tiny_bundle: Path, tmp_path: Path, key: Path) -> None:
    assert run("mmcaf", "sign", tiny_bundle, "--key", key).code == 0
    before = content(tiny_bundle)
    other, _ = key_files(SecretKey.new(), tmp_path, "other")
    run("mmcaf", "sign", tiny_bundle, "--key", other).refused(2, "tiny.mmcaf", "--force")
    assert content(tiny_bundle) == before
    (tiny_bundle / SIGNATURE_NAME).write_bytes(b"half a signa")
    assert run("mmcaf", "sign", tiny_bundle, "--key", other, "--force").code == 0
    assert content(tiny_bundle)[SIGNATURE_NAME] != before[SIGNATURE_NAME]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_damaged_bundle_is_not_signed(run: Command, tiny_bundle: Path, tmp_path: Path, key: Path, kind: str) -> None:
    data = bytearray((tiny_bundle / "model.onnx").read_bytes())
    data[-1] ^= 1
    (tiny_bundle / "model.onnx").write_bytes(data)
    path = tiny_bundle if kind == "folder" else zip_folder(tiny_bundle, tmp_path / "tiny.zip")
    run("mmcaf", "sign", path, "--key", key).refused(5, "model.onnx", "SHA-256")
    assert SIGNATURE_NAME not in content(tiny_bundle)


def test_signing_where_signatures_are_required(
    run: Command, tiny_bundle: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who signs has it unsigned yet; everything else is refused until then."""
    monkeypatch.setenv("MMCAF_REQUIRE_SIGNATURE", "true")
    run("mmcaf", "inspect", tiny_bundle).refused(5, "not signed")
    assert run("mmcaf", "sign", tiny_bundle, "--key", key).code == 0
    assert run("mmcaf", "trust", key.with_suffix(".pub")).code == 0
    assert run("mmcaf", "inspect", tiny_bundle).code == 0


@pytest.mark.skipif(os.name != "posix", reason="links are of POSIX")
def test_a_link_in_place_of_the_signature_is_not_followed(
    run: Command, tiny_bundle: Path, tmp_path: Path, key: Path
) -> None:
    (tmp_path / "precious").write_text("precious")
    (tiny_bundle / SIGNATURE_NAME).symlink_to(tmp_path / "precious")
    outcome = run("mmcaf", "sign", tiny_bundle, "--key", key, "--force")
    assert outcome.code == 5 and "link" in outcome.err and (tmp_path / "precious").read_text() == "precious"


# Keys


def test_a_new_key(run: Command, tmp_path: Path, tiny_bundle: Path) -> None:
    outcome = run("mmcaf", "sign", "--new-key", tmp_path / "new.key", "--no-password")
    assert outcome.code == 0 and "new.pub" in outcome.out
    assert os.name != "posix" or (tmp_path / "new.key").stat().st_mode & 0o777 == 0o600
    assert run("mmcaf", "sign", tiny_bundle, "--key", tmp_path / "new.key").code == 0
    assert run("mmcaf", "trust", tmp_path / "new.pub", "--name", "our lab").code == 0
    assert load_bundle(tiny_bundle).origin.name == "our lab"


@pytest.mark.parametrize("name", ["new.key", "new.pub"])
def test_a_key_is_never_replaced(run: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    outcome = run("mmcaf", "sign", "--new-key", tmp_path / "new.key", "--no-password", "--force")
    outcome.refused(2, str(tmp_path / name))
    assert "never replaced" in outcome.err and "--force" not in outcome.err
    assert {file.name: file.read_text() for file in tmp_path.glob("new.*")} == {name: "precious"}


def test_a_password_from_a_file_and_from_stdin(
    run: Command, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing.new_key, "__kwdefaults__", {"work": CHEAP})
    (tmp_path / "password").write_bytes("p\u00e4ss word \r\nnot of it".encode())
    made = run("mmcaf", "sign", "--new-key", tmp_path / "new.key", "--password", tmp_path / "password")
    assert made.code == 0
    assert (
        run("mmcaf", "sign", tiny_bundle, "--key", tmp_path / "new.key", "--password", tmp_path / "password").code == 0
    )
    for typed, code in (("p\u00e4ss word \n", 0), ("p\u00e4ss word\n", 2), ("", 2), ("x" * 5000, 2)):
        monkeypatch.setattr("mmcaf_cli.sign.read_stdin", lambda size, typed=typed: typed.encode()[: size + 1])
        done = run("mmcaf", "sign", tiny_bundle, "--key", tmp_path / "new.key", "--password", "-", "--force")
        assert done.code == code and "p\u00e4ss" not in done.err, done.err


def test_a_password_that_nobody_can_be_asked_for(
    run: Command, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "lab.key"
    secret.write_text(SecretKey.new().file(b"x", CHEAP))
    secret.chmod(0o600)
    monkeypatch.setattr("sys.stdin", io.StringIO("x\n"))
    run("mmcaf", "sign", tiny_bundle, "--key", secret).refused(2, "terminal", "--password")


@pytest.mark.parametrize(("typed", "code"), [(["x", "x"], 0), (["x", "y"], 2), (["", ""], 2)])
def test_a_new_password_is_asked_for_twice(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], code: int
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers = iter(typed)
    monkeypatch.setattr(signing.new_key, "__kwdefaults__", {"work": CHEAP})
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    outcome = run("mmcaf", "sign", "--new-key", tmp_path / "new.key")
    assert outcome.code == code and (tmp_path / "new.key").exists() is (code == 0), outcome.err


def test_a_secret_key_that_lies_in_the_bundle(run: Command, tiny_bundle: Path, key: Path) -> None:
    """Whoever is given the bundle would be given the key."""
    inside = key.rename(tiny_bundle / "lab.key")
    for named in (inside, tiny_bundle / ".." / tiny_bundle.name / "lab.key"):
        run("mmcaf", "sign", tiny_bundle, "--key", named).refused(2, "lab.key", "within the bundle")
    assert SIGNATURE_NAME not in content(tiny_bundle)


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_secret_key_that_others_may_read(run: Command, tiny_bundle: Path, key: Path, mode: int) -> None:
    key.chmod(mode)
    run("mmcaf", "sign", tiny_bundle, "--key", key).refused(2, "lab.key", f"{mode:o}")


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (["sign"], 2, ("mmcaf sign BUNDLE --key FILE",)),
        (["sign", "BUNDLE"], 2, ("--key", "mmcaf sign --new-key FILE")),
        (["sign", "BUNDLE", "--key", "PUBLIC"], 2, ("lab.pub", 212)),
        (["sign", "BUNDLE", "--key", "nowhere"], 2, ("nowhere", "no such file")),
        (["sign", "nowhere", "--key", "SECRET"], 5, ("nowhere", "no such bundle")),
        (["sign", "BUNDLE", "--key", "SECRET", "--new-key", "x"], 2, ("new key",)),
        (["sign", "BUNDLE", "--key", "SECRET", "--no-password"], 2, ("--no-password", "--new-key")),
        (["sign", "--new-key", "x", "--no-password", "--password", "-"], 2, ("--no-password", "--password")),
        (["sign", "--new-key", "x.pub", "--no-password"], 2, ("x.pub", "--new-key")),
        (["sign", "--new-key", "no/folder/x", "--no-password"], 2, ("no/folder/x",)),
        (["trust"], 2, ("mmcaf trust KEY.pub", "mmcaf trust --list")),
        (["trust", "PUBLIC", "--list"], 2, ("mmcaf trust KEY.pub",)),
        (["trust", "--list", "--remove", "lab"], 2, ("mmcaf trust KEY.pub",)),
        (["trust", "SECRET"], 2, ("lab.key", 56)),
        (["trust", "nowhere.pub"], 2, ("nowhere.pub", "no such file")),
        (["trust", "PUBLIC", "--name", ""], 2, ("name", 64, "--name")),
        (["trust", "PUBLIC", "--name", "a\nb"], 2, ("name", 64, "--name")),
        (["trust", "PUBLIC", "--name", "x" * 65], 2, ("name", 64, "--name")),
        (["trust", "PUBLIC", "--sha256", "0" * 64], 2, ("--sha256",)),
        (["trust", "--list", "--name", "x"], 2, ("--name",)),
        (["trust", "--remove", "stranger"], 2, ("stranger", "none")),
    ],
    ids=lambda value: " ".join(value)[:60].replace("\n", " ") if isinstance(value, list) else "",
)
def test_wrong_usage(
    run: Command, tiny_bundle: Path, key: Path, arguments: list[str], code: int, facts: tuple[Fact, ...]
) -> None:
    places = {"BUNDLE": tiny_bundle, "SECRET": key, "PUBLIC": key.with_suffix(".pub")}
    run("mmcaf", *(places.get(one, one) for one in arguments)).refused(code, *facts)
    assert SIGNATURE_NAME not in content(tiny_bundle) and read_store().keys == ()


def test_without_the_package(
    run: Command, tiny_bundle: Path, key: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    for arguments in (["sign", tiny_bundle, "--key", key], ["sign", "--new-key", tmp_path / "x", "--no-password"]):
        run("mmcaf", *arguments).refused(6, "cryptography", "pip install")
    assert not (tmp_path / "x").exists()


# The trust store


def test_keys_are_listed_and_removed(run: Command, tiny_bundle: Path, key: Path) -> None:
    public = key.with_suffix(".pub")
    assert "no key is trusted" in run("mmcaf", "trust", "--list").out
    assert run("mmcaf", "trust", public).code == 0
    assert "trusted already" in run("mmcaf", "trust", public).out
    run("mmcaf", "trust", public, "--name", "other").refused(2, "lab", "mmcaf trust --remove lab")
    trusted = read_store().keys[0]
    mark_seen(trusted, "tiny", 3)
    assert run("mmcaf", "trust", "--list").out.splitlines() == [
        f"lab: key {trusted.public().name}",
        "  tiny: release 3 was opened",
    ]
    [listed] = json.loads(run("mmcaf", "trust", "--list", "--json").out)["keys"]
    assert listed["releases"] == {"tiny": 3} and listed["public_key"] == trusted.key
    assert run("mmcaf", "trust", "--remove", trusted.public().name.lower()).code == 0
    assert read_store().keys == read_store().seen == ()
    assert run("mmcaf", "trust", public, "--name", "again").code == 0
    assert run("mmcaf", "trust", "--remove", "again").code == 0 and read_store().keys == ()


def test_a_release_is_noted_of_trusted_keys_alone_and_never_lowered() -> None:
    new_key("lab")
    key = read_store().keys[0]
    for release in (3, 5, 4):
        mark_seen(key, "tiny", release)
    assert [one.release for one in read_store().seen] == [5]
    mark_seen(key.model_copy(update={"name": "other"}), "tiny", 9)
    assert [one.release for one in read_store().seen] == [5]


def trust_some(first: int) -> None:
    for at in range(first, first + 5):
        new_key(f"key {at}")


def test_several_trust_at_the_same_time() -> None:
    """None loses what another has added; the system's lock holds for threads as for processes."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(trust_some, (0, 5, 10, 15)))
    assert len(read_store().keys) == 20


def test_without_a_home_folder(run: Command, key: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcaf_engine.bundle.trusted.config_file", lambda: None)
    run("mmcaf", "trust", key.with_suffix(".pub")).refused(2, "home folder", "XDG_CONFIG_HOME")
    with refused(UsageError, "home folder"):
        store_file()
    assert run("mmcaf", "sign", tiny_bundle, "--key", key).code == 0
    assert load_bundle(tiny_bundle).origin.signed_by is None


# What is said of it


def test_every_place_says_who_signed(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    key = new_key("our lab")
    signer = {"name": "our lab", "key": key.public().name}
    plain = Path(shutil.copytree(tiny_bundle, tmp_path / "plain.mmcaf"))
    by_stranger = sign(Path(shutil.copytree(tiny_bundle, tmp_path / "stranger.mmcaf")), new_key())
    sign(tiny_bundle, key)
    for bundle, expected, said in (
        (tiny_bundle, signer, f"signed by our lab, key {key.public().name}"),
        (plain, None, "not signed"),
        (by_stranger, None, "not trusted here"),
    ):
        assert said in run("mmcaf", "inspect", bundle).out
        shown = json.loads(run("mmcaf", "inspect", bundle, "--json").out)
        assert shown["model"] == load_bundle(bundle).summary.to_dict() and shown["model"]["signed_by"] == expected
        assert shown["signature"]["key"] is (None if bundle is plain else shown["signature"]["key"])
        assert shown["manifest"] == json.loads((bundle / MANIFEST_NAME).read_text()) and shown["accuracy"] is None
        report = tmp_path / f"{bundle.name}.json"
        assert said in run("mmcaf", "verify", bundle, "--backend", "onnxruntime", "-o", report).out
        assert json.loads(report.read_text())["model"]["signed_by"] == expected
        with open_session(load_bundle(bundle), backend="onnxruntime") as session:
            assert session.describe()["signed_by"] == expected


def test_every_report_says_who_signed(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    key = new_key("our lab")
    sign(tiny_bundle, key)
    save(ct_series(hounsfield(6, SIZE, SIZE)), tmp_path / "study")
    (tmp_path / "record.json").write_text('{"sex": "F", "age": 63}')
    (tmp_path / "cohort.csv").write_text("study,record\nstudy,record.json\n")
    told = {"name": "our lab", "key": key.public().name}
    one = ("--backend", "onnxruntime", "--precision", "fp32", "--json")
    evaluated = run("mmcaf", "evaluate", tmp_path / "cohort.csv", "--bundle", tiny_bundle, *one)
    tuned = run("mmcaf", "tune", tiny_bundle, "--runs", "1", "--json")
    for outcome in (evaluated, tuned):
        assert json.loads(outcome.out)["model"] == load_bundle(tiny_bundle).summary.to_dict(), outcome.err
        assert json.loads(outcome.out)["model"]["signed_by"] == told
    settings = Settings(runs=1, warmup=1, threads=1, batch=1, concurrency=(1,))
    subject = SimpleNamespace(facts=SubjectFacts("golden cases", None, 1, {}), note=None)
    profile = _Profile(load_bundle(tiny_bundle), subject, settings, SimpleNamespace())  # type: ignore[arg-type]
    report = profile.report(interrupted=False)
    assert report.bundle.signed_by == json.loads(trace_json(report))["otherData"]["signed_by"] == told


def test_an_answer_says_who_signed(
    run: Command, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = save(ct_series(hounsfield(6, SIZE, SIZE)), tmp_path / "study")
    (tmp_path / "record.json").write_text('{"sex": "F", "age": 63}')

    def answered(bundle: Path, *more: str) -> tuple[dict[str, object], str]:
        command = ("mmcaf-infer", study, tmp_path / "record.json", "--bundle", bundle, "--backend", "onnxruntime")
        return json.loads(run(*command, "--json", *more).out), run(*command, *more).out

    document, text = answered(tiny_bundle)
    assert document["model"]["signed_by"] is None and "signed" not in text
    stranger = new_key()
    sign(tiny_bundle, stranger)
    other, text = answered(tiny_bundle, "--strict")
    assert other["model"]["signed_by"] is None and "signed by" not in text
    [remark] = [one for one in other["remarks"] if stranger.public().name in one]
    assert remark in text
    key = new_key("our lab")
    load_bundle(sign(make_tiny_bundle(tmp_path / "newer.mmcaf", release=2), key))
    monkeypatch.setenv("MMCAF_ALLOW_OLDER_RELEASE", "1")
    signed, text = answered(sign(tiny_bundle, key))
    assert signed["model"]["signed_by"] == {"name": "our lab", "key": key.public().name}
    assert ", signed by our lab" in text and signed["remarks"] == document["remarks"]
    [warning] = [one for one in signed["warnings"] if one not in document["warnings"]]
    assert "release 2" in warning and warning in text
    for changing in ("created", "model", "warnings", "timing_ms"):
        del document[changing], signed[changing]
    assert signed == document
