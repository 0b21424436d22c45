"""Associations that wait for what comes: pynetdicom's own look for it every millisecond, and read in pieces of 4 KiB.

Of its parts the socket, the queues between its threads and the answer to C-STORE are replaced; the protocol stays its
own.
"""

import queue
import select
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket, RequestHandler

from .encoding import store_answer

if TYPE_CHECKING:
    from pynetdicom.association import Association

TICK_S = 0.02
"""How long a thread waits before it looks whether something else than what it waits for has happened."""
PAUSE_S = 0.001
MOST_PDU_BYTES = 1024 * 1024
"""What a sender may give at once, in a PDU; dcmtk gives 128 KiB at most."""
LEAST_PDU_BYTES = 1024
"""Whoever takes less at once is answered in pieces, by pynetdicom."""
LONGEST_PDU = MOST_PDU_BYTES + 64 * 1024
"""A PDU of any kind that claims to be longer ends its association, before anything is held for it."""


class _Messages(queue.Queue[Any]):
    """Requests on their way to the thread that serves them. Taking one waits, also where it is asked not to."""

    def __init__(self) -> None:
        super().__init__()
        self.served = threading.Event()
        self.served.set()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """See `queue.Queue.put`. Until it is answered, its sender is listened to only now and then."""
        self.served.clear()
        super().put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """See `queue.Queue.get`."""
        return super().get(True, timeout if block else TICK_S)


class _Answers(queue.Queue[Any]):
    """What is on its way to the thread that sends it."""

    def __init__(self, messages: _Messages) -> None:
        super().__init__()
        self._messages = messages

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """See `queue.Queue.put`."""
        super().put(item, block, timeout)
        self._messages.served.set()


class PromptSocket(AssociationSocket):
    """Waits in `ready` until there is something to read, or an answer to send."""

    def __init__(self, association: "Association", connection: socket.socket, messages: _Messages) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(association.network_timeout)  # Else who leaves within a PDU is waited for for ever.
        super().__init__(association, client_socket=connection)
        self._messages = messages

    @property
    def ready(self) -> bool:
        """Whether there is something to read; False after a tick, and once there is something else to do."""
        connection = self.socket
        if connection is None or not self._is_connected:
            threading.Event().wait(PAUSE_S)
            return False
        wait_s = TICK_S
        if not self.event_queue.empty() or not self.provider_queue.empty():
            wait_s = 0.0
        elif not self._messages.served.is_set():
            self._messages.served.wait(TICK_S)
            wait_s = 0.0
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        try:
            return bool(select.select([connection], [], [], wait_s)[0])
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes, or fewer where the connection ends before.

        Raises:
            OSError: it is broken, nothing came for too long, or more is announced than is taken.
        """
        if nr_bytes > LONGEST_PDU:
            raise OSError("a PDU is too long")
        connection = cast("socket.socket", self.socket)
        content = bytearray(nr_bytes)
        there = 0
        with memoryview(content) as view:
            while there < nr_bytes:
                came = connection.recv_into(view[there:])
                if not came:
                    break
                there += came
        return content if there == nr_bytes else content[:there]

    def _shutdown_socket(self) -> None:
        """Close it also where the other side has left before: pynetdicom's own leaves that to Python."""
        if (connection := self.socket) is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


class PromptHandler(RequestHandler):
    """Makes an association of a connection."""

    def _create_association(self) -> "Association":
        association = super()._create_association()
        provider, messages = association.dul, _Messages()
        association.dimse.msg_queue = messages
        provider.to_provider_queue = _Answers(messages)
        provider.event_queue.get_nowait()  # That a connection came: the socket below says so again.
        provider.socket = PromptSocket(association, cast("socket.socket", self.request), messages)
        provider._run_loop_delay = 0
        _answer_promptly(association)
        return association


def _answer_promptly(association: "Association") -> None:
    """Answers to C-STORE are put together here, all others by pynetdicom."""
    dimse = association.dimse
    usual = dimse.send_msg

    def send(primitive: Any, context_id: int) -> None:
        plain = (
            isinstance(primitive, C_STORE)
            and primitive.MessageIDBeingRespondedTo is not None
            and (primitive.ErrorComment, primitive.OffendingElement) == (None, None)
            and dimse.maximum_pdu_size not in range(1, LEAST_PDU_BYTES)
        )
        if not plain:
            usual(primitive, context_id)
            return
        answer = store_answer(
            str(primitive.AffectedSOPClassUID or ""),
            str(primitive.AffectedSOPInstanceUID or ""),
            int(primitive.MessageIDBeingRespondedTo),
            int(primitive.Status),
        )
        data = P_DATA()
        data.presentation_data_value_list.append((context_id, answer))
        association.dul.send_pdu(data)

    dimse.send_msg = send  # type: ignore[method-assign]
