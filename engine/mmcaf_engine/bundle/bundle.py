"""Bundles on disk: what is read of one are bytes that were hashed for that; written whole or not at all."""

import hashlib
import json
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

from ..arguments import expect
from ..cache.cache import MAKE_ROOM, CacheKind, mark_used, read_own_json
from ..errors import BundleError, Remedy, UsageError, program
from ..files import in_words, look_at, read_bounded, reading, shown_path
from ..manifest import FileEntry, Manifest
from ..outputs import (
    Output,
    check_writable,
    commit_folder,
    refused,
    remove,
    restore,
    staged_folder,
)
from ..settings import own_files
from ..strict_json import parse_json
from .device import device_uid
from .hashing import (
    COPY_AGAIN,
    GrowingCopy,
    check_digest,
    check_file,
    clone_listed,
    closed_after,
    copy_listed,
    file_sha256,
    open_listed,
    stream_sha256,
)
from .models import check_all_weights
from .origin import UNSIGNED, Origin, check_release, origin_of
from .parsing import manifest_of, parse_manifest
from .sealed import MANIFEST_NAME, MAX_MANIFEST_BYTES, SIGNATURE_NAME, read_sealed, sealed_in, signature_in
from .summary import ModelSummary
from .zipped import MAKE_ONE, extract, member, open_zip, pack

IN_MEMORY_BYTES = 16 * 1024 * 1024
"""A copy of a file that is larger lies on the disk."""

_UNPACK_AGAIN = Remedy("Have it unpacked again", command=program("cache", "clear", "--kind", "bundles"))

BUNDLES = CacheKind(
    "bundles", "unpacked bundle", "[0-9a-f]{64}", lambda folder: str(read_own_json(folder / MANIFEST_NAME)["name"])
)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest is valid and whose files are there, with the listed sizes.

    `folder` holds the files (of a zipped bundle: a copy in the cache); `sha256` is the manifest's, and since the
    manifest holds the hash of every file, it identifies the whole content. `archive` is the zip, if it is one.

    `origin` is what its signature tells, of the very bytes that `manifest` was read from.

    Two are equal that were loaded from one place with one content and one origin, however the path was spelled.
    Pickled are path and `sha256` alone: another process loads the bundle again, and refuses one of other content.
    """

    folder: Path = field(compare=False)
    manifest: Manifest = field(compare=False)
    sha256: str
    archive: Path | None = field(default=None, compare=False)
    origin: Origin = UNSIGNED
    _place: Path = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Now, since by the time it is pickled the process may stand elsewhere.
        object.__setattr__(self, "_place", self.shown.absolute())

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A copy of one of the manifest's files that nothing else can change, of bytes that have the listed hash.

        Raises:
            BundleError: the file is missing, damaged or altered, or the manifest does not list it.
            UsageError: there is no room for a copy.
        """
        entry = self._entry(name)
        with closed_after(tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)) as copy:
            with self._reading(name) as stream:
                copy_listed(stream, copy, name, entry, shown=self.folder, remedy=self._remedy)
            copy.seek(0)
            yield copy

    def read(self, name: str, max_bytes: int) -> bytes:
        """What one of the manifest's files holds: bytes that have the listed hash.

        Raises:
            BundleError: as `open`, or there are more than `max_bytes`.
        """
        if (size := self._entry(name).size) > max_bytes:
            raise BundleError(f"{self.shown}: {name} has {size} bytes; at most {max_bytes} are read.")
        with self.open(name) as stream:
            return stream.read()

    def copy(self, name: str, folder: Path) -> None:
        """Copy one of the manifest's files to the same name below a folder, into bytes that have the listed hash.

        Raises:
            BundleError, UsageError: as `open`.
        """
        self.clone(name, folder)()

    def clone(self, name: str, folder: Path, beside: Executor | None = None) -> Callable[[], None]:
        """As `copy`, but the hash is left to be checked.

        Args:
            beside: of one thread, which hashes what is written while the rest is; what is returned is then for it, too.

        Returns:
            What checks the copy: it raises a BundleError if that is not what the manifest lists.

        Raises:
            BundleError, UsageError: as `open`.
        """
        target, entry = folder / name, self._entry(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._reading(name) as stream:
            copy = GrowingCopy(target)
            copied = partial(beside.submit, copy.read_to) if beside else lambda _bytes: None
            clone_listed(stream, target, name, entry, shown=self.folder, copied=copied)
        return lambda: copy.check(name, entry, shown=self.folder, remedy=self._remedy)

    def sealed(self) -> bytes:
        """The bytes of the manifest, of which `sha256` is the hash.

        Raises:
            BundleError: they are others by now, or cannot be read.
        """
        data, _ = read_sealed(self.shown)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise BundleError(f"{self.shown}: {MANIFEST_NAME} was changed since it was read.", COPY_AGAIN)
        return data

    def verify(self) -> None:
        """Check the hash of every file now, also of those that a zip holds.

        Raises:
            BundleError: one is missing, damaged or altered.
        """
        with reading(self.shown, BundleError):
            for name, entry in self.manifest.files.items():
                with self._reading(name) as stream:
                    check_digest(stream_sha256(stream), name, entry, shown=self.folder, remedy=self._remedy)
            if self.archive is not None:
                with open_zip(self.archive) as archive:
                    for name, entry in self.manifest.files.items():
                        with archive.open(member(archive, name, entry.size, shown=self.archive)) as stream:
                            check_digest(stream_sha256(stream), name, entry, shown=self.archive)

    @property
    def identity(self) -> tuple[Path, str]:
        """By what another process loads the same bundle: `load_same`."""
        return self._place, self.sha256

    def __reduce__(self) -> "tuple[Callable[[str | Path, str], Bundle], tuple[Path, str]]":
        return load_same, self.identity

    @property
    def summary(self) -> ModelSummary:
        """Which it is, for reports."""
        manifest, signed_by = self.manifest, self.origin.signed_by
        return ModelSummary(manifest.name, manifest.version or None, self.sha256, device_uid(self.sha256), signed_by)

    @property
    def shown(self) -> Path:
        """What messages call it: the folder, or the zip."""
        return self.archive or self.folder

    @property
    def _remedy(self) -> Remedy | str:
        return COPY_AGAIN if self.archive is None else _UNPACK_AGAIN

    def _entry(self, name: str) -> FileEntry:
        if name not in self.manifest.files:
            raise BundleError(f"{self.shown}: the manifest lists no file {name}.")
        return self.manifest.files[name]

    @contextmanager
    def _reading(self, name: str) -> Iterator[BinaryIO]:
        file, entry = self.folder / name, self._entry(name)
        opened = open_listed(file, name, entry, shown=self.folder, remedy=self._remedy)
        with reading(self.shown, BundleError), opened as stream:
            yield stream


def load_bundle(path: str | Path) -> Bundle:
    """Open a bundle directory or an uncompressed zip of one.

    The manifest is checked whole; of the other files, that they are there and have the listed sizes. Their hashes
    are checked whenever they are read: `Bundle.open`, `held.Held`; or all at once: `Bundle.verify`.

    Raises:
        BundleError: missing, incomplete, a newer format version, or an invalid manifest; or refused for its origin:
            `origin_of`, `check_release`.
        BackendError, UsageError: as `origin_of`; no path.
    """
    expect("bundle", path, (str, Path))
    bundle = _load(Path(path), origin_of)
    return replace(bundle, origin=check_release(bundle.origin, bundle.manifest, shown=bundle.shown))


def load_unjudged(path: Path) -> Bundle:
    """As `load_bundle`, whoever has made it: for those who sign a bundle, or have just made one.

    Raises:
        BundleError, UsageError: as `load_bundle`.
    """
    return _load(path, _unjudged)


_Judge = Callable[..., Origin]


def _unjudged(manifest: bytes, signature: bytes | None, *, shown: Path) -> Origin:
    return UNSIGNED


def _load(path: Path, judge: _Judge) -> Bundle:
    found = look_at(path, BundleError)
    if found is None and restore(path):
        found = look_at(path, BundleError)
    if found is None:
        raise BundleError(
            f"{shown_path(path)}: no such bundle.", Remedy("Check the path, or make one", command=MAKE_ONE)
        )
    with reading(path, BundleError):
        if stat.S_ISDIR(found.st_mode):
            return _load_folder(path, judge)
        if stat.S_ISREG(found.st_mode):
            return _load_zip(path, judge)
    raise BundleError(f"{path}: expected the directory of a bundle or a zip, got {in_words(found)}.", "Check the path.")


def load_same(path: str | Path, sha256: str) -> Bundle:
    """The bundle that another process has loaded from this path, whose manifest has this hash.

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
        force: replace what stands at `output`. Its signature is kept if the manifest is the same to the byte.

    Raises:
        BundleError: the manifest is invalid, or a model reads weights from a file that is not its own.
        UsageError: `check_output` refuses `output`, or it cannot be written; what stood there is then still there.
    """
    place = check_output(output, force=force)
    files = {
        str(file.relative_to(folder).as_posix()): {"sha256": file_sha256(file), "size": file.stat().st_size}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST_NAME
    }
    document = manifest_of({**manifest, "files": files}, shown=output)
    check_all_weights(folder, document, shown=output)
    text = json.dumps(document.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    names = [MANIFEST_NAME, *files]
    if (signature := _signature_of_same(output, (folder / MANIFEST_NAME).read_bytes())) is not None:
        (folder / SIGNATURE_NAME).write_bytes(signature)
        names.append(SIGNATURE_NAME)
    with refused(place):
        made = folder
        if output.suffix == ".zip":
            made = folder.with_name(folder.name + ".zip")
            pack(folder, names, made)
            shutil.rmtree(folder)
        load_unjudged(made).verify()  # Before anything is replaced.
        commit_folder(made, output, replace=force)
    return load_unjudged(output)


def _signature_of_same(output: Path, manifest: bytes) -> bytes | None:
    """The signature of what stands at a path, if that has this very manifest; of another one it would be wrong."""
    try:
        held, signature = read_sealed(output)
    except (BundleError, ValueError):
        return None
    return signature if held == manifest else None


def check_output(output: Path, *, inputs: Iterable[str | Path | None] = (), force: bool = False) -> Output:
    """Refuse a path that a bundle could not or must not be written to; `force` replaces a bundle, and nothing else.

    Raises:
        UsageError: as `outputs.check_writable`.
    """
    place = Output("output", output, "whole", MANIFEST_NAME, _own_files)
    check_writable([place], inputs=[*inputs, *own_files()], force=force)
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
    return {MANIFEST_NAME, SIGNATURE_NAME, *(files if isinstance(files, dict) else ())}


def _load_folder(folder: Path, judge: _Judge) -> Bundle:
    data = read_bounded(folder / MANIFEST_NAME, error=BundleError, max_bytes=MAX_MANIFEST_BYTES)
    origin = judge(data, signature_in(folder), shown=folder)
    manifest = parse_manifest(data, shown=folder)
    for name, entry in manifest.files.items():
        check_file(folder / name, name, entry, shown=folder)
    return Bundle(folder, manifest, hashlib.sha256(data).hexdigest(), origin=origin)


def _load_zip(path: Path, judge: _Judge) -> Bundle:
    """The copy that the cache holds of these very files, else one that is unpacked now with every hash checked.

    The copy's files are not hashed here, since that is done whenever one is read.
    """
    with open_zip(path) as archive:
        data, signature = sealed_in(archive, shown=path)
        origin = judge(data, signature, shown=path)
        manifest = parse_manifest(data, shown=path)
        for name, entry in manifest.files.items():
            member(archive, name, entry.size, shown=path)
        sha256 = hashlib.sha256(data).hexdigest()
        folder = BUNDLES.folder() / sha256
        if not _is_copy(folder, sha256):
            remove(folder)
            _unpack(archive, manifest, folder, shown=path)
    mark_used(folder)
    return Bundle(folder, manifest, sha256, archive=path, origin=origin)


def _is_copy(folder: Path, sha256: str) -> bool:
    """Whether a folder holds the bundle with this manifest, complete and with the listed sizes."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    try:
        return _load_folder(folder, _unjudged).sha256 == sha256
    except BundleError:
        return False


def _unpack(archive: zipfile.ZipFile, manifest: Manifest, folder: Path, *, shown: Path) -> None:
    """Unpack the listed files, check the hash of each, and make them `folder` in one rename."""
    try:
        with staged_folder(folder) as staging:
            extract(archive, MANIFEST_NAME, staging)
            for name, entry in manifest.files.items():
                extract(archive, name, staging)
                check_digest(file_sha256(staging / name), name, entry, shown=shown)
    except OSError as failure:
        if _is_copy(folder, folder.name):  # Another process was faster.
            return
        raise UsageError(
            f"{shown}: cannot be unpacked to {folder.parent}: {failure.strerror}.",
            MAKE_ROOM,
        ) from None
