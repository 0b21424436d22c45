"""minisign's files: what minisign 0.11 wrote is read, and what is written, minisign reads."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest

import counterparts
from mmcaf_engine.bundle import signature as module
from mmcaf_engine.bundle.signature import FULL_WORK, PublicKey, SecretKey, Signature, Work
from mmcaf_engine.errors import BackendError, BundleError, UsageError
from refusals import Fact, refused

pytest.importorskip("cryptography")

PUBLIC = b"""untrusted comment: minisign public key 9CDDC78B67B78FC
RWT8eHu2eNzNCbO1CmbkZKpRjTIFPNLlseIeE7pZ4YfMNhf92wXWgHXk
"""
SECRET = b"""untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/Hh7tnjczQnF/+vwwVKUEvNh9dED0qyK9HUCKkQQ\
gF59OhMAs0aF07O1CmbkZKpRjTIFPNLlseIeE7pZ4YfMNhf92wXWgHXkAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
"""
SIGNED = b"hello\n"
PREHASHED = b"""untrusted comment: signature from minisign secret key
RUT8eHu2eNzNCZUHwWFRbH+//4Z6qTU6/tZ5WX3G7uK16yN/KxFDgVcfPAE6VBkDv1m8I5MTWpQynJ7AMBoEJQooBmVRW9SQMwY=
trusted comment: timestamp:1796018152\tfile:m\thashed
4tJK2/9e7aG0tWEcd5GHA+vSZ5CeApxbWgUVwWhD/gxegHsnslDSCzy9tfkwaFXEVP8hX0whFY19HCEJEjxZAA==
"""
LEGACY = b"""untrusted comment: signature from minisign secret key
RWT8eHu2eNzNCQbbRzmt+odUZyKHBD545+wuLJyXY6lHD1VTDpTiKVhwDaIu606zt15zgRbvZAOkHZbEJHjzwhmhn9yz97xbFQ8=
trusted comment: timestamp:1796018152\tfile:m
7rDbSrCzr99T9HRUt0PWZxaXjMtEeqHFzU1yzbpPaTsATwdlwPLCeeK4X4QXT5FqjbZYPYd9JZcQU1yS3xi+Ag==
"""
"""Of `minisign -G -W`, `-S` and `-S -l`, minisign 0.11 of Debian 12."""

CHEAP = Work(32768, 16 << 20)


def no_password() -> bytes:
    raise AssertionError("a password was asked for")


def flipped(data: bytes, line: int, at: int) -> bytes:
    """With one bit of what a line of base64 holds turned round."""
    lines = data.split(b"\n")
    held = bytearray(base64.b64decode(lines[line]))
    held[at] ^= 1
    lines[line] = base64.b64encode(held)
    return b"\n".join(lines)


def minisign(*arguments: object, typed: str = "") -> subprocess.CompletedProcess[str]:
    program = counterparts.need("minisign")
    return subprocess.run([program, *map(str, arguments)], input=typed, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("text", "prehashed"), [(PREHASHED, True), (LEGACY, False)], ids=["prehashed", "legacy"])
def test_a_signature_of_minisign(text: bytes, prehashed: bool) -> None:
    key, found = PublicKey.read(PUBLIC, shown="k"), Signature.read(text, shown="s")
    assert found.prehashed is prehashed and found.key == key.name == "09CDDC78B67B78FC"
    assert found.comment.startswith(b"timestamp:1796018152\tfile:m")
    assert found.verifies(SIGNED, key) and not found.verifies(SIGNED + b" ", key)
    assert not found.verifies(SIGNED, SecretKey.new().public())
    assert Signature.read(text.replace(b"\n", b"\r\n"), shown="s") == found


@pytest.mark.parametrize(
    ("line", "at"), [(1, 1), (1, 3), (1, 12), (1, 73), (3, 0), (3, 63)], ids=["kind", "id", "R", "S", "R2", "S2"]
)
def test_a_bit_of_a_signature(line: int, at: int) -> None:
    key = PublicKey.read(PUBLIC, shown="k")
    try:
        assert not Signature.read(flipped(PREHASHED, line, at), shown="s").verifies(SIGNED, key)
    except BundleError:
        assert line == 1 and at == 1


@pytest.mark.parametrize("flip", [1, 0x20, 0x80])
def test_no_byte_below_the_first_line_can_be_another(flip: int) -> None:
    key = PublicKey.read(PUBLIC, shown="k")
    for at in range(PREHASHED.index(b"\n") + 1, len(PREHASHED)):
        changed = PREHASHED[:at] + bytes([PREHASHED[at] ^ flip]) + PREHASHED[at + 1 :]
        try:
            assert not Signature.read(changed, shown="s").verifies(SIGNED, key), at
        except BundleError:
            continue


def test_the_trusted_comment_is_covered_and_the_other_one_is_not() -> None:
    key = PublicKey.read(PUBLIC, shown="k")
    assert not Signature.read(PREHASHED.replace(b"file:m", b"file:n"), shown="s").verifies(SIGNED, key)
    assert Signature.read(PREHASHED.replace(b"from minisign", b"of somebody"), shown="s").verifies(SIGNED, key)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n\n\n\n", PREHASHED[:-20], PREHASHED.replace(b"untrusted comment: ", b""), PREHASHED + b"more\n",
        PREHASHED.replace(b"trusted comment: time", b"comment: time"), PREHASHED.replace(b"RUT8", b"RUT8\xff"),
        PREHASHED.replace(b"RUT8", b"RVT8"), PREHASHED.replace(b"M", b"M" * 20_000), PUBLIC, b"\x00" * 300,
    ],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_signature(data: bytes) -> None:
    with refused(BundleError, "x.minisig", "four lines"):
        Signature.read(data, shown="x.minisig")


@pytest.mark.parametrize(
    "data", [b"", b"\n", PUBLIC[:-6], SECRET, PREHASHED, b"RWT8", PUBLIC.replace(b"RWT", b"RXT"), PUBLIC * 2]
)
def test_what_is_no_public_key(data: bytes) -> None:
    with refused(UsageError, "x.pub", 56):
        PublicKey.read(data, shown="x.pub")


def test_a_public_key_alone_and_in_its_file() -> None:
    key = PublicKey.read(PUBLIC, shown="k")
    assert PublicKey.read(str(key).encode(), shown="k") == key == PublicKey.read(key.file().encode(), shown="k")


def test_a_secret_key_of_minisign() -> None:
    key = SecretKey.read(SECRET, no_password, shown="k")
    assert key.public() == PublicKey.read(PUBLIC, shown="k")
    assert "seed" not in repr(key)
    made = key.sign(SIGNED, "timestamp:1796018152\tfile:m\thashed")
    assert made == Signature.read(PREHASHED, shown="s"), "Ed25519 says which bytes a signature has"
    assert Signature.read(made.file(), shown="s") == made


def test_a_password() -> None:
    key = SecretKey.new()
    text = key.file("pass w\u00f6rd".encode(), CHEAP).encode()
    assert key.seed not in base64.b64decode(text.split(b"\n")[1])
    assert SecretKey.read(text, lambda: "pass w\u00f6rd".encode(), shown="k") == key
    with refused(UsageError, "k", "password", option="password"):
        SecretKey.read(text, lambda: b"pass word", shown="k")
    with refused(UsageError, "k", "password"):
        SecretKey.read(flipped(text, 1, 100), lambda: "pass w\u00f6rd".encode(), shown="k")


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (b"", (212,)), (PUBLIC, (212,)), (SECRET[:-8], (212,)), (SECRET.replace(b"RWQAAEIy", b"RWQAAEIz"), (212,)),
        (SECRET.replace(b"RWQAAEIy", b"RWRTYkIy"), (212,)), (flipped(SECRET, 1, 70), ("damaged",)),
        (flipped(SECRET, 1, 100), ("damaged",)), (flipped(SECRET, 1, 150), ("damaged",)),
    ],
    ids=["empty", "public", "cut", "checksum's kind", "derivation", "seed", "public half", "checksum"],
)  # fmt: skip
def test_what_is_no_secret_key(data: bytes, facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, "x.key", *facts):
        SecretKey.read(data, no_password, shown="x.key")


@pytest.mark.parametrize(
    "work",
    [
        Work(2 * FULL_WORK.operations, 16 << 20),
        Work(1 << 40, 1 << 20),
        Work(32768, 1 << 40),
        Work(0, 1 << 20),
        Work(32768, 0),
    ],
)
def test_a_key_that_asks_for_much(work: Work) -> None:
    """Else a file could make whoever tries it take all memory, or wait for days."""
    text = SecretKey.new().file(b"x", CHEAP)
    held = bytearray(base64.b64decode(text.splitlines()[1]))
    held[38:54] = work.operations.to_bytes(8, "little") + work.memory.to_bytes(8, "little")
    with refused(UsageError, "k", "MiB", 1024):
        SecretKey.read(b"untrusted comment: x\n" + base64.b64encode(held), lambda: b"x", shown="k")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    for work in (
        lambda: Signature.read(PREHASHED, shown="s").verifies(SIGNED, PublicKey.read(PUBLIC, shown="k")),
        lambda: SecretKey.new().sign(SIGNED, "x"),
    ):
        with refused(BackendError, "cryptography", command="pip install"):
            work()


# minisign itself


def test_minisign_verifies_what_is_signed_here(tmp_path: Path) -> None:
    key = SecretKey.new()
    (tmp_path / "m").write_bytes(b"signed bytes")
    (tmp_path / "m.minisig").write_bytes(key.sign(b"signed bytes", "file:m\thashed").file())
    (tmp_path / "k.pub").write_text(key.public().file())
    done = minisign("-V", "-H", "-m", tmp_path / "m", "-p", tmp_path / "k.pub")
    assert done.returncode == 0 and "file:m\thashed" in done.stdout, done.stderr
    (tmp_path / "m").write_bytes(b"signed byteS")
    assert minisign("-V", "-m", tmp_path / "m", "-p", tmp_path / "k.pub").returncode == 1


@pytest.mark.parametrize("password", [None, "pass word"])
def test_minisign_signs_with_a_key_made_here(tmp_path: Path, password: str | None) -> None:
    key = SecretKey.new()
    (tmp_path / "m").write_bytes(SIGNED)
    (tmp_path / "k").write_text(key.file(password and password.encode(), CHEAP))
    done = minisign("-S", "-m", tmp_path / "m", "-s", tmp_path / "k", typed=f"{password}\n" if password else "")
    assert done.returncode == 0, done.stderr
    assert Signature.read((tmp_path / "m.minisig").read_bytes(), shown="s").verifies(SIGNED, key.public())


@pytest.mark.parametrize("legacy", [False, True])
def test_a_key_and_a_signature_that_minisign_makes_now(tmp_path: Path, legacy: bool) -> None:
    (tmp_path / "m").write_bytes(SIGNED)
    assert minisign("-G", "-W", "-p", tmp_path / "p", "-s", tmp_path / "s").returncode == 0
    public = PublicKey.read((tmp_path / "p").read_bytes(), shown="p")
    assert SecretKey.read((tmp_path / "s").read_bytes(), no_password, shown="s").public() == public
    assert minisign("-S", *(["-l"] if legacy else []), "-m", tmp_path / "m", "-s", tmp_path / "s").returncode == 0
    found = Signature.read((tmp_path / "m.minisig").read_bytes(), shown="s")
    assert found.verifies(SIGNED, public) and found.prehashed is not legacy


@pytest.mark.full
def test_a_password_as_minisign_hides_a_key(tmp_path: Path) -> None:
    """It takes a GiB of memory, twice."""
    typed = "pass word\npass word\n"
    assert minisign("-G", "-p", tmp_path / "p", "-s", tmp_path / "s", typed=typed).returncode == 0
    text = (tmp_path / "s").read_bytes()
    key = SecretKey.read(text, lambda: b"pass word", shown="s")
    assert key.public() == PublicKey.read((tmp_path / "p").read_bytes(), shown="p")
    held = base64.b64decode(text.splitlines()[1])
    assert held[38:54] == b"".join(size.to_bytes(8, "little") for size in (FULL_WORK.operations, FULL_WORK.memory))


def test_names_are_those_that_minisign_shows() -> None:
    assert module.key_name(bytes(range(8))) == "0706050403020100"
