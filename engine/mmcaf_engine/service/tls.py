"""TLS as BCP 195 has it (RFC 9325; PS3.15 B.12, non-downgrading): from 1.2, with forward secrecy and AEAD."""

import socket
import ssl
from contextlib import suppress
from pathlib import Path

from ..errors import ServiceError
from .config import Tls

_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!eNULL:!PSK"
"""Of TLS 1.2 (RFC 9325 4.2): the four that PS3.15 B.12 asks for are among them; those of 1.3 are all good."""

REFUSED_S = 2.0
"""So long a server has to say that it does not accept our certificate."""


def server_context(tls: Tls) -> ssl.SSLContext:
    """For a port of ours; with `trusted` only for whom one of those vouches.

    Raises:
        ServiceError: a certificate or key cannot be read, or does not belong to the other.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        _harden(context)
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.trusted is not None:
            context.load_verify_locations(tls.trusted)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as failure:
        files = ", ".join(str(file) for file in (tls.certificate, tls.key, tls.trusted) if file is not None)
        raise ServiceError(f"The certificates {files} cannot be used: {failure}.") from None
    return context


def refuse_unusable(tls: Tls) -> None:
    """What we would show at a port of ours, as who asks would see it: expired, say, though it can be read.

    Raises:
        ServiceError: nobody would accept it, or it cannot be read.
    """
    ours, asks = server_context(tls), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asks.check_hostname = False  # By which names we are asked for, only those who ask know.
    asks.load_verify_locations(tls.certificate)
    asks.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (asks.wrap_bio(back, there), ours.wrap_bio(there, back, server_side=True))
    try:
        for _ in range(3):
            for side in sides:
                with suppress(ssl.SSLWantReadError):
                    side.do_handshake()
    except ssl.SSLCertVerificationError as failure:
        why = f"The certificate {tls.certificate} is not accepted by anybody: {failure.verify_message}."
        raise ServiceError(why, "Have a new one made.") from None
    except ssl.SSLError:
        return  # Of a certificate that we ask for in turn.


def client_context(what: str, *, trusted: Path | None = None, tls: Tls | None = None) -> ssl.SSLContext:
    """To reach a server, whose certificate must be of its name, and vouched for by `trusted` or by the system's.

    Args:
        what: how messages call it. tls: what we show, where it asks.

    Raises:
        ServiceError: a certificate or key cannot be read.
    """
    try:
        known = trusted or (None if tls is None else tls.trusted)
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=known)
        _harden(context)
        if tls is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as failure:
        raise ServiceError(f"The certificates of {what} cannot be used: {failure}.") from None
    return context


def refused_by_tls(context: ssl.SSLContext, host: str, port: int, timeout_s: float) -> str | None:
    """Why no TLS connection comes about, in words of no patient; None where one does.

    By version 1.3 a server says what it has against our certificate when we think that all is done (RFC 8446 4.4.2.4).
    """
    try:
        with (
            socket.create_connection((host, port), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            secured.settimeout(min(timeout_s, REFUSED_S))
            secured.recv(1)
            return None
    except ssl.SSLError as failure:
        return why_no_tls(failure)
    except OSError:
        return None  # Not reached at all, which is said elsewhere; or it says nothing against us.


def why_no_tls(failure: OSError) -> str:
    """What ended a handshake, in words of nobody."""
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {failure.verify_message}"
    reason = getattr(failure, "reason", None) or type(failure).__name__
    return f"no TLS connection comes about ({reason})"


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
