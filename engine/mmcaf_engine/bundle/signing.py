"""Signing a bundle: its manifest, which has the hash of everything else, and making the keys for it."""

import os
import shlex
import shutil
import stat
import time
import zipfile
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError, Remedy, UsageError
from ..files import read_bounded, real_path
from ..outputs import Output, StagedFile, check_writable, commit_folder, refused, scratch_beside, write_all
from .bundle import Bundle, check_output, load_unjudged
from .hashing import COPY_AGAIN
from .sealed import MANIFEST_NAME, SIGNATURE_NAME, is_signed, read_sealed
from .signature import FULL_WORK, MAX_BYTES, PublicKey, SecretKey, Work
from .zipped import open_zip

_READABLE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH | stat.S_IWUSR
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Signed:
    """A bundle, as it was signed, and the key that verifies it."""

    bundle: Bundle
    key: PublicKey


def sign_bundle(path: Path, key: Path, password: Callable[[], bytes], *, force: bool = False) -> Signed:
    """Check every hash, then sign the manifest; of a zip, a new one takes the place of the old one.

    Args:
        key: the file of the secret key, as minisign or `new_key` writes it.
        password: called where the key needs one.
        force: replace a signature that is there.

    Raises:
        BundleError: the bundle is damaged.
        UsageError: no secret key, others may read it, a wrong password, a signature that is there, or it cannot be
            written.
        BackendError: the package that signs is not installed.
    """
    if path.is_dir() and real_path(key).is_relative_to(real_path(path)):
        raise UsageError(
            f"{key}: the secret key lies within the bundle, and would go wherever that goes.",
            "Move it out; if the bundle was given away with it, make another key.",
        )
    secret = read_secret_key(key, password)
    bundle = load_unjudged(path)
    bundle.verify()
    data = bundle.sealed()
    if is_signed(path) and not force:
        raise UsageError(f"{path}: signed already.", Remedy("Have its signature replaced", option="force"))
    signature = secret.sign(data, f"timestamp:{int(time.time())}\tfile:{MANIFEST_NAME}\thashed")
    public = secret.public()
    if not signature.verifies(data, public):
        raise BundleError(f"{path}: the signature that was made does not verify; nothing was written.")
    if bundle.archive is None:
        _write_beside(path / MANIFEST_NAME, signature.file(), key, force)
    else:
        _rewrite_zip(path, signature.file(), key)
    if read_sealed(path) != (data, signature.file()):
        raise BundleError(f"{path}: changed while it was signed.", COPY_AGAIN)
    return Signed(bundle, public)


def read_secret_key(file: Path, password: Callable[[], bytes]) -> SecretKey:
    """A secret key that others than this user cannot read.

    Raises:
        UsageError: it is none, others may read it, or the password is wrong.
        BackendError: the package that signs is not installed.
    """
    data = read_bounded(file, error=UsageError, max_bytes=MAX_BYTES)

    def asked() -> bytes:
        _refuse_readable(file)
        return password()

    key = SecretKey.read(data, asked, shown=file)
    _refuse_readable(file)
    return key


def _refuse_readable(file: Path) -> None:
    """Refuse a secret key that others than this user may read.

    Raises:
        UsageError: they may.
    """
    private = shlex.join(["chmod", "600", str(file)])
    if os.name == "posix" and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"{file}: other users may read the secret key (mode {stat.S_IMODE(file.stat().st_mode):o}).",
            Remedy("Take that right away and, if anybody could have used it, make another key", command=private),
        )


def read_public_key(file: Path) -> PublicKey:
    """The public key in a file.

    Raises:
        UsageError: there is none.
    """
    return PublicKey.read(read_bounded(file, error=UsageError, max_bytes=MAX_BYTES), shown=file)


def key_outputs(file: Path) -> tuple[Output, Output]:
    """Where the two files of a new key go: the secret one, and the public one beside it.

    Raises:
        UsageError: something stands there; a key is never replaced, since what it signed could be signed no more.
    """
    secret, public = Output("new_key", file), Output("new_key", file.with_suffix(".pub"))
    if file.suffix == ".pub":
        raise UsageError(f"{file}: the ending of a public key.", Remedy("Name it otherwise", option="new_key"))
    for place in (secret, public):
        if os.path.lexists(place.path):
            raise UsageError(
                f"{place.path}: exists already, and a key is never replaced.",
                Remedy("Name another file", option="new_key"),
            )
    check_writable([secret, public])
    return secret, public


def new_key(file: Path, password: bytes | None, *, work: Work = FULL_WORK) -> PublicKey:
    """Make a key: the secret half in a file of this user alone, the public half beside it, with the ending .pub.

    Args:
        password: what hides the secret half; None for nothing.

    Raises:
        UsageError: as `key_outputs`, or the files cannot be written.
        BackendError: the package that signs is not installed.
    """
    secret, public = key_outputs(file)
    key = SecretKey.new()
    write_all([(secret, key.file(password, work)), (public, key.public().file())])
    return key.public()


def _write_beside(manifest: Path, content: bytes, key: Path, force: bool) -> None:
    """Write the signature into a bundle's folder; whoever may read the manifest may read it."""
    place = Output("bundle", manifest.with_name(SIGNATURE_NAME))
    check_writable([place], inputs=[key], force=force)
    with refused(place):
        file = StagedFile(place.path, replace=force)
        try:
            file.stream.write(content)
            if os.name == "posix":
                os.fchmod(file.stream.fileno(), manifest.stat().st_mode & _READABLE)
            file.commit()
        finally:
            file.discard()


def _rewrite_zip(path: Path, content: bytes, key: Path) -> None:
    """Put a zip with the same members and this signature in the place of the old one, once it has been verified."""
    place = check_output(path, inputs=[key], force=True)
    with scratch_beside(place) as scratch, refused(place):
        made = scratch / "bundle.zip"
        with open_zip(path) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as new:
            for info in old.infolist():
                if info.filename != SIGNATURE_NAME:
                    _copy_member(old, info, new)
            new.writestr(zipfile.ZipInfo(SIGNATURE_NAME, date_time=(1980, 1, 1, 0, 0, 0)), content)
        made.chmod(stat.S_IMODE(path.stat().st_mode))
        load_unjudged(made).verify()
        commit_folder(made, path, replace=True)


def _copy_member(old: zipfile.ZipFile, info: zipfile.ZipInfo, new: zipfile.ZipFile) -> None:
    if info.is_dir():
        new.writestr(copy(info), b"")
        return
    with old.open(info) as source, new.open(copy(info), "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target, _BLOCK)
