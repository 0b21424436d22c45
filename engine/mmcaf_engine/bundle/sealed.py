"""What seals a bundle: the bytes of its manifest, which has the hash of everything else, and of their signature."""

import stat
import zipfile
from pathlib import Path

from ..errors import BundleError
from ..files import in_words, read_bounded, reading
from ..manifest.consistency import SEALS
from .hashing import COPY_AGAIN
from .signature import MAX_BYTES
from .zipped import member, open_zip

MANIFEST_NAME, SIGNATURE_NAME = SEALS
MAX_MANIFEST_BYTES = 4 * 1024 * 1024


def read_sealed(path: Path) -> tuple[bytes, bytes | None]:
    """The bytes of a bundle's manifest, and those of its signature, None without one.

    Raises:
        BundleError: it has no manifest, or one of both cannot be read.
    """
    with reading(path, BundleError):
        if path.is_dir():
            data = read_bounded(path / MANIFEST_NAME, error=BundleError, max_bytes=MAX_MANIFEST_BYTES)
            return data, signature_in(path)
        with open_zip(path) as archive:
            return sealed_in(archive, shown=path)


def is_signed(path: Path) -> bool:
    """Whether a bundle stands there that has a signature, of whatever worth."""
    try:
        return read_sealed(path)[1] is not None
    except BundleError:
        return False


def signature_in(folder: Path) -> bytes | None:
    """The bytes of the signature that lies in a bundle's folder; None without one."""
    file = folder / SIGNATURE_NAME
    try:
        found = file.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{folder}: {SIGNATURE_NAME}: expected a file, got {in_words(found)}.", COPY_AGAIN)
    return read_bounded(file, error=BundleError, max_bytes=MAX_BYTES)


def sealed_in(archive: zipfile.ZipFile, *, shown: Path) -> tuple[bytes, bytes | None]:
    """As `read_sealed`, of a zip that is open."""
    data = archive.read(member(archive, MANIFEST_NAME, MAX_MANIFEST_BYTES, shown=shown))
    if SIGNATURE_NAME not in archive.NameToInfo:
        return data, None
    return data, archive.read(member(archive, SIGNATURE_NAME, MAX_BYTES, shown=shown))
