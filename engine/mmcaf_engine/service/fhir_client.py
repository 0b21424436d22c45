"""Searches of a FHIR R4 server (3.1.1): paged, bounded in bytes, pages and time, and at that server alone.

Every search is a POST to _search: what is searched for is a patient's, and an address is written into logs.
"""

import http.client
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from ..errors import RecordError
from ..record.document import MAX_RECORD_BYTES
from ..strict_json import parse_json
from .config import RecordSettings
from .http_carriers import NoRedirect, read_token
from .tls import client_context, why_no_tls

Resource = dict[str, Any]

REQUEST_S = 15.0
"""One request with its answer, however slowly that comes."""
MOST_PAGES = 100
"""Of all searches for one study; their answers have at most MAX_RECORD_BYTES together."""
_CODES = re.findall(
    r"[a-z-]+",
    "invalid, structure, required, value, invariant, security, login, unknown, expired, forbidden, suppressed, "
    "processing, not-supported, duplicate, multiple-matches, not-found, deleted, too-long, code-invalid, extension, "
    "too-costly, business-rule, conflict, transient, lock-error, no-store, exception, timeout, incomplete, throttled, "
    "informational",
)
"""OperationOutcome.issue.code, as code-invalid: all that is shown of one, since its other words may name a patient."""


class SearchError(Exception):
    """A search came to nothing; the text says why, without a word of a patient.

    down: no other search would do better now. unknown: the server has no such search.
    """

    def __init__(self, why: str, *, down: bool = False, unknown: bool = False) -> None:
        super().__init__(why)
        self.down, self.unknown = down, unknown


class FhirClient:
    """Searches for one study.

    Args:
        between: called before each request; what it raises ends the search.

    Raises:
        ServiceError: a certificate or token cannot be read.
    """

    def __init__(self, settings: RecordSettings, between: Callable[[], None] = lambda: None) -> None:
        self.base = str(settings.fhir_url).rstrip("/")
        self._between = between
        self._headers = {"Accept": "application/fhir+json", "Prefer": "handling=strict"}
        if settings.token_file is not None:
            self._headers["Authorization"] = f"Bearer {read_token(settings.token_file)}"
        context = client_context("records.fhir_url", trusted=settings.trusted)
        self._opener = urllib.request.build_opener(NoRedirect, urllib.request.HTTPSHandler(context=context))
        self._pages, self._bytes = 0, 0

    def search(self, kind: str, **query: str) -> list[Resource]:
        """Every resource of a type that a server finds.

        Raises:
            SearchError: it answers nothing that can be used, or not all.
        """
        form = urllib.parse.urlencode(query).encode()
        page = self._ask(f"{self.base}/{kind}/_search", form)
        found: list[Resource] = []
        seen: set[str] = set()
        while True:
            found += _matches(page, kind)
            link = _next(page)
            if link is None:
                return found
            if link in seen:
                raise SearchError("its pages lead in a circle")
            seen.add(link)
            page = self._ask(self._same_origin(link), None)

    def metadata(self) -> None:
        """Whether it answers at all.

        Raises:
            SearchError: it does not.
        """
        if self._ask(f"{self.base}/metadata", None).get("resourceType") != "CapabilityStatement":
            raise SearchError("it answers metadata with what is no CapabilityStatement")

    def _same_origin(self, link: str) -> str:
        try:
            url = urllib.parse.urljoin(f"{self.base}/", link)
        except ValueError:
            url = ""
        if _origin(url) != _origin(self.base):
            raise SearchError("its next page lies at another server, which is not asked")
        return url

    def _ask(self, url: str, form: bytes | None) -> Resource:
        self._between()
        self._pages += 1
        if self._pages > MOST_PAGES:
            raise SearchError(f"its answers have more than {MOST_PAGES} pages")
        kind = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        request = urllib.request.Request(url, form, {**self._headers, **kind})  # noqa: S310 - http(s) by the settings
        ends = time.monotonic() + REQUEST_S
        try:
            with self._opener.open(request, timeout=REQUEST_S) as answer:
                return self._read(answer, ends)
        except urllib.error.HTTPError as failure:
            with failure:
                raise self._refused(failure, ends) from None
        except urllib.error.URLError as failure:
            reason = failure.reason
            if isinstance(reason, ssl.SSLError):
                raise SearchError(why_no_tls(reason), down=True) from None
            raise SearchError(f"it does not answer ({type(reason).__name__})", down=True) from None
        except (OSError, http.client.HTTPException, ValueError) as failure:
            raise SearchError(f"it does not answer ({type(failure).__name__})", down=True) from None

    def _read(self, answer: Any, ends: float) -> Resource:
        content = bytearray()
        while piece := answer.read1(65536):
            content += piece
            self._bytes += len(piece)
            if self._bytes > MAX_RECORD_BYTES:
                raise SearchError(f"its answers have more than {MAX_RECORD_BYTES} bytes")
            if time.monotonic() > ends:
                raise SearchError(f"it did not end its answer within {REQUEST_S:g} s", down=True)
        if getattr(answer, "length", None):
            raise SearchError("it ends its answer before its end", down=True)
        try:
            document = parse_json(bytes(content), name="it", error=RecordError, max_bytes=MAX_RECORD_BYTES)
        except RecordError:
            raise SearchError("it answers with what is no JSON, or not all of it") from None
        if not isinstance(document, dict):
            raise SearchError("it answers with JSON that is no resource")
        return document

    def _refused(self, failure: urllib.error.HTTPError, ends: float) -> SearchError:
        try:
            codes = outcome_codes(self._read(failure, ends))
        except (SearchError, OSError, http.client.HTTPException):
            codes = []
        said = f" ({', '.join(codes)})" if codes else ""
        if 300 <= failure.code < 400:
            return SearchError(f"it answers {failure.code}, and redirections are not followed")
        return SearchError(
            f"it answers {failure.code}{said}",
            down=failure.code in (401, 429) or (failure.code >= 500 and failure.code != 501),
            unknown=failure.code in (404, 405, 501),
        )


def outcome_codes(resource: Resource) -> list[str]:
    """Of an OperationOutcome, the codes of its issues that FHIR defines."""
    issues = resource.get("issue") if resource.get("resourceType") == "OperationOutcome" else None
    codes = [one.get("code") for one in issues if isinstance(one, dict)] if isinstance(issues, list) else []
    return sorted({code for code in codes if isinstance(code, str) and code in _CODES})


def _matches(page: Resource, kind: str) -> list[Resource]:
    """Resources of a page, which says by no outcome that it lacks some."""
    if page.get("resourceType") == "OperationOutcome":
        raise SearchError(f"it answers with an OperationOutcome ({', '.join(outcome_codes(page)) or 'no code'})")
    entries = page.get("entry", [])
    if page.get("resourceType") != "Bundle" or page.get("type") != "searchset" or not isinstance(entries, list):
        raise SearchError("it answers a search with what is no Bundle of the type searchset")
    resources = [entry.get("resource") for entry in entries if isinstance(entry, dict)]
    found = [one for one in resources if isinstance(one, dict)]
    for one in found:
        issues = one.get("issue") if one.get("resourceType") == "OperationOutcome" else None
        for issue in issues if isinstance(issues, list) else []:
            if isinstance(issue, dict) and issue.get("severity") in ("error", "fatal"):
                raise SearchError(f"it could not give all ({', '.join(outcome_codes(one)) or 'no code'})")
    return [one for one in found if one.get("resourceType") == kind]


def _next(page: Resource) -> str | None:
    links = page.get("link")
    for one in links if isinstance(links, list) else []:
        if isinstance(one, dict) and one.get("relation") == "next" and isinstance(one.get("url"), str):
            return str(one["url"])
    return None


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 6454 4); what is no address has none."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        return "", "", None
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), usual if port is None else port
