"""`mmcaf sign BUNDLE`, and the key for it: `mmcaf sign --new-key FILE`."""

import getpass
import sys
from pathlib import Path

from mmcaf_engine.bundle.signing import key_outputs, new_key, sign_bundle
from mmcaf_engine.errors import Remedy, UsageError, printable, program
from mmcaf_engine.files import read_bounded

from .console import note, read_stdin, to_json
from .report import DASH, Report

_MAX_PASSWORD = 4096
_SIGN = program("sign", "BUNDLE", "--key", "FILE")
_MAKE_KEY = Remedy("Or make one", command=program("sign", "--new-key", "FILE"))


def sign_command(bundle: Path, key: Path, password: Path | None, report: Report) -> None:
    """Sign, and say with which key, and how others verify it."""
    signed = sign_bundle(bundle, key, lambda: _password(password, f"Password of {key}: "), force=report.force)
    public = signed.key
    manifest = "manifest.json" if signed.bundle.archive is not None else str(bundle / "manifest.json")
    lines = [
        f"{printable(str(bundle), 4096)}: {signed.bundle.manifest.name} is signed with the key {public.name}",
        f"  to verify it  {program('trust', 'KEY.pub')}, once, for whoever opens it; or",
        f"                minisign -Vm {printable(manifest, 4096)} -P {public}",
    ]
    document = {
        "model": {"name": signed.bundle.manifest.name, "bundle_sha256": signed.bundle.sha256},
        "key": public.name,
        "public_key": str(public),
    }
    report.give(lambda: "\n".join(lines), lambda: to_json(document))


def new_key_command(file: Path, password: Path | None, open_: bool, report: Report) -> None:
    """Make a key, and say where its halves lie."""
    report.check(*key_outputs(file), inputs=[password])
    made = new_key(file, None if open_ else _new_password(password))
    public = file.with_suffix(".pub")
    lines = [
        f"key {made.name}",
        f"  secret        {file}: keep it where nobody else can read it",
        f"  public        {public}: for whoever opens what you sign: {program('trust', public.name)}",
    ]
    document = {"key": made.name, "public_key": str(made), "files": {"secret": str(file), "public": str(public)}}
    report.give(lambda: "\n".join(lines), lambda: to_json(document))


def check_sign_options(
    bundle: Path | None, key: Path | None, new_key: Path | None, password: Path | None, no_password: bool
) -> None:
    """Refuse what does not belong together.

    Raises:
        UsageError: it does not.
    """
    if new_key is not None:
        if bundle is not None or key is not None:
            raise UsageError("A new key signs nothing yet.", "Make it first, then sign with it.")
        if no_password and password is not None:
            raise UsageError("--password and --no-password contradict each other.", "Leave one out.")
        return
    if no_password:
        raise UsageError("--no-password belongs to --new-key.", Remedy("Leave it out, or add it", option="new_key"))
    if bundle is None:
        raise UsageError("No bundle was named.", Remedy("Name what to sign", command=_SIGN))
    if key is None:
        raise UsageError("No key was named.", Remedy("Name the secret key", option="key"), _MAKE_KEY)


def _password(file: Path | None, prompt: str) -> bytes:
    """From the terminal, a file's first line, or stdin's."""
    if file == DASH:
        return _first_line(read_stdin(_MAX_PASSWORD), "standard input")
    if file is not None:
        return _first_line(read_bounded(file, error=UsageError, max_bytes=_MAX_PASSWORD, streams=True), str(file))
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(
            "The key has a password, and there is no terminal to ask for it.",
            Remedy("Name a file that holds it, or - for standard input", option="password"),
        )
    return getpass.getpass(prompt).encode()


def _new_password(file: Path | None) -> bytes:
    password = _password(file, "Password for the new key: ")
    if not password:
        raise UsageError("An empty password hides nothing.", Remedy("To have none, say so", option="no_password"))
    if file is None and getpass.getpass("The same again: ").encode() != password:
        raise UsageError("The two passwords differ.", "Type the same one twice.")
    note("hiding the key behind the password takes a few seconds and 1 GiB of memory")
    return password


def _first_line(data: bytes, source: str) -> bytes:
    if len(data) > _MAX_PASSWORD:
        raise UsageError(f"{source}: a password of more than {_MAX_PASSWORD} bytes.", "Give a shorter one.")
    return data.partition(b"\n")[0].removesuffix(b"\r")
