"""Bundles on disk: every file's hash checked before its first use, written whole or not at all."""

import hashlib
import json
import shutil
import stat
import struct
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from ..arguments import expect
from ..cache.cache import MAKE_ROOM, CacheKind, mark_used, read_own_json
from ..errors import BundleError, Remedy, UsageError, printable, program
from ..files import in_words, look_at, read_bounded, reading, shown_path
from ..machine.installation import UPDATE
from ..manifest import FORMAT_VERSION, FileEntry, Manifest, written_version
from ..manifest.consistency import MOST_FILES
from ..outputs import Output, check_writable, commit_folder, create, refused, remove, restore, staged_folder
from ..strict_json import parse_json

MANIFEST_NAME = "manifest.json"
_SIGNATURE_NAME = f"{MANIFEST_NAME}.minisig"
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_MEMBERS = MOST_FILES + 1
"""Of a zip: the files that a manifest may list, and the manifest."""

_COPY_AGAIN = "Copy the bundle again from its source; do not use this copy."
_UNPACK_AGAIN = Remedy("Have it unpacked again", command=program("cache", "clear", "--kind", "bundles"))
_MAKE_ONE = program("export", "CHECKPOINT", "-o", "NAME.mmcaf")


BUNDLES = CacheKind(
    "bundles", "unpacked bundle", "[0-9a-f]{64}", lambda folder: str(read_own_json(folder / MANIFEST_NAME)["name"])
)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest is valid and whose files are there, with the listed sizes.

    `folder` holds the files (of a zipped bundle: a copy in the cache); `sha256` is the manifest's, and since the
    manifest holds the hash of every file, it identifies the whole content. `archive` is the zip, if it is one.

    Pickled are path and `sha256` alone: another process loads the bundle again, and refuses one of other content.
    """

    folder: Path
    manifest: Manifest
    sha256: str
    archive: Path | None = None
    _verified: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    _place: Path = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Now, since by the time it is pickled the process may stand elsewhere.
        object.__setattr__(self, "_place", self._shown.absolute())

    def file(self, name: str) -> Path:
        """Path of one of the manifest's files, whose hash is checked the first time it is asked for.

        The weights of a model that lie beside it, in NAME.data, are checked with it.

        Raises:
            BundleError: the file is missing, damaged or altered, or the manifest does not list it.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self._shown}: the manifest lists no file {name}.")
        with self._lock, reading(self._shown, BundleError):
            for part in (name, f"{name}.data"):
                if part in self.manifest.files and part not in self._verified:
                    self._verify(part)
        return self.folder / name

    def verify(self) -> None:
        """Check the hash of every file now, also of those that a zip holds.

        Raises:
            BundleError: one is missing, damaged or altered.
        """
        with self._lock, reading(self._shown, BundleError):
            for name in self.manifest.files:
                self._verify(name)
            if self.archive is not None:
                with _open_zip(self.archive) as archive:
                    for name, entry in self.manifest.files.items():
                        with archive.open(_member(archive, name, entry.size, shown=self.archive)) as stream:
                            _check_digest(_stream_sha256(stream), name, entry, shown=self.archive)

    def __reduce__(self) -> "tuple[Callable[[Path, str], Bundle], tuple[Path, str]]":
        return _load_same, (self._place, self.sha256)

    @property
    def _shown(self) -> Path:
        return self.archive or self.folder

    def _verify(self, name: str) -> None:
        entry = self.manifest.files[name]
        remedy = _COPY_AGAIN if self.archive is None else _UNPACK_AGAIN
        _check_file(self.folder / name, name, entry, shown=self.folder, remedy=remedy)
        _check_digest(file_sha256(self.folder / name), name, entry, shown=self.folder, remedy=remedy)
        self._verified.add(name)


def load_bundle(path: str | Path) -> Bundle:
    """Open a bundle directory or an uncompressed zip of one.

    The manifest is checked whole; of the other files, that they are there and have the listed sizes. Their hashes
    are checked when they are first used: `Bundle.file`, or all at once: `Bundle.verify`.

    Raises:
        BundleError: missing, incomplete, a newer format version, or an invalid manifest.
        UsageError: no path.
    """
    expect("bundle", path, (str, Path))
    path = Path(path)
    found = look_at(path, BundleError)
    if found is None and restore(path):
        found = look_at(path, BundleError)
    if found is None:
        raise BundleError(
            f"{shown_path(path)}: no such bundle.", Remedy("Check the path, or make one", command=_MAKE_ONE)
        )
    with reading(path, BundleError):
        if stat.S_ISDIR(found.st_mode):
            return _load_folder(path)
        if stat.S_ISREG(found.st_mode):
            return _load_zip(path)
    raise BundleError(f"{path}: expected the directory of a bundle or a zip, got {in_words(found)}.", "Check the path.")


def _load_same(path: Path, sha256: str) -> Bundle:
    """The bundle that was pickled.

    Raises:
        BundleError: as `load_bundle`, or what stands there now is another one.
    """
    bundle = load_bundle(path)
    if bundle.sha256 != sha256:
        raise BundleError(
            f"{path}: not the bundle that was handed over: expected a manifest of SHA-256 {sha256[:16]}..., "
            f"got {bundle.sha256[:16]}...",
            "Load the bundle anew, and hand that over.",
        )
    return bundle


def write_bundle(folder: Path, manifest: dict[str, Any], output: Path, *, force: bool = False) -> Bundle:
    """Seal the files in `folder` with a manifest and move them to `output` in one rename.

    Args:
        folder: holds the model files and golden.npz; on the same file system as `output`.
        manifest: the manifest's fields without `files`, which are counted and hashed here. It is written in the format
            version that it says, or the newest if it says none or uses what that one lacks.
        output: the bundle directory, or a path ending in .zip for one uncompressed zip.
        force: replace what stands at `output`.

    Raises:
        BundleError: the manifest is invalid.
        UsageError: `check_output` refuses `output`, or it cannot be written; what stood there is then still there.
    """
    place = check_output(output, force=force)
    files = {
        str(file.relative_to(folder).as_posix()): {"sha256": file_sha256(file), "size": file.stat().st_size}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST_NAME
    }
    document = _sealed({**manifest, "files": files}, shown=output)
    text = json.dumps(document.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    with refused(place):
        made = folder
        if output.suffix == ".zip":
            made = folder.with_name(folder.name + ".zip")
            _pack(folder, [MANIFEST_NAME, *files], made)
            shutil.rmtree(folder)
        load_bundle(made).verify()  # Before anything is replaced.
        commit_folder(made, output, replace=force)
    return load_bundle(output)


def check_output(output: Path, *, inputs: Iterable[str | Path | None] = (), force: bool = False) -> Output:
    """Refuse a path that a bundle could not or must not be written to; `force` replaces a bundle, and nothing else.

    Raises:
        UsageError: as `outputs.check_writable`.
    """
    place = Output("output", output, "whole", MANIFEST_NAME, _own_files)
    check_writable([place], inputs=inputs, force=force)
    return place


def _own_files(folder: Path) -> set[str] | None:
    """What a bundle's folder holds, of whatever version and however damaged; None if its manifest is none of ours."""
    name = str(folder / MANIFEST_NAME)
    try:
        data = read_bounded(folder / MANIFEST_NAME, error=BundleError, max_bytes=MAX_MANIFEST_BYTES)
        document = parse_json(data, name=name, error=BundleError, max_bytes=MAX_MANIFEST_BYTES)
    except BundleError:
        return None
    if not isinstance(document, dict) or not {"format_version", "models"} <= set(document):
        return None
    files = document.get("files")
    return {MANIFEST_NAME, _SIGNATURE_NAME, *(files if isinstance(files, dict) else ())}


def file_sha256(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return _stream_sha256(stream)


def _stream_sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _load_folder(folder: Path) -> Bundle:
    data = read_bounded(folder / MANIFEST_NAME, error=BundleError, max_bytes=MAX_MANIFEST_BYTES)
    manifest = _parse(data, shown=folder)
    for name, entry in manifest.files.items():
        _check_file(folder / name, name, entry, shown=folder)
    return Bundle(folder, manifest, hashlib.sha256(data).hexdigest())


def _load_zip(path: Path) -> Bundle:
    """The copy that the cache holds of these very files, else one that is unpacked now with every hash checked.

    The copy's files are not hashed here, since `Bundle.file` does that before each first use.
    """
    with _open_zip(path) as archive:
        data = archive.read(_member(archive, MANIFEST_NAME, MAX_MANIFEST_BYTES, shown=path))
        manifest = _parse(data, shown=path)
        for name, entry in manifest.files.items():
            _member(archive, name, entry.size, shown=path)
        sha256 = hashlib.sha256(data).hexdigest()
        folder = BUNDLES.folder() / sha256
        if not _is_copy(folder, sha256):
            remove(folder)
            _unpack(archive, manifest, folder, shown=path)
    mark_used(folder)
    return Bundle(folder, manifest, sha256, archive=path)


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            if (members := len(archive.infolist())) > MAX_MEMBERS:
                raise zipfile.BadZipFile(f"{members} members; at most {MAX_MEMBERS} are expected")
            yield archive
    except (zipfile.BadZipFile, struct.error, EOFError, RuntimeError, ValueError, OverflowError) as failure:
        # RuntimeError: it is encrypted, or, as NotImplementedError, compressed in an unknown way.
        raise BundleError(
            f"{path}: neither a bundle directory nor an intact zip of one ({failure}).",
            Remedy("Copy the bundle again, or make one", command=_MAKE_ONE),
        ) from None


def _is_copy(folder: Path, sha256: str) -> bool:
    """Whether a folder holds the bundle with this manifest, complete and with the listed sizes."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    try:
        return _load_folder(folder).sha256 == sha256
    except BundleError:
        return False


def _unpack(archive: zipfile.ZipFile, manifest: Manifest, folder: Path, *, shown: Path) -> None:
    """Unpack the listed files, check the hash of each, and make them `folder` in one rename."""
    try:
        with staged_folder(folder) as staging:
            _extract(archive, MANIFEST_NAME, staging)
            for name, entry in manifest.files.items():
                _extract(archive, name, staging)
                _check_digest(file_sha256(staging / name), name, entry, shown=shown)
    except OSError as failure:
        if _is_copy(folder, folder.name):  # Another process was faster.
            return
        raise UsageError(
            f"{shown}: cannot be unpacked to {folder.parent}: {failure.strerror}.",
            MAKE_ROOM,
        ) from None


def _extract(archive: zipfile.ZipFile, name: str, folder: Path) -> None:
    (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with archive.open(name) as source, create(folder / name) as stream:
        shutil.copyfileobj(source, stream, 1 << 20)


def _member(archive: zipfile.ZipFile, name: str, limit: int, *, shown: Path) -> zipfile.ZipInfo:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise BundleError(f"{shown}: {name} is missing from the zip.", _COPY_AGAIN) from None
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
        raise BundleError(
            f"{shown}: {name} is {info.file_size} bytes in the zip, compressed or over the expected {limit}.",
            Remedy("Zip bundles without compression", command="zip -0 -r NAME.zip ."),
        )
    return info


def _parse(data: bytes, *, shown: Path) -> Manifest:
    name = f"{shown}/{MANIFEST_NAME}"
    document = parse_json(data, name=name, error=BundleError, max_bytes=MAX_MANIFEST_BYTES)
    version = document.get("format_version") if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(f"{name}: no format_version; this is not a bundle's manifest.")
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{name}: bundle format {version}; this engine reads up to {FORMAT_VERSION}.",
            UPDATE,
        )
    return _validate(document, shown=shown)


def _validate(document: Any, *, shown: Path) -> Manifest:
    return _checked(lambda: Manifest.model_validate(document), shown)


def _sealed(document: dict[str, Any], *, shown: Path) -> Manifest:
    return _checked(lambda: Manifest.model_validate({**document, "format_version": written_version(document)}), shown)


def _checked(validate: Callable[[], Manifest], shown: Path) -> Manifest:
    try:
        return validate()
    except ValidationError as failure:
        raise BundleError(f"{shown}: invalid manifest: {describe_validation(failure)}.") from None


def describe_validation(failure: ValidationError) -> str:
    """The first few validation errors as 'where: what', in one line."""
    errors = failure.errors(include_url=False, include_input=False)
    lines = [
        f"{printable('.'.join(map(str, error['loc'])), 160) or 'manifest'}: {printable(error['msg'], 400)}"
        for error in errors[:4]
    ]
    return "; ".join(lines) + (f"; and {len(errors) - 4} more" if len(errors) > 4 else "")


def _check_file(file: Path, name: str, entry: FileEntry, *, shown: Path, remedy: Remedy | str = _COPY_AGAIN) -> None:
    if file.is_symlink() or not file.is_file():
        raise BundleError(f"{shown}: {name} is missing (listed in the manifest with {entry.size} bytes).", remedy)
    size = file.stat().st_size
    if size != entry.size:
        raise BundleError(f"{shown}: {name} has {size} bytes; the manifest says {entry.size}.", remedy)


def _check_digest(digest: str, name: str, entry: FileEntry, *, shown: Path, remedy: Remedy | str = _COPY_AGAIN) -> None:
    if digest != entry.sha256:
        raise BundleError(
            f"{shown}: {name} is damaged or altered: SHA-256 {digest[:16]}..., the manifest has {entry.sha256[:16]}...",
            remedy,
        )


def _pack(folder: Path, names: Iterable[str], output: Path) -> None:
    """Zip without compression and with a fixed date, so that equal bundles are equal bytes."""
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            with (folder / name).open("rb") as source, archive.open(info, "w", force_zip64=True) as member:
                shutil.copyfileobj(source, member, 1 << 20)
