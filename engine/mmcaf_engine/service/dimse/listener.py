"""pynetdicom's server, in which a TLS handshake keeps nobody else waiting."""

import logging
import ssl
import threading
from collections.abc import Callable
from typing import Any

from ..extra import serve_package
from ..tls import why_no_tls

log = logging.getLogger(__name__)

HANDSHAKE_S = 10.0
POLL_S = 0.1
"""Between two looks whether it is to end."""


def start_listening(
    entity: Any,
    address: tuple[str, int],
    handlers: list[Any],
    context: ssl.SSLContext | None,
    on_refused: Callable[[], None],
) -> Any:
    """A server that runs in a thread until its `shutdown`.

    pynetdicom shakes hands while it accepts, so that one caller who stays silent would keep all others out.

    Args:
        entity: pynetdicom's AE.
        on_refused: told of each connection without the TLS that is asked for.

    Raises:
        OSError: it cannot listen there.
    """
    serve_package("pynetdicom")
    from pynetdicom.transport import ThreadedAssociationServer

    from .prompt import MOST_PDU_BYTES, PromptHandler

    class Server(ThreadedAssociationServer):
        """Accepts at once, and shakes hands in the thread of each connection."""

        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            listening: Any = self.socket
            connection, caller = listening.accept()
            return connection, caller

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            if context is not None:
                try:
                    request.settimeout(HANDSHAKE_S)
                    request = context.wrap_socket(request, server_side=True)
                    request.settimeout(None)
                except OSError as failure:
                    log.warning("a connection was refused: %s", why_no_tls(failure))
                    on_refused()
                    request.close()
                    return
            super().process_request_thread(request, client_address)

    entity.maximum_pdu_size = MOST_PDU_BYTES
    server = entity.make_server(address, evt_handlers=handlers, server_class=Server, request_handler=PromptHandler)
    entity._servers.append(server)  # As its start_server does: shutdown takes it from there.
    threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True, name="listener").start()
    return server
