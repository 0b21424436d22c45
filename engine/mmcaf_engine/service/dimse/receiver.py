"""The C-STORE provider: images over DICOM's network protocol, each on the disk before its sender hears 0x0000."""

import logging
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ...errors import ServiceError, StudyError
from ..config import DicomSettings, Peer
from ..disk import Reserve
from ..extra import serve_package
from ..headers import identify
from ..receipt import Receipt
from ..tls import server_context
from .contexts import support_images
from .encoding import meta_information
from .listener import start_listening

Report = Callable[[str, int, Sequence[str]], bool]
Event = Any
"""pynetdicom's, whose fields depend on what happened."""

log = logging.getLogger(__name__)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
NO_DATA_SET = 0xA900
CANNOT_UNDERSTAND = 0xC000
DUPLICATE = 0x0111
PROCESSING_FAILURE = 0x0110
"""PS3.4 B.2.3 and PS3.7 annex C: the statuses that this provider answers with."""
REJECTED_TRANSIENT, BY_PRESENTATION, CONGESTED = 0x02, 0x03, 0x01
REJECTED_PERMANENT, BY_USER, CALLING_UNKNOWN = 0x01, 0x01, 0x03
"""PS3.8 9.3.4: why an association is not accepted."""


class Receiver:
    """Listens until it is left. busy: studies that associations are sending at this moment.

    Args:
        settings: where it listens, and to whom.
        receipt: what keeps the images.
        key: of the spool.
        archives: AE titles that report on storage commitments, and may send nothing else.
        report: told of each report: its transaction, how many objects are kept, and the UIDs of those that are not;
            False where nobody asked for it.

    Raises:
        ServiceError: it cannot listen there, or a certificate cannot be read.
        BackendError: pynetdicom is not installed.
    """

    def __init__(
        self,
        settings: DicomSettings,
        receipt: Receipt,
        reserve: Reserve,
        key: bytes,
        *,
        archives: Collection[str] = (),
        report: Report = lambda transaction, kept, lost: False,
    ) -> None:
        self._archives = frozenset(title.strip() for title in archives)
        self._report = report
        self._settings = settings
        self._receipt = receipt
        self._reserve = reserve
        self._key = key
        self._lock = threading.Lock()
        self._sending: dict[int, set[str]] = {}
        self.refused: Counter[str] = Counter()
        self._server = self._listen()

    def __enter__(self) -> "Receiver":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.socket.getsockname()[1])

    def busy(self) -> frozenset[str]:
        """StudyInstanceUIDs of what open associations have sent."""
        with self._lock:
            return frozenset(uid for studies in self._sending.values() for uid in studies)

    def _listen(self) -> Any:
        serve_package("pynetdicom")
        from pynetdicom import AE, _config, evt

        _config.UNRESTRICTED_STORAGE_SERVICE = False
        _config.LOG_HANDLER_LEVEL = "none"  # Its log would hold names of patients.
        settings = self._settings
        entity = AE(settings.ae_title)
        support_images(entity)
        entity.maximum_associations = settings.most_associations
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = settings.timeout_s
        entity.require_called_aet = not settings.any_called_title
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_N_EVENT_REPORT, self._on_report),
            (evt.EVT_RELEASED, self._on_end),
            (evt.EVT_ABORTED, self._on_end),
            (evt.EVT_CONN_CLOSE, self._on_end),
        ]
        context = None if settings.tls is None else server_context(settings.tls)
        try:
            return start_listening(entity, (settings.host, settings.port), handlers, context, self._on_no_tls)
        except OSError as failure:
            raise ServiceError(
                f"No DICOM images can be received at {settings.host} port {settings.port}: {failure.strerror}.",
                "Choose another port, or end the program that has it.",
            ) from None

    def _on_no_tls(self) -> None:
        self.refused["no TLS"] += 1

    def _peer(self, event: Event) -> Peer | None:
        """Who asks, if it may send. Without any peers everyone may: then this machine alone is listened to."""
        title = event.assoc.requestor.primitive.calling_ae_title.strip()
        if not self._settings.peers:
            return Peer(ae_title=title)
        for peer in self._settings.peers:
            same_host = peer.host in (None, event.assoc.requestor.address)
            if peer.ae_title.strip() == title and same_host and _is_certified(event, peer):
                return peer
        return None

    def _on_request(self, event: Event) -> None:
        archive = event.assoc.requestor.primitive.calling_ae_title.strip() in self._archives
        if not archive and self._peer(event) is None:
            self.refused["peer not known"] += 1
            log.warning("association of an unknown peer refused")
            event.assoc.acse.send_reject(REJECTED_PERMANENT, BY_USER, CALLING_UNKNOWN)
            event.assoc.kill()
        elif self._reserve.room(self._receipt.spool) == "none":
            self.refused["disk full"] += 1
            log.warning("association refused: the disk is full")
            event.assoc.acse.send_reject(REJECTED_TRANSIENT, BY_PRESENTATION, CONGESTED)
            event.assoc.kill()

    def _on_store(self, event: Event) -> int:
        """The status of one C-STORE."""
        peer = self._peer(event)
        if peer is None:
            return CANNOT_UNDERSTAND
        try:
            content = _file_of(event)
            instance = identify(content, "The image", peer.ae_title.strip(), self._key, peer.priority)
        except StudyError as refusal:
            log.warning("image refused: %s", refusal.discreet)
            return CANNOT_UNDERSTAND
        arrival = instance.arrival
        if (arrival.uid, arrival.sop_class) != (
            str(event.request.AffectedSOPInstanceUID),
            str(event.request.AffectedSOPClassUID),
        ):
            log.warning("image refused: its data set is of another instance than its command")
            return NO_DATA_SET
        with self._lock:
            self._sending.setdefault(id(event.assoc), set()).add(arrival.study)
        try:
            received = self._receipt.receive(instance)
        except Exception:
            log.exception("an image could not be kept")
            return OUT_OF_RESOURCES
        if received.full:
            self.refused["disk full"] += 1
            return OUT_OF_RESOURCES
        if received.kept == "other":
            self.refused["same UID, other content"] += 1
            log.warning("image refused: its UID is that of another one that was received before")
            return DUPLICATE
        return SUCCESS

    def _on_report(self, event: Event) -> tuple[int, None]:
        """An archive's N-EVENT-REPORT on a storage commitment (PS3.4 J.3.3)."""
        said = event.event_information
        kept, lost = list(said.get("ReferencedSOPSequence") or []), list(said.get("FailedSOPSequence") or [])
        try:
            uids = [str(item.ReferencedSOPInstanceUID) for item in lost]
            known = self._report(str(said.TransactionUID), len(kept), uids)
        except Exception:
            log.exception("a report on a storage commitment could not be entered")
            return PROCESSING_FAILURE, None
        if not known:
            log.warning("a report on a storage commitment that nobody asked for")
        return SUCCESS, None

    def _on_end(self, event: Event) -> None:
        with self._lock:
            self._sending.pop(id(event.assoc), None)


def _is_certified(event: Event, peer: Peer) -> bool:
    """Whether it showed the certificate that it must, by its common name."""
    if peer.certificate_name is None:
        return True
    connection = getattr(event.assoc.dul.socket, "socket", None)
    shown: Any = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    names = [value for part in (shown or {}).get("subject", ()) for key, value in part if key == "commonName"]
    return peer.certificate_name in names


def _file_of(event: Event) -> bytes:
    """The data set as it was sent, with meta information of ours before it.

    Raises:
        StudyError: it has none, or its UIDs are no text of DICOM's.
    """
    from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

    request = event.request
    uids = (request.AffectedSOPClassUID, request.AffectedSOPInstanceUID, event.context.transfer_syntax)
    ours = (PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION)
    try:
        meta = meta_information(*map(str, (*uids, *ours)))
    except UnicodeEncodeError:
        raise StudyError("The image's UIDs are no UIDs.", "Send it from a system that writes them.") from None
    return b"".join((meta, request.DataSet.getbuffer()))
