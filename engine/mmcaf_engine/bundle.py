"""Bundles on disk: read with every hash checked, written whole or not at all."""

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from .cache import cache_folder
from .errors import BundleError, UsageError
from .manifest import FORMAT_VERSION, FileEntry, Manifest
from .strict_json import parse_json, read_bounded

MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 1024 * 1024

_COPY_AGAIN = "Copy the bundle again from its source; do not use this copy."


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    `folder` holds the files (of a zipped bundle: a verified copy in the cache); `sha256` is the
    manifest's, and since the manifest holds the hash of every file, it identifies the whole content.
    """

    folder: Path
    manifest: Manifest
    sha256: str

    def file(self, name: str) -> Path:
        """Path of one of the manifest's files."""
        return self.folder / name


def load_bundle(path: str | Path) -> Bundle:
    """Open a bundle directory or an uncompressed zip of one, and check the hash of every file.

    Raises:
        BundleError: missing, damaged, incomplete, a newer format version, or an invalid manifest.
    """
    path = Path(path)
    if path.is_dir():
        return _load_folder(path, shown=path)
    if path.is_file():
        return _load_zip(path)
    raise BundleError(f"{path}: no such bundle.", "Check the path, or make one: mmcaf export CHECKPOINT -o NAME.mmcaf")


def write_bundle(folder: Path, manifest: dict[str, Any], output: Path, *, force: bool = False) -> Bundle:
    """Seal the files in `folder` with a manifest and move them to `output` in one rename.

    Args:
        folder: holds the model files and golden.npz; on the same file system as `output`.
        manifest: the manifest's fields without `files`, which are counted and hashed here.
        output: the bundle directory, or a path ending in .zip for one uncompressed zip.
        force: replace what stands at `output`.

    Raises:
        BundleError: the manifest is invalid.
        UsageError: `output` exists and `force` is not given.
    """
    if output.exists() and not force:
        raise UsageError(f"{output}: exists already.", "Choose another path, or replace it with --force.")
    files = {
        str(file.relative_to(folder).as_posix()): {"sha256": file_sha256(file), "size": file.stat().st_size}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST_NAME
    }
    document = _validate({**manifest, "files": files}, shown=output)
    text = json.dumps(document.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    if output.suffix == ".zip":
        packed = folder.with_name(folder.name + ".zip")
        _pack(folder, [MANIFEST_NAME, *files], packed)
        shutil.rmtree(folder)
        packed.replace(output)
    else:
        if output.exists():
            shutil.rmtree(output) if output.is_dir() else output.unlink()
        folder.rename(output)
    return load_bundle(output)


def file_sha256(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return _stream_sha256(stream)


def _stream_sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _load_folder(folder: Path, *, shown: Path) -> Bundle:
    data = read_bounded(folder / MANIFEST_NAME, error=BundleError, max_bytes=MAX_MANIFEST_BYTES)
    manifest = _parse(data, shown=shown)
    for name, entry in manifest.files.items():
        _check_file(folder / name, name, entry, shown=shown)
    return Bundle(folder, manifest, hashlib.sha256(data).hexdigest())


def _load_zip(path: Path) -> Bundle:
    """Check the zip's members; then load the copy of them that the cache holds, unpacking it if need be."""
    try:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(_member(archive, MANIFEST_NAME, MAX_MANIFEST_BYTES, shown=path))
            manifest = _parse(data, shown=path)
            for name, entry in manifest.files.items():
                with archive.open(_member(archive, name, entry.size, shown=path)) as stream:
                    _check_digest(_stream_sha256(stream), name, entry, shown=path)
            target = cache_folder("bundles") / hashlib.sha256(data).hexdigest()
            if target.is_dir():
                try:
                    return _load_folder(target, shown=path)
                except BundleError:
                    shutil.rmtree(target)
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                unpacked = Path(scratch) / "bundle"
                for name in (MANIFEST_NAME, *manifest.files):
                    archive.extract(name, unpacked)
                bundle = _load_folder(unpacked, shown=path)
                unpacked.rename(target)
            return Bundle(target, bundle.manifest, bundle.sha256)
    except zipfile.BadZipFile as failure:
        raise BundleError(
            f"{path}: neither a bundle directory nor an intact zip of one ({failure}).",
            "Copy the bundle again, or make one: mmcaf export CHECKPOINT -o NAME.mmcaf",
        ) from None


def _member(archive: zipfile.ZipFile, name: str, limit: int, *, shown: Path) -> zipfile.ZipInfo:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise BundleError(f"{shown}: {name} is missing from the zip.", _COPY_AGAIN) from None
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
        raise BundleError(
            f"{shown}: {name} is {info.file_size} bytes in the zip, compressed or over the expected {limit}.",
            "Zip bundles without compression: zip -0 -r NAME.zip .",
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
            "Update it: pip install --upgrade mmcaf-infer",
        )
    return _validate(document, shown=shown)


def _validate(document: Any, *, shown: Path) -> Manifest:
    try:
        return Manifest.model_validate(document)
    except ValidationError as failure:
        raise BundleError(f"{shown}: invalid manifest: {describe_validation(failure)}.") from None


def describe_validation(failure: ValidationError) -> str:
    """The first few validation errors as 'where: what', in one line."""
    errors = failure.errors(include_url=False, include_input=False)
    lines = [f"{'.'.join(str(part) for part in error['loc']) or 'manifest'}: {error['msg']}" for error in errors[:4]]
    return "; ".join(lines) + (f"; and {len(errors) - 4} more" if len(errors) > 4 else "")


def _check_file(file: Path, name: str, entry: FileEntry, *, shown: Path) -> None:
    if file.is_symlink() or not file.is_file():
        raise BundleError(f"{shown}: {name} is missing (listed in the manifest with {entry.size} bytes).", _COPY_AGAIN)
    size = file.stat().st_size
    if size != entry.size:
        raise BundleError(f"{shown}: {name} has {size} bytes; the manifest says {entry.size}.", _COPY_AGAIN)
    _check_digest(file_sha256(file), name, entry, shown=shown)


def _check_digest(digest: str, name: str, entry: FileEntry, *, shown: Path) -> None:
    if digest != entry.sha256:
        raise BundleError(
            f"{shown}: {name} is damaged or altered: SHA-256 {digest[:16]}..., the manifest has {entry.sha256[:16]}...",
            _COPY_AGAIN,
        )


def _pack(folder: Path, names: Iterable[str], output: Path) -> None:
    """Zip without compression and with a fixed date, so that equal bundles are equal bytes."""
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            with (folder / name).open("rb") as source, archive.open(info, "w", force_zip64=True) as member:
                shutil.copyfileobj(source, member, 1 << 20)
