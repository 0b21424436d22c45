"""Results to another DICOM node by C-STORE, as they were frozen, and the question whether it keeps them."""

from collections.abc import Sequence
from typing import Any

from ...errors import ServiceError
from ..config import Destination
from ..delivery import DELIVERED, Parcel, Sent
from ..extra import serve_package
from ..tls import client_context, refused_by_tls
from .contexts import COMMITMENT, VERIFICATION

COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known instance of the Storage Commitment Push Model (PS3.4 J)."""
ASK = 1
"""PS3.4 J.3.2: the action type of a request for storage commitment."""
_TAKEN = (0x0000, 0x0001, 0x0107, 0x0111, 0x0116)
"""Success and warnings. 0x0111, a duplicate, is success too: our UIDs are digests of what they name."""
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


class StoreCarrier:
    """Sends to one node.

    Args:
        destination: of the kind dicom.
        ae_title: ours.
        timeout_s: for each step of the protocol.

    Raises:
        ServiceError: a certificate cannot be read. BackendError: pynetdicom is not installed.
    """

    def __init__(self, destination: Destination, ae_title: str, timeout_s: float = 30.0) -> None:
        serve_package("pynetdicom")
        self._to = destination
        self._ae_title = ae_title
        self._timeout_s = timeout_s
        self._context = (
            None
            if destination.tls is None and destination.trusted is None
            else client_context(destination.name, trusted=destination.trusted, tls=destination.tls)
        )

    def send(self, parcels: Sequence[Parcel]) -> Sent:
        """See `Carrier.send`."""
        association = self._associate([one.sop_class for one in parcels])
        if isinstance(association, Sent):
            return association
        try:
            for parcel in parcels:
                sent = self._store(association, parcel)
                if sent is not DELIVERED:
                    return sent
        except Exception as failure:  # pynetdicom raises of many kinds when a peer leaves.
            return Sent("failed", f"the connection ended ({type(failure).__name__})", retry=True)
        finally:
            _leave(association)
        return DELIVERED

    def echo(self) -> str | None:
        """Why it cannot be reached, in words; None where it answers C-ECHO."""
        association = self._associate([VERIFICATION])
        if isinstance(association, Sent):
            return association.reason
        try:
            status = association.send_c_echo()
        finally:
            _leave(association)
        return None if status and status.Status == 0 else "it does not answer C-ECHO"

    def find(self, query: Any, model: str) -> list[Any]:
        """What it answers to a C-FIND.

        Raises:
            ServiceError: it cannot be reached, or refuses.
        """
        association = self._associate([model])
        if isinstance(association, Sent):
            raise ServiceError(f"{self._to.name}: {association.reason}.")
        try:
            answers = list(association.send_c_find(query, model))
        except Exception as failure:
            raise ServiceError(f"{self._to.name}: the connection ended ({type(failure).__name__}).") from None
        finally:
            _leave(association)
        if not answers or not answers[-1][0] or answers[-1][0].Status != 0:
            raise ServiceError(f"{self._to.name} does not answer C-FIND.")
        return [found for _, found in answers if found is not None]

    def ask_commitment(self, parcels: Sequence[Parcel], transaction: str) -> Sent:
        """Ask for a promise to keep objects; the answer comes as an N-EVENT-REPORT of that transaction."""
        from pydicom.dataset import Dataset

        association = self._associate([COMMITMENT])
        if isinstance(association, Sent):
            return association
        request = Dataset()
        request.TransactionUID = transaction
        request.ReferencedSOPSequence = []
        for parcel in parcels:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = parcel.sop_class, parcel.uid
            request.ReferencedSOPSequence.append(item)
        try:
            status, _ = association.send_n_action(request, ASK, COMMITMENT, COMMITMENT_INSTANCE)
        except Exception as failure:
            return Sent("failed", f"the connection ended ({type(failure).__name__})", retry=True)
        finally:
            _leave(association)
        if status and status.Status == 0:
            return DELIVERED
        return Sent("failed", "it takes no request for storage commitment", retry=True)

    def _associate(self, classes: Sequence[str]) -> Any:
        """An association, or why there is none."""
        from pynetdicom import AE, _config, evt

        _config.LOG_HANDLER_LEVEL = "none"
        _config.STORE_SEND_CHUNKED_DATASET = True  # The bytes of the file, not its data set encoded again.
        entity = AE(self._ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self._timeout_s
        entity.connection_timeout = self._timeout_s
        for one in dict.fromkeys(classes):
            entity.add_requested_context(one, EXPLICIT_LITTLE)
        tls = None if self._context is None else (self._context, self._to.host)
        association = entity.associate(
            str(self._to.host),
            int(self._to.port or 0),
            ae_title=str(self._to.ae_title),
            evt_handlers=[(evt.EVT_CONN_OPEN, _remember), (evt.EVT_CONN_CLOSE, _tell_who_waits)],
            tls_args=tls,  # type: ignore[arg-type]
        )
        if association.is_established:
            return association
        _leave(association)
        if association.is_rejected:
            answer: Any = association.acceptor.primitive
            permanent = answer is not None and answer.result == 1
            why = getattr(answer, "reason_str", "") or "no reason given"
            return Sent("failed", f"{self._to.ae_title} rejects the association: {why}", retry=not permanent)
        where = f"{self._to.host} port {self._to.port}"
        why = None
        if self._context is not None:
            why = refused_by_tls(self._context, str(self._to.host), int(self._to.port or 0), self._timeout_s)
        return Sent("failed", f"{where}: {why}" if why else f"{where} does not answer", retry=True)

    def _store(self, association: Any, parcel: Parcel) -> Sent:
        if not any(context.abstract_syntax == parcel.sop_class for context in association.accepted_contexts):
            return Sent("failed", f"{self._to.ae_title} takes no objects of the kind {parcel.kind}")
        status = association.send_c_store(parcel.file)
        code = status.get("Status") if status else None
        if code is None:
            return Sent("failed", "the connection ended before the answer", retry=True)
        return _of_status(int(code), str(self._to.ae_title))


def _remember(event: Any) -> None:
    """The connection, which pynetdicom forgets where it is broken, without closing it."""
    event.assoc.connection = event.assoc.dul.socket.socket


def _leave(association: Any) -> None:
    """End an association, and its connection for good."""
    if association.is_established:
        association.release()
    if (connection := getattr(association, "connection", None)) is not None:
        connection.close()


def _tell_who_waits(event: Any) -> None:
    """The connection is over: pynetdicom would go on waiting for an answer until its time is up."""
    event.assoc.dimse.msg_queue.put((None, None))


def _of_status(code: int, who: str) -> Sent:
    """PS3.4 B.2.3 and PS3.7 annex C: what a status of C-STORE means for who sent."""
    if code in _TAKEN or code >> 8 == 0xB0:
        return DELIVERED
    said = f"{who} answers 0x{code:04X}"
    if code >> 8 == 0xA7 or code in (0x0110, 0x0213):
        return Sent("failed", f"{said}, out of resources or not able for now", retry=True)
    return Sent("failed", f"{said}, which sending again does not change")
