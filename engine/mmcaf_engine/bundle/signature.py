"""Signatures and keys in minisign's format (jedisct1.github.io/minisign), so that either program reads the other's.

A signature is Ed25519 (RFC 8032) over the BLAKE2b-512 of a file ("ED", which is written here), or over the file itself
("Ed", of older versions). A second one covers the first and the trusted comment; for the other comment, on top of each
file, nobody vouches. This is the format alone: which keys are trusted, `trusted` knows.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Self

from ..errors import BackendError, BundleError, MmcafError, Remedy, UsageError
from ..machine.installation import install_command

MAX_BYTES = 16 * 1024
"""Of a signature or a key; minisign's own trusted comments are at most 8 KiB."""

_KEY, _PREHASHED, _LEGACY = b"Ed", b"ED", b"Ed"
_CHECKSUM = b"B2"
_SCRYPT, _NO_PASSWORD = b"Sc", b"\0\0"
_UNTRUSTED, _TRUSTED = b"untrusted comment: ", b"trusted comment: "
_ID, _POINT, _SIGNATURE = 8, 32, 64
_SALT = 32
_SECRET = _ID + 64 + 32
"""Key id, seed and public key, checksum: what a password hides."""


@dataclass(frozen=True)
class Work:
    """What guessing a password costs, in libsodium's terms: operations, and bytes of memory."""

    operations: int
    memory: int

    def derived(self, password: bytes, salt: bytes, size: int) -> bytes:
        """Bytes that follow from a password (scrypt, RFC 7914), with N, r and p as libsodium takes them.

        Raises:
            ValueError: more than `FULL_WORK`; or there is no room for it.
        """
        if not (0 < self.operations <= FULL_WORK.operations and 0 < self.memory <= FULL_WORK.memory):
            raise ValueError(f"{self.operations} operations in {self.memory} bytes")
        operations, block = max(self.operations, 32768), 8
        by_memory = operations >= self.memory // 32
        most = self.memory // (block * 128) if by_memory else operations // (block * 4)
        cost = 2 ** max(most.bit_length() - 1, 1)
        lanes = max(operations // 4 // cost // block, 1) if by_memory else 1
        room = 128 * block * (cost + lanes + 2) + 2**20
        return hashlib.scrypt(password, salt=salt, n=cost, r=block, p=lanes, maxmem=room, dklen=size)


FULL_WORK = Work(33_554_432, 1 << 30)
"""As minisign does it: a GiB, for a few seconds."""


@dataclass(frozen=True)
class PublicKey:
    """What a signature is verified with. id: eight bytes that its maker drew, and anybody can write elsewhere."""

    id: bytes
    point: bytes

    @classmethod
    def read(cls, data: bytes, *, shown: object) -> Self:
        """Of a file, or of its last line alone.

        Raises:
            UsageError: it is none.
        """
        lines = data.strip().splitlines()
        held = _base64(lines[-1]) if 0 < len(lines) <= 2 else b""
        if len(held) != len(_KEY) + _ID + _POINT or held[:2] != _KEY:
            raise UsageError(
                f"{shown}: expected a public key as minisign writes it, a comment and a line of 56 letters.",
                "Name the .pub file that belongs to the secret key.",
            )
        return cls(held[2 : 2 + _ID], held[2 + _ID :])

    @property
    def name(self) -> str:
        """The id as minisign shows it."""
        return key_name(self.id)

    def __str__(self) -> str:
        """The line of base64."""
        return base64.b64encode(_KEY + self.id + self.point).decode()

    def file(self) -> str:
        """What a public key's file holds."""
        return f"{_UNTRUSTED.decode()}minisign public key {self.name}\n{self}\n"


@dataclass(frozen=True)
class Signature:
    """A signature as its file has it, of which nothing is verified.

    id: of the key that is said to have made it. comment: the trusted one, as its bytes; of_comment: what covers it.
    """

    id: bytes
    value: bytes
    comment: bytes
    of_comment: bytes
    prehashed: bool = True

    @classmethod
    def read(cls, data: bytes, *, shown: object) -> Self:
        """Of a file.

        Raises:
            BundleError: it is none.
        """
        lines = data.removesuffix(b"\n").split(b"\n") if len(data) <= MAX_BYTES else []
        lines = [line.removesuffix(b"\r") for line in lines]
        if len(lines) == 4 and lines[0].startswith(_UNTRUSTED) and lines[2].startswith(_TRUSTED):
            held, of_comment = _base64(lines[1]), _base64(lines[3])
            if (
                held[:2] in (_PREHASHED, _LEGACY)
                and len(held) == 2 + _ID + _SIGNATURE
                and len(of_comment) == _SIGNATURE
            ):
                comment = lines[2].removeprefix(_TRUSTED)
                return cls(held[2 : 2 + _ID], held[2 + _ID :], comment, of_comment, held[:2] == _PREHASHED)
        raise BundleError(
            f"{shown}: damaged: expected a signature as minisign writes it, of four lines.",
            "Copy the bundle again from its source; do not use this copy.",
        )

    @property
    def key(self) -> str:
        """The key's id as minisign shows it."""
        return key_name(self.id)

    def file(self) -> bytes:
        """What a signature's file holds."""
        kind = _PREHASHED if self.prehashed else _LEGACY
        value, of_comment = (base64.b64encode(one) for one in (kind + self.id + self.value, self.of_comment))
        return b"\n".join(
            [_UNTRUSTED + b"verify with mmcaf or minisign", value, _TRUSTED + self.comment, of_comment, b""]
        )

    def verifies(self, data: bytes, key: PublicKey) -> bool:
        """Whether the owner of this very key has signed these bytes, and the trusted comment.

        Raises:
            BackendError: the package that computes it is not installed.
        """
        ed25519, invalid = _library()
        public = ed25519.Ed25519PublicKey.from_public_bytes(key.point)
        try:
            public.verify(self.value, _signed(data) if self.prehashed else data)
            public.verify(self.of_comment, self.value + self.comment)
        except invalid:
            return False
        return hmac.compare_digest(self.id, key.id)


@dataclass(frozen=True)
class SecretKey:
    """What signs."""

    id: bytes
    seed: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """One of which nobody else knows."""
        return cls(os.urandom(_ID), os.urandom(_POINT))

    @classmethod
    def read(cls, data: bytes, password: Callable[[], bytes], *, shown: object) -> Self:
        """Of a file.

        Args:
            password: called where one is needed.

        Raises:
            UsageError: it is none, or the password is another.
            BackendError: as `Signature.verifies`.
        """
        lines = data.strip().splitlines()
        held = _base64(lines[1]) if len(lines) == 2 and lines[0].startswith(_UNTRUSTED) else b""
        kind, derivation, check, rest = held[:2], held[2:4], held[4:6], held[6:]
        sizes = _SALT + 16
        if (
            len(rest) != sizes + _SECRET
            or (kind, check) != (_KEY, _CHECKSUM)
            or derivation not in (_SCRYPT, _NO_PASSWORD)
        ):
            raise UsageError(
                f"{shown}: expected a secret key as minisign writes it, a comment and a line of 212 letters.",
                Remedy("Name the file of the secret key", option="key"),
            )
        hidden, secret = derivation == _SCRYPT, rest[sizes:]
        if hidden:
            salt, operations, memory = rest[:_SALT], rest[_SALT : _SALT + 8], rest[_SALT + 8 : sizes]
            work = Work(int.from_bytes(operations, "little"), int.from_bytes(memory, "little"))
            try:
                secret = _hidden(secret, work.derived(password(), salt, _SECRET))
            except (ValueError, MemoryError):
                raise UsageError(
                    f"{shown}: the password cannot be tried here: that takes {work.memory / 2**20:.0f} MiB of memory; "
                    f"at most {FULL_WORK.memory / 2**20:.0f} MiB are used."
                ) from None
        key = cls(secret[:_ID], secret[_ID : _ID + _POINT])
        point, checksum = secret[_ID + _POINT : _ID + 64], secret[_ID + 64 :]
        unchecked = not hidden and checksum == bytes(32)  # minisign leaves it out.
        if not (unchecked or hmac.compare_digest(checksum, key._checksum(point))):
            if hidden:
                raise UsageError(f"{shown}: the password is wrong.", Remedy("Give another one", option="password"))
            raise _damaged(shown)
        if key.public().point != point:
            raise _damaged(shown)
        return key

    def public(self) -> PublicKey:
        """What verifies its signatures.

        Raises:
            BackendError: as `Signature.verifies`.
        """
        point: bytes = self._library_key().public_key().public_bytes_raw()
        return PublicKey(self.id, point)

    def file(self, password: bytes | None, work: Work = FULL_WORK) -> str:
        """What its file holds: without a password, the key itself."""
        point = self.public().point
        secret = self.id + self.seed + point + self._checksum(point)
        derivation, salt, sizes = _NO_PASSWORD, bytes(_SALT), bytes(16)
        if password is not None:
            derivation, salt = _SCRYPT, os.urandom(_SALT)
            sizes = work.operations.to_bytes(8, "little") + work.memory.to_bytes(8, "little")
            secret = _hidden(secret, work.derived(password, salt, _SECRET))
        line = base64.b64encode(_KEY + derivation + _CHECKSUM + salt + sizes + secret).decode()
        return f"{_UNTRUSTED.decode()}minisign {'' if password is None else 'encrypted '}secret key\n{line}\n"

    def sign(self, data: bytes, comment: str) -> Signature:
        """Sign these bytes, and a comment of one line.

        Raises:
            BackendError: as `Signature.verifies`.
        """
        key, said = self._library_key(), comment.encode()
        value: bytes = key.sign(_signed(data))
        of_comment: bytes = key.sign(value + said)
        return Signature(self.id, value, said, of_comment)

    def _library_key(self) -> Any:
        ed25519, _ = _library()
        return ed25519.Ed25519PrivateKey.from_private_bytes(self.seed)

    def _checksum(self, point: bytes) -> bytes:
        return hashlib.blake2b(_KEY + self.id + self.seed + point, digest_size=32).digest()


def key_name(key: bytes) -> str:
    """The id of a key as minisign shows it: 16 hexadecimal digits of the number that it is."""
    return f"{int.from_bytes(key, 'little'):016X}"


def _signed(data: bytes) -> bytes:
    return hashlib.blake2b(data).digest()


def _hidden(secret: bytes, by: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(secret, by, strict=True))


def _damaged(shown: object) -> MmcafError:
    return UsageError(f"{shown}: the secret key is damaged.", "Take another copy of it.")


def _base64(line: bytes) -> bytes:
    """What a line holds; nothing, if it is no base64."""
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _library() -> tuple[ModuleType, type[Exception]]:
    """What computes Ed25519, and how it says no.

    Raises:
        BackendError: it is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise BackendError(
            "Signatures are made and verified with the package cryptography, which is not installed.",
            Remedy("Install it", command=install_command("sign")),
        ) from None
    return ed25519, InvalidSignature
