"""Keys and bundles that they sign."""

from pathlib import Path

from mmcaf_engine.bundle.sealed import MANIFEST_NAME, SIGNATURE_NAME
from mmcaf_engine.bundle.signature import PublicKey, SecretKey, Signature
from mmcaf_engine.bundle.trusted import trust_key

COMMENT = "timestamp:1\tfile:manifest.json\thashed"

OF_A_STRANGER = Signature(b"stranger", bytes(64), COMMENT.encode(), bytes(64)).file()
"""A signature's file, of no worth."""


def new_key(name: str | None = None) -> SecretKey:
    """A key; with a name, one that is trusted under it."""
    key = SecretKey.new()
    if name is not None:
        trust_key(key.public(), name)
    return key


def sign(folder: Path, key: SecretKey) -> Path:
    """Put a signature of its manifest into a bundle's folder, whatever the rest of it is like."""
    signature = key.sign((folder / MANIFEST_NAME).read_bytes(), COMMENT)
    (folder / SIGNATURE_NAME).write_bytes(signature.file())
    return folder


def key_files(key: SecretKey, folder: Path, name: str = "lab") -> tuple[Path, Path]:
    """The secret and the public file of a key."""
    secret, public = folder / f"{name}.key", folder / f"{name}.pub"
    secret.write_text(key.file(None))
    secret.chmod(0o600)
    public.write_text(key.public().file())
    return secret, public


def with_id_of(key: PublicKey) -> SecretKey:
    """Another key that calls itself by the same id."""
    return SecretKey(key.id, SecretKey.new().seed)
