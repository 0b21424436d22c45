"""Engines to carry to another machine: a folder with an engine and its signature, a manifest of SHA-256 hashes.

An engine is close to a program, so one from elsewhere is only ever used after the user has said so of this very
package, by the SHA-256 of its signature: `trust`. Nothing else of this program reads such a folder.
"""

import hashlib
import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Literal, get_args

from pydantic import Field, ValidationError

from ...bundle.hashing import file_sha256
from ...bundle.models import model_hashes
from ...bundle.parsing import parse_manifest
from ...cache.engines import EngineCache
from ...errors import BackendError, Remedy, UsageError, program
from ...files import in_words, look_at, read_bounded, reason, shown_path
from ...manifest import FileEntry, ForeignModel, Precision, describe_validation
from ...outputs import Output, check_writable, refused, staged_folder
from ...settings import own_files
from ...strict_json import parse_json
from .engine_key import Facts, differences
from .flavour import FlavourName, find_flavour, install_flavour

SIGNATURE_NAME = "signature.json"
PLAN_NAME: Final = "engine.plan"
PRODUCTS_NAME: Final = "precision.json"
LAYERS_NAME: Final = "layers.json"
BUNDLE_NAME: Final = "manifest.json"
"""The manifest of the bundle that it is an engine of."""
FileName = Literal["engine.plan", "precision.json", "layers.json", "manifest.json"]

_MAX_SIGNATURE_BYTES = 1024 * 1024
_COPY_AGAIN = "Copy the folder again from the machine that built it; do not use this copy."
_BUILD_AGAIN = "Have it built again from the bundle, with a version as new as this one."
_BLOCK = 1 << 20


class SignedFacts(ForeignModel):
    """What the engine depends on, for one GPU: as `engine_key.engine_facts` and the model's hashes."""

    runtime: FlavourName
    version: str = Field(pattern=r"^[0-9][0-9A-Za-z.+]{0,31}$")
    precision: Precision
    compute_capability: str = Field(pattern=r"^sm_[0-9]{2,4}$")
    inputs: list[list[str | int]]
    outputs: list[list[str | int]]
    model: list[str] = Field(min_length=1)
    gpu: str | None = None
    driver: str | None = None
    system: list[str] | None = None
    lengths: list[int] | None = None

    def facts(self) -> Facts:
        """As the cache has them."""
        return self.model_dump(mode="json", exclude_none=True)


class Signature(ForeignModel):
    """signature.json: what the engine is, and size and SHA-256 of every file beside it."""

    format: Literal[1] = 1
    bundle: str = Field(max_length=200)
    bundle_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    built_by: str = Field(max_length=200)
    created: str | None = Field(default=None, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")
    engines: tuple[SignedFacts, ...] = Field(min_length=1)
    files: dict[FileName, FileEntry]


@dataclass(frozen=True)
class Package:
    """A folder with a signature of the right form; its files are not checked.

    text: the signature as it lies there. fingerprint: the SHA-256 of that.
    """

    folder: Path
    signature: Signature
    text: bytes

    @property
    def fingerprint(self) -> str:
        """What the user names to trust this very package."""
        return hashlib.sha256(self.text).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of the engine, as signed."""
        return self.signature.files[PLAN_NAME].size


def write_package(
    folder: Path,
    plan: bytes,
    engines: list[Facts],
    *,
    bundle: str,
    manifest: bytes,
    built_by: str,
    notes: Mapping[str, str],
    force: bool = False,
) -> Package:
    """Write an engine with its signature; the folder appears whole or not at all.

    Args:
        engines: what it depends on, once for each GPU that it was built for.
        bundle: its name. manifest: the bytes of its manifest.
        notes: text of PRODUCTS_NAME and LAYERS_NAME, as far as known.
        force: replace a folder that is not empty.

    Raises:
        UsageError: the folder must not be replaced, or cannot be written.
    """
    output = check_output(folder, force=force)
    with refused(output), staged_folder(folder, replace=force, mode=0o777) as staging:
        (staging / PLAN_NAME).write_bytes(plan)
        (staging / BUNDLE_NAME).write_bytes(manifest)
        for name, text in notes.items():
            (staging / name).write_text(text, encoding="utf-8")
        files = {
            file.name: {"sha256": file_sha256(file), "size": file.stat().st_size} for file in sorted(staging.iterdir())
        }
        signature = Signature.model_validate(
            {
                "bundle": bundle,
                "bundle_sha256": hashlib.sha256(manifest).hexdigest(),
                "built_by": built_by,
                "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "engines": engines,
                "files": files,
            }
        )
        text = signature.model_dump_json(indent=2, exclude_none=True) + "\n"
        (staging / SIGNATURE_NAME).write_text(text, encoding="utf-8")
    return read_package(folder)


def package_output(folder: Path) -> Output:
    """A folder to write a package to, which replaces a package and nothing else."""
    return Output("output", folder, "whole", SIGNATURE_NAME, _own_files)


def _own_files(folder: Path) -> set[str] | None:
    """What a package holds, however damaged; None if it is none."""
    return {SIGNATURE_NAME, *get_args(FileName)} if (folder / SIGNATURE_NAME).is_file() else None


def check_output(folder: Path, *, inputs: Iterable[Path] = (), force: bool = False) -> Output:
    """Refuse a folder that a package could not or must not be written to, before the long work.

    Raises:
        UsageError: it is refused, or the one above it is missing.
    """
    output = package_output(folder)
    check_writable([output], inputs=[*inputs, *own_files()], force=force)
    if not folder.parent.is_dir():
        raise UsageError(
            f"{folder.parent}: no such folder.",
            Remedy("Make it", command=shlex.join(["mkdir", "-p", str(folder.parent)])),
        )
    return output


def read_package(folder: Path) -> Package:
    """The package in a folder, with its signature read and its files not yet looked at.

    Raises:
        BackendError: it is none, or its signature is not of the form that this version knows.
    """
    found = look_at(folder, BackendError)
    if found is None or not stat.S_ISDIR(found.st_mode):
        what = "no such folder" if found is None else f"expected a folder, got {in_words(found)}"
        raise BackendError(
            f"{shown_path(folder)}: {what}.",
            Remedy("Make one", command=program("build", "BUNDLE", "--target", "sm_86", "--output", "FOLDER")),
        )
    file = folder / SIGNATURE_NAME
    data = read_bounded(file, error=BackendError, max_bytes=_MAX_SIGNATURE_BYTES)
    document = parse_json(data, name=str(file), error=BackendError, max_bytes=_MAX_SIGNATURE_BYTES)
    try:
        signature = Signature.model_validate(document)
    except ValidationError as failure:
        raise BackendError(
            f"{file}: not the signature of an engine: {describe_validation(failure)}.", _COPY_AGAIN
        ) from None
    if PLAN_NAME not in signature.files:
        raise BackendError(f"{file}: it signs no {PLAN_NAME}.", _COPY_AGAIN)
    return Package(folder, signature, data)


def trust(package: Package, fingerprint: str, cache: EngineCache, *, force: bool = False) -> None:
    """Put a package's engine into the cache, from where sessions load it: the user says that it is this one.

    Every byte is checked as it is copied; what is kept is what was checked.

    Args:
        fingerprint: SHA-256 of the signature as the machine that built it has shown it.
        force: also in the place of one that was trusted before and is newer.

    Raises:
        BackendError: another fingerprint; a file is missing, altered or cut short; the engine's model is none of the
            bundle that is shown; another version of TensorRT is installed here, or none.
        UsageError: one that is newer was trusted before.
        EngineTooLargeError: it does not fit the cache.
    """
    if fingerprint.lower() != package.fingerprint:
        raise BackendError(
            f"{package.folder}: its signature has the SHA-256 {package.fingerprint[:16]}...; "
            f"{fingerprint[:16]}... was named. This is another package, or it was altered.",
            _COPY_AGAIN,
        )
    _check_bundle(package)
    _check_version(package)
    if not force:
        _check_newest(package, cache)
    names: tuple[FileName, ...] = (PRODUCTS_NAME, LAYERS_NAME)
    notes: dict[str, str] = {name: _read_note(package, name) for name in names if name in package.signature.files}
    notes[SIGNATURE_NAME] = package.text.decode()
    for signed in package.signature.engines:
        facts = signed.facts()
        draft = cache.draft(
            facts,
            package.signature.bundle,
            lambda output: _copy(package, PLAN_NAME, output),
            origin=f"package {package.fingerprint}",
            notes=notes,
        )
        cache.replace(draft)


def _check_bundle(package: Package) -> None:
    """The cache finds an engine by the hashes of its model: they must be those of the bundle that people are shown."""
    signature, shown = package.signature, package.folder
    if BUNDLE_NAME not in signature.files:
        raise BackendError(f"{shown}: it signs no {BUNDLE_NAME}, so that its bundle is not known.", _BUILD_AGAIN)
    data = b"".join(_chunks(package, BUNDLE_NAME))
    if (found := hashlib.sha256(data).hexdigest()) != signature.bundle_sha256:
        raise BackendError(
            f"{shown}: signed as of the bundle {signature.bundle_sha256[:16]}..., but with the manifest of "
            f"{found[:16]}....",
            _BUILD_AGAIN,
        )
    manifest = parse_manifest(data, shown=shown)
    if manifest.name != signature.bundle:
        raise BackendError(
            f"{shown}: signed as of the bundle {signature.bundle}, which is {manifest.name}.", _BUILD_AGAIN
        )
    for signed in signature.engines:
        held = signed.precision in manifest.models
        if not held or signed.model != model_hashes(manifest, signed.precision):
            raise BackendError(
                f"{shown}: its engine is not of {manifest.name} {signed.precision}: the hashes of its model are not "
                "those of the bundle.",
                _BUILD_AGAIN,
            )


def _check_newest(package: Package, cache: EngineCache) -> None:
    """Refuse to replace what was trusted before by what is older."""
    for signed in package.signature.engines:
        text = cache.note(signed.facts(), SIGNATURE_NAME)
        if text is None:
            continue
        try:
            kept = Signature.model_validate_json(text)
        except ValidationError:
            continue
        if (kept.created or "") > (package.signature.created or ""):
            raise UsageError(
                f"{package.folder}: written {package.signature.created or 'at an unknown time'}; for "
                f"{signed.compute_capability} one of {kept.created} is trusted already.",
                Remedy("Use that or, to go back, replace it", option="force"),
            )


def _check_version(package: Package) -> None:
    signed = package.signature.engines[0]
    for other in package.signature.engines[1:]:
        if (other.runtime, other.version) != (signed.runtime, signed.version):
            raise BackendError(f"{package.folder}: signed for several versions of TensorRT.", _COPY_AGAIN)
    flavour = find_flavour(signed.runtime)
    if flavour.version != signed.version:
        found = differences({"version": signed.version}, {"version": flavour.version})[0]
        raise BackendError(
            f"{package.folder}: an engine of {signed.runtime} {found}; only the version that built an engine loads it.",
            Remedy(
                f"Build it again with {flavour.version}, or install that one",
                command=install_flavour(signed.runtime, signed.version),
            ),
        )


def _read_note(package: Package, name: FileName) -> str:
    return b"".join(_chunks(package, name)).decode("utf-8", errors="replace")


def _chunks(package: Package, name: FileName) -> list[bytes]:
    """What a signed file holds."""
    chunks: list[bytes] = []
    _copy(package, name, _Chunks(chunks))
    return chunks


class _Chunks:
    """A file to write to, in memory."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.write = chunks.append


def _copy(package: Package, name: FileName, output: BinaryIO | _Chunks) -> None:
    """Copy a signed file, hashing what is copied; what differs from the signature raises when all is read."""
    entry = package.signature.files[name]
    digest, size = hashlib.sha256(), 0
    with _signed_file(package, name) as stream:
        while size <= entry.size and (block := stream.read(_BLOCK)):
            digest.update(block)
            size += len(block)
            output.write(block)
    if size != entry.size:
        more = "more than " if size > entry.size else ""
        raise BackendError(
            f"{package.folder}: {name} has {more}{min(size, entry.size)} bytes; {entry.size} are signed.", _COPY_AGAIN
        )
    if digest.hexdigest() != entry.sha256:
        raise BackendError(
            f"{package.folder}: {name} is damaged or altered: SHA-256 {digest.hexdigest()[:16]}..., "
            f"{entry.sha256[:16]}... is signed.",
            _COPY_AGAIN,
        )


@contextmanager
def _signed_file(package: Package, name: FileName) -> Iterator[BinaryIO]:
    """A file of the folder, whoever owns it, since its hash is what counts; no link, and nothing that could hang."""
    flags = (getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    try:
        stream = os.fdopen(os.open(package.folder / name, os.O_RDONLY | sum(flags)), "rb")
    except OSError as failure:
        raise BackendError(f"{package.folder}: {name} cannot be read: {reason(failure)}.", _COPY_AGAIN) from None
    with stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise BackendError(f"{package.folder}: {name} is not a regular file.", _COPY_AGAIN)
        yield stream
