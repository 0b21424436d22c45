"""One look at one thing that the service needs, and what came of it; and whether a destination answers."""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import MmcafError, Remedy, ServiceError
from .config import Config, Destination
from .dimse.carrier import StoreCarrier
from .http_carriers import Caller

ANSWERS_S = 10.0
"""A DICOM node that takes longer for one step counts as silent."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. detail: what was found, or what is wrong."""

    what: str
    ok: bool
    detail: str
    remedies: tuple[Remedy, ...] = ()


def check_destination(config: Config, destination: Destination) -> Finding:
    """Whether a destination answers; it is sent nothing."""
    return found(f"destination {destination.name}", lambda: _destination(config, destination))


def found(what: str, look: Callable[[], str]) -> Finding:
    """What a look gives, or what it refuses."""
    try:
        return Finding(what, True, look())
    except MmcafError as refusal:
        return Finding(what, False, refusal.problem, refusal.remedies)


def _destination(config: Config, destination: Destination) -> str:
    if destination.kind == "dicom":
        title = "MMCAF" if config.dicom is None else config.dicom.ae_title
        why = StoreCarrier(destination, title, timeout_s=ANSWERS_S).echo()
        if why is not None:
            raise ServiceError(
                f"{destination.name}: {why}.",
                f"Check its address, and that it knows the AE title {title}.",
            )
        return f"{destination.ae_title} at {destination.host} port {destination.port} answers C-ECHO"
    path = "studies?limit=1" if destination.kind == "dicomweb" else "metadata"
    status, answer = Caller(destination).get(path)
    if status is None or status >= 400:
        why = answer if status is None else f"it answers {status}"
        raise ServiceError(f"{destination.name}: {why}.", "Check its address and its token.")
    return f"{destination.url} answers"
