"""What tells one state of the kernels from another."""

import hashlib
from functools import cache
from pathlib import Path


@cache
def fingerprint() -> str:
    """The first twelve hexadecimal digits of the SHA-256 of this package's sources."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
