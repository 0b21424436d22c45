"""Certificates for tests: authorities, and what they vouch for, expired or for another host as is wanted."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("cryptography")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NOW = datetime.datetime.now(datetime.UTC)
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Shown:
    """What one side shows: PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Vouches for others. file: its own certificate, PEM."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(self._name, self._key.public_key()).add_extension(x509.BasicConstraints(True, None), True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def vouch(self, name: str, *, host: str = "127.0.0.1", expired: bool = False) -> Shown:
        """A certificate of this common name, and for this host."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        try:
            known: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            known = x509.DNSName(host)
        builder = self._builder(subject, key.public_key(), until=-_DAY if expired else _DAY)
        made = builder.add_extension(x509.SubjectAlternativeName([known]), False).sign(self._key, hashes.SHA256())
        shown = Shown(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        shown.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        shown.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return shown

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime.timedelta = _DAY
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_NOW - 3 * _DAY)
            .not_valid_after(_NOW + until)
        )
