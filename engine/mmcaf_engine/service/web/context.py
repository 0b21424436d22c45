"""What every request needs: the configuration, a connection of its own, and whether its caller may ask."""

import hmac
import ipaddress
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from fastapi import Request

from ...errors import MmcafError, RecordError, ServiceError, StudyError, UsageError
from ..config import Config
from ..database import open_database
from ..http_carriers import read_token
from ..keys import spool_key
from ..receipt import Receipt
from .bundles import Bundles
from .sessions import Attempts, Sessions, cookie_name

STATUS: dict[type[MmcafError], int] = {StudyError: 422, RecordError: 422, UsageError: 400, ServiceError: 503}
"""Of each class of refusal; 500 for others."""


@dataclass(frozen=True)
class Context:
    """Shared by all requests. token: what a caller must show; None where anyone on this machine may ask."""

    config: Config
    receipt: Receipt
    key: bytes
    token: str | None
    bundles: Bundles
    sessions: Sessions = field(default_factory=Sessions)
    attempts: Attempts = field(default_factory=Attempts)

    @classmethod
    def of(cls, config: Config, receipt: Receipt) -> "Context":
        """Of a running service.

        Raises:
            ServiceError: the token or the spool's key cannot be read.
        """
        http = config.http
        token = None if http is None or http.token_file is None else read_token(http.token_file)
        return cls(config, receipt, spool_key(config.spool), token, Bundles(config))

    @contextmanager
    def memory(self) -> Iterator[sqlite3.Connection]:
        """A connection for one request."""
        with closing(open_database(self.config.spool)) as connection:
            yield connection

    def is_token(self, shown: str) -> bool:
        """Whether it is the token; anything where there is none."""
        return self.token is None or hmac.compare_digest(shown.strip().encode(), self.token.encode())

    def shows_token(self, request: Request) -> bool:
        """Whether a program shows the token."""
        shown = shown_token(request)
        return shown is not None and self.token is not None and self.is_token(shown)

    def keeps_waiting_s(self, request: Request) -> float:
        """How long a caller must wait who shows a token after too many wrong ones; a wrong one is counted."""
        shown = shown_token(request)
        if shown is None or self.token is None:
            return 0.0
        address = address_of(request)
        wait_s = self.attempts.wait_s(address)
        if wait_s <= 0 and not self.is_token(shown):
            self.attempts.note(address, shown)
        return wait_s

    def is_logged_in(self, request: Request) -> bool:
        """Whether a browser has shown it."""
        return self.sessions.holds(request.cookies.get(cookie_name(self.config)))

    def may_ask(self, request: Request) -> bool:
        """Whether its caller has shown the token, in either way, or needs none."""
        return self.token is None or self.shows_token(request) or self.is_logged_in(request)


def shown_token(request: Request) -> str | None:
    """What a program shows as its token; None where it shows none."""
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    return shown if scheme.lower() == "bearer" else None


def address_of(request: Request) -> str:
    """Whose wrong tokens are counted together: an IPv4 address, or the network of an IPv6 one."""
    address = request.client.host if request.client else ""
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


def refusal(failure: MmcafError) -> tuple[int, dict[str, Any]]:
    """Status and body: the problem, its remedies, and the exit code that the command line would end with."""
    status = next((code for kind, code in STATUS.items() if isinstance(failure, kind)), 500)
    remedies = [asdict(one) for one in failure.remedies]
    return status, {"problem": failure.problem, "remedies": remedies, "exit_code": failure.exit_code}


def said(problem: str, exit_code: int = 2) -> dict[str, Any]:
    """The body of a refusal that is no exception."""
    return {"problem": problem, "remedies": [], "exit_code": exit_code}
