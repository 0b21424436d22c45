"""Keyed digests of what tells a patient or an order apart, so that the service's memory names nobody."""

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from ..errors import ServiceError
from .disk import sync_folder

FILE = "key"
_BYTES = 32


def spool_key(spool: Path) -> bytes:
    """The spool's secret, made where there is none; only its owner may read it.

    Raises:
        ServiceError: it is no such secret, or cannot be made.
    """
    file = spool / FILE
    try:
        if not file.exists():
            _make(file)
        sync_folder(file.parent)  # Who made it may have died before.
    except OSError as failure:
        raise ServiceError(f"{file} cannot be made: {failure.strerror}.", "Check the folder's rights.") from None
    try:
        found = file.read_bytes()
    except OSError as failure:
        raise ServiceError(f"{file} cannot be read: {failure.strerror}.", "Check the folder's rights.") from None
    if len(found) != _BYTES:
        raise ServiceError(f"{file} has {len(found)} bytes; {_BYTES} are expected.", "Restore it from a copy.")
    return found


def keyed(key: bytes, kind: str, value: str | None) -> str | None:
    """The digest of an identifier, of a kind such as "patient"; None where it is empty. Padding is no part of it."""
    given = (value or "").strip(" \0")
    return hmac.new(key, f"{kind}\0{given}".encode(), "sha256").hexdigest() if given else None


def _make(file: Path) -> None:
    """Whole or not at all; where two processes make it at once, the first one's stays."""
    draft = file.with_name(f".{FILE}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()
