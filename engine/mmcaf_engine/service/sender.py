"""Takes frozen results where they belong: each until it has arrived, is refused for good, or its time is over."""

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .config import Config, Destination
from .delivery import Carrier, Due, Parcel, Sent, ask, claim_due, enter, takes
from .dimse.carrier import StoreCarrier
from .http_carriers import FhirCarrier, StowCarrier

log = logging.getLogger(__name__)


class Sender:
    """Sends to every destination of the configuration, or to one of them.

    Args:
        owner: of leases, the same whenever this process is started again.
        to: a destination's name.
        carriers: by destination, instead of those of its kind.

    Raises:
        ServiceError: a certificate or token cannot be read.
    """

    def __init__(
        self,
        config: Config,
        owner: str,
        *,
        to: str | None = None,
        carriers: Mapping[str, Carrier] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._owner = owner
        self._clock = clock
        self._to = {one.name: one for one in config.destination if to in (None, one.name)}
        self._carriers = dict(carriers or {name: carrier_for(config, one) for name, one in self._to.items()})

    def step(self, connection: sqlite3.Connection) -> bool:
        """One delivery that is due; False where none is."""
        if not self._to:
            return False
        due = claim_due(connection, self._config.spool, list(self._to), self._owner, self._clock())
        if due is None:
            return False
        destination = self._to[due.destination]
        sent = self._send(connection, due, destination)
        enter(connection, due, self._owner, sent, self._clock(), committing=destination.commitment)
        if sent.state == "failed":
            log.warning("answer %d to %s: %s", due.answer, due.destination, sent.reason)
        else:
            log.info("answer %d delivered to %s", due.answer, due.destination)
        return True

    def _send(self, connection: sqlite3.Connection, due: Due, destination: Destination) -> Sent:
        parcels = _meant_for(destination, due.parcels)
        if not parcels:
            return Sent("failed", f"the answer has none of the objects that {destination.name} is sent")
        if changed := [one.kind for one in parcels if not _is_unchanged(one.file, one.sha256)]:
            return Sent("failed", f"{', '.join(changed)} is gone or has changed since it was frozen")
        carrier = self._carriers[destination.name]
        if not due.stored:
            sent = carrier.send(parcels)
            if sent.state == "failed":
                return sent
        if not destination.commitment or not isinstance(carrier, StoreCarrier):
            return Sent("delivered")
        from pydicom.uid import generate_uid

        commitment = str(generate_uid(prefix=None))
        ask(connection, due, self._owner, commitment)
        return carrier.ask_commitment(parcels, commitment)


def carrier_for(config: Config, destination: Destination) -> Carrier:
    """What takes parcels to a destination of this kind."""
    if destination.kind == "dicom":
        title = "MMCAF" if config.dicom is None else config.dicom.ae_title
        return StoreCarrier(destination, title)
    return StowCarrier(destination) if destination.kind == "dicomweb" else FhirCarrier(destination)


def _meant_for(destination: Destination, parcels: Sequence[Parcel]) -> list[Parcel]:
    return [one for one in parcels if takes(destination, one.kind)]


def _is_unchanged(file: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == sha256
    except OSError:
        return False
