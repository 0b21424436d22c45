"""Results over HTTP: DICOM objects by STOW-RS (PS3.18 10.5), and a FHIR R4 Bundle by POST (FHIR R4 3.1.0.11)."""

import json
import secrets
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ServiceError
from .config import Destination
from .delivery import DELIVERED, Parcel, Sent
from .tls import client_context, why_no_tls

TIMEOUT_S = 60.0
MOST_ANSWER = 4 * 1024 * 1024
"""Bytes of an answer that are looked at."""
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_FAILED_SOPS, _REASON = "00081198", "00081197"


class StowCarrier:
    """Sends to a DICOMweb server.

    Args:
        destination: of the kind dicomweb; its address is the service's root, as https://host/dicom-web.

    Raises:
        ServiceError: a certificate or token cannot be read.
    """

    def __init__(self, destination: Destination) -> None:
        self._caller = Caller(destination)

    def send(self, parcels: Sequence[Parcel]) -> Sent:
        """See `Carrier.send`."""
        boundary = secrets.token_hex(16)
        head = f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(head + parcel.file.read_bytes() for parcel in parcels)
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        status, answer = self._caller.post("studies", body + f"\r\n--{boundary}--\r\n".encode(), kind)
        if status is None:
            return Sent("failed", answer, retry=True)
        if status in (200, 202, 409):
            return _of_stow(status, answer, self._caller.name)
        return _of_status(status, self._caller.name)


class FhirCarrier:
    """Sends the Bundle of a result to a FHIR server, as one transaction."""

    def __init__(self, destination: Destination) -> None:
        self._caller = Caller(destination)

    def send(self, parcels: Sequence[Parcel]) -> Sent:
        """See `Carrier.send`."""
        for parcel in parcels:
            status, answer = self._caller.post("", parcel.file.read_bytes(), "application/fhir+json")
            if status is None:
                return Sent("failed", answer, retry=True)
            if not 200 <= status < 300:
                return _of_status(status, self._caller.name)
        return DELIVERED


class Caller:
    """One server of the configuration.

    Raises:
        ServiceError: a certificate or token cannot be read.
    """

    def __init__(self, destination: Destination) -> None:
        self.name = destination.name
        self._url = str(destination.url).rstrip("/")
        self._headers = {"Accept": "application/json, application/dicom+json, application/fhir+json"}
        if destination.token_file is not None:
            self._headers["Authorization"] = f"Bearer {read_token(destination.token_file)}"
        self._context = client_context(destination.name, trusted=destination.trusted, tls=destination.tls)

    def post(self, path: str, body: bytes, kind: str) -> tuple[int | None, str]:
        """Status and answer; without a status, why there is none."""
        return self._call("POST", path, body, {**self._headers, "Content-Type": kind})

    def get(self, path: str) -> tuple[int | None, str]:
        """As `post`."""
        return self._call("GET", path, None, self._headers)

    def _call(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int | None, str]:
        url = f"{self._url}/{path}" if path else self._url
        request = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310 - http(s) by the settings
        opener = urllib.request.build_opener(NoRedirect, urllib.request.HTTPSHandler(context=self._context))
        try:
            with opener.open(request, timeout=TIMEOUT_S) as answer:
                return int(answer.status), answer.read(MOST_ANSWER).decode("utf-8", "replace")
        except urllib.error.HTTPError as failure:
            with failure:
                return int(failure.code), failure.read(MOST_ANSWER).decode("utf-8", "replace")
        except (OSError, ValueError) as failure:
            reason = getattr(failure, "reason", failure)
            if isinstance(reason, ssl.SSLError):
                return None, f"{self.name}: {why_no_tls(reason)}"
            return None, f"{self.name} does not answer ({type(reason).__name__})"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token and a patient's results go to the configured server alone."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Not followed: the status is the answer."""
        return


def read_token(file: Path) -> str:
    """The token that a file holds.

    Raises:
        ServiceError: it cannot be read, or holds none.
    """
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ServiceError(f"The token file {file} cannot be read.", "Check its rights.") from None
    if not token or not token.isprintable() or " " in token:
        raise ServiceError(f"The token file {file} holds no token of one line.")
    return token


def _of_status(status: int, name: str) -> Sent:
    if status in _TRANSIENT:
        return Sent("failed", f"{name} answers {status}", retry=True)
    return Sent("failed", f"{name} answers {status}, which sending again does not change")


def _of_stow(status: int, answer: str, name: str) -> Sent:
    """PS3.18 10.5.3: 200 all stored; 202 some with warnings or failures; 409 none, each with its reason."""
    try:
        document = json.loads(answer) if answer.strip() else {}
    except json.JSONDecodeError:
        document = {}
    failed = _sequence(document, _FAILED_SOPS) if isinstance(document, Mapping) else []
    if status == 200 or (status == 202 and not failed):
        return DELIVERED
    reasons = sorted({reason for item in failed for reason in _numbers(item, _REASON)})
    if reasons and all(reason == 0x0111 for reason in reasons):
        return DELIVERED  # It has them already: our UIDs are digests of what they name.
    said = ", ".join(f"0x{reason:04X}" for reason in reasons) or "no reason given"
    transient = bool(reasons) and all(reason >> 8 == 0xA7 or reason in (0x0110, 0x0122) for reason in reasons)
    return Sent("failed", f"{name} does not store {len(failed) or 'any'} of the objects: {said}", retry=transient)


def _sequence(document: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    element = document.get(tag)
    value = element.get("Value") if isinstance(element, Mapping) else None
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _numbers(item: Mapping[str, Any], tag: str) -> list[int]:
    element = item.get(tag)
    value = element.get("Value") if isinstance(element, Mapping) else None
    return [number for number in value if isinstance(number, int)] if isinstance(value, list) else []
