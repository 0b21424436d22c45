"""What a network's labels are called in a terminology."""

from hashlib import sha256

from ..manifest import Manifest
from .parts import LabelCode

PRIVATE_SCHEME = "99MMCAF"
"""Coding scheme designator of what no terminology was named for; private, as 99 at its beginning says (PS3.16 8.2)."""
_LONGEST_VALUE, _LONGEST_MEANING = 16, 64
"""Characters of CodeValue (0008,0100) and of CodeMeaning (0008,0104), by their value representations SH and LO."""


def label_codes(manifest: Manifest) -> dict[str, LabelCode]:
    """Label -> its code: the manifest's or, where it gives none, a private one."""
    return {label: _code(label, manifest) for label in manifest.labels}


def _code(label: str, manifest: Manifest) -> LabelCode:
    given = manifest.label_codes.get(label)
    return private_code(label) if given is None else LabelCode(given.scheme, given.value, given.meaning)


def private_code(meaning: str) -> LabelCode:
    """A code of our own scheme: the beginning of the meaning's SHA-256, so that one meaning has one code."""
    value = sha256(meaning.encode("utf-8", "surrogatepass")).hexdigest()[:_LONGEST_VALUE].upper()
    return LabelCode(PRIVATE_SCHEME, value, meaning.replace("\\", "/")[:_LONGEST_MEANING])
