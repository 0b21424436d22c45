"""Bundles as one uncompressed zip: what is read of one, and how one is made."""

import shutil
import struct
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BundleError, Remedy, printable, program
from ..manifest.consistency import MOST_FILES, folded
from ..outputs import create
from .hashing import COPY_AGAIN

MAX_MEMBERS = MOST_FILES + 2
"""Of a zip: the files that a manifest may list, the manifest and its signature."""
MAKE_ONE = program("export", "CHECKPOINT", "-o", "NAME.mmcaf")


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip, to be read.

    Raises:
        BundleError: it is none, within the block too; it has too many members for a bundle, or two of one name.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if (members := len(archive.infolist())) > MAX_MEMBERS:
                raise zipfile.BadZipFile(f"{members} members; at most {MAX_MEMBERS} are expected")
            for name, count in Counter(folded(one.filename) for one in archive.infolist()).items():
                if count > 1:  # Another program may read another one of them than this one does.
                    raise zipfile.BadZipFile(f"{count} members of the name {printable(name, 200)}")
            yield archive
    except (zipfile.BadZipFile, struct.error, EOFError, RuntimeError, ValueError, OverflowError) as failure:
        # RuntimeError: it is encrypted, or, as NotImplementedError, compressed in an unknown way.
        raise BundleError(
            f"{path}: neither a bundle directory nor an intact zip of one ({failure}).",
            Remedy("Copy the bundle again, or make one", command=MAKE_ONE),
        ) from None


def extract(archive: zipfile.ZipFile, name: str, folder: Path) -> None:
    """Write one member to a new file of its name in a folder."""
    (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with archive.open(name) as source, create(folder / name) as stream:
        shutil.copyfileobj(source, stream, 1 << 20)


def member(archive: zipfile.ZipFile, name: str, limit: int, *, shown: Path) -> zipfile.ZipInfo:
    """What is known of one member.

    Raises:
        BundleError: there is none, it is compressed, or it has more than `limit` bytes.
    """
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise BundleError(f"{shown}: {name} is missing from the zip.", COPY_AGAIN) from None
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
        raise BundleError(
            f"{shown}: {name} is {info.file_size} bytes in the zip, compressed or over the expected {limit}.",
            Remedy("Zip bundles without compression", command="zip -0 -r NAME.zip ."),
        )
    return info


def pack(folder: Path, names: Iterable[str], output: Path) -> None:
    """Zip without compression and with a fixed date, so that equal bundles are equal bytes."""
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            with (folder / name).open("rb") as source, archive.open(info, "w", force_zip64=True) as output_file:
                shutil.copyfileobj(source, output_file, 1 << 20)
