"""What the bytes of a manifest say, and what is to be written into one: valid, or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import BundleError
from ..machine.installation import UPDATE
from ..manifest import FORMAT_VERSION, Manifest, describe_validation, written_version
from ..strict_json import parse_json
from .sealed import MANIFEST_NAME, MAX_MANIFEST_BYTES


def parse_manifest(data: bytes, *, shown: Path) -> Manifest:
    """What the bytes of a manifest say.

    Raises:
        BundleError: they are no manifest, an invalid one, or one of a newer format version.
    """
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


def manifest_of(document: dict[str, Any], *, shown: Path) -> Manifest:
    """The manifest with these fields, in the format version that it is written in.

    Raises:
        BundleError: it is invalid.
    """
    return _checked(lambda: Manifest.model_validate({**document, "format_version": written_version(document)}), shown)


def _checked(validate: Callable[[], Manifest], shown: Path) -> Manifest:
    try:
        return validate()
    except ValidationError as failure:
        raise BundleError(f"{shown}: invalid manifest: {describe_validation(failure)}.") from None
