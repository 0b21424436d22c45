"""Folders, ports and addresses of a configuration: what none can be, and what must not be one another."""

import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

_ANY = ("0.0.0.0", "::")  # noqa: S104 - compared, not listened to


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_one_in_another(folders: Mapping[str, Path | None]) -> None:
    """Raises ValueError where one of them is, or lies in, another: what is watched is emptied.

    Args:
        folders: how the configuration calls each -> where it is, if it is there.
    """
    places = {name: folder.resolve() for name, folder in folders.items() if folder is not None}
    for name, place in places.items():
        for other, there in places.items():
            if name != other and place.is_relative_to(there):
                raise ValueError(f"{name} is {other}, or lies in it: each needs a folder of its own")


def refuse_same_port(first: tuple[str, int], second: tuple[str, int]) -> None:
    """Raises ValueError where two programs could not listen at once at host and port."""
    one, other = first[0], second[0]
    if first[1] == second[1] and (one == other or {one, other} & set(_ANY)):
        raise ValueError(f"dicom and http both listen at port {first[1]}")


def refuse_ourselves(name: str, host: str | None, port: int | None, ours: Iterable[tuple[str, int]]) -> None:
    """Raises ValueError where a destination is this service: what it keeps would count as delivered."""
    for own, at in ours:
        here = host is not None and is_loopback(host) and (is_loopback(own) or own in _ANY)
        if port == at and (host == own or here):
            raise ValueError(f"destination {name} is this service itself")


def refuse_address(what: str, url: str, *, with_token: bool) -> None:
    """Raises ValueError where no server can be asked at an address, or a token would be read on its way there."""
    try:
        parts = urlsplit(url)
        host, user, _ = parts.hostname, parts.username, parts.port
    except ValueError:
        host = user = None
    if not host or parts.scheme not in ("https", "http"):
        raise ValueError(f"{what}: {url!r} is no http or https address")
    if user is not None or parts.query or parts.fragment:
        raise ValueError(f"{what}: an address has no password, no ? and no #; a token comes from token_file")
    if with_token and parts.scheme != "https" and not is_loopback(host):
        raise ValueError(f"{what}: a token is sent over https alone")
