"""Who is logged in at the page, who has tried too often, and whether a request comes from a page of ours.

A browser cannot send a token with a link or a form, so that it shows it once and gets a session: a random number in a
cookie, known here by its digest until the person leaves, SESSION_S is over, or this process ends.
"""

import hashlib
import secrets
import time
from collections import deque
from collections.abc import Callable
from threading import Lock
from urllib.parse import urlsplit

from fastapi import Request

from ..config import Config
from ..places import is_loopback

SESSION_S = 12 * 3600.0
"""A shift."""
MOST_SESSIONS = 1000
MOST_TRIES, WITHIN_S = 5, 60.0
"""Wrong tokens that one address may give, and in which time."""
MOST_ADDRESSES = 10_000
SAFE = ("GET", "HEAD", "OPTIONS")


class Sessions:
    """Browsers that showed the token."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[bytes, float] = {}
        self._lock = Lock()

    def open(self) -> str:
        """A new session's number; the oldest one ends where there are too many."""
        number = secrets.token_urlsafe(32)
        with self._lock:
            self._until = {one: until for one, until in self._until.items() if until > self._clock()}
            while len(self._until) >= MOST_SESSIONS:
                self._until.pop(next(iter(self._until)))
            self._until[_digest(number)] = self._clock() + SESSION_S
        return number

    def holds(self, number: str | None) -> bool:
        """Whether it is a session that has not ended."""
        return number is not None and self._until.get(_digest(number), 0.0) > self._clock()

    def close(self, number: str | None) -> None:
        """It ends, whoever knows its number."""
        with self._lock:
            self._until.pop(_digest(number or ""), None)


class Attempts:
    """Wrong tokens of late, by address: after a few different ones, an address waits before it may try again.

    A program that shows the same wrong one over and over guesses nothing, and keeps nobody beside it waiting.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, deque[tuple[float, bytes]]] = {}
        self._lock = Lock()

    def wait_s(self, address: str) -> float:
        """How long it must wait; 0 where it may try."""
        with self._lock:
            failed = self._failed.get(address, deque())
            while failed and failed[0][0] <= self._clock() - WITHIN_S:
                failed.popleft()
            return failed[0][0] + WITHIN_S - self._clock() if len(failed) >= MOST_TRIES else 0.0

    def note(self, address: str, shown: str) -> None:
        """It gave a wrong one."""
        tried = _digest(shown)
        with self._lock:
            while len(self._failed) >= MOST_ADDRESSES and address not in self._failed:
                self._failed.pop(next(iter(self._failed)))
            failed = self._failed.setdefault(address, deque(maxlen=MOST_TRIES))
            if all(tried != one for _, one in failed):
                failed.append((self._clock(), tried))


def cookie_name(config: Config) -> str:
    """RFC 6265bis: a name that begins with __Host- is taken over TLS alone, and from no other host of the domain."""
    return "__Host-mmcaf" if is_secure(config) else "mmcaf"


def is_secure(config: Config) -> bool:
    """Whether the page comes over TLS."""
    return config.http is not None and config.http.tls is not None


def is_foreign(request: Request) -> bool:
    """Whether a browser sent it for a page that is not ours: Fetch Metadata where the browser tells, else Origin."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host', '')}"


def is_from_browser(request: Request) -> bool:
    """Whether it says where it was sent from, as every browser does of what changes something."""
    return "sec-fetch-site" in request.headers or "origin" in request.headers


def is_meant_for_us(request: Request, config: Config) -> bool:
    """Whether it names this machine as its host: a page from elsewhere whose name was made to lead here does not."""
    if config.http is None or not is_loopback(config.http.host):
        return True
    try:
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) or name == config.http.host


def _digest(number: str) -> bytes:
    return hashlib.sha256(number.encode("utf-8", "replace")).digest()
