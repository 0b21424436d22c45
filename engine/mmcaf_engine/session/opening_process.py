"""What runs in the process that does something with a network first; `first_opening` starts, reads and ends it.

The request comes as one line of JSON on stdin, replies go as lines of JSON to what stdout is at the start.
"""

import json
import os
import signal
import sys
import threading
from importlib import import_module
from typing import Any, TextIO


def main() -> None:
    """Do what the request says. Ends with the process that asked, also where the runtime hangs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Of a terminal, it also goes to the process that asked.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # What a runtime prints is no reply.
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_asker, name="asker", daemon=True).start()
    _Process(replies, request).run()
    os._exit(0)


def _end_with_asker() -> None:
    sys.stdin.read()
    os._exit(1)


class _Process:
    def __init__(self, replies: TextIO, request: dict[str, Any]) -> None:
        self._replies, self._request = replies, request
        self._alarm()

    def run(self) -> None:
        """Reply with what came of it."""
        from ..errors import MmcafError
        from ..machine.memory import lacks_memory, out_of_memory

        try:
            self._reply("passed", self._work())
        except MmcafError as failure:
            self._reply("error", failure.to_dict())
        except Exception as failure:
            if lacks_memory(failure):
                self._reply("error", out_of_memory("the network was first opened", failure).to_dict())
            else:
                self._reply("bug", f"{type(failure).__name__}: {failure}")

    def _work(self) -> Any:
        from ..bundle.bundle import load_same

        path, sha256 = self._request["bundle"]
        module, _, name = self._request["work"].partition(":")
        return getattr(import_module(module), name)(
            load_same(path, sha256), progress=self._progress, **self._request["given"]
        )

    def _progress(self, phase: str, done: int, total: int) -> None:
        self._alarm()
        self._reply("progress", [phase, done, total])

    def _reply(self, kind: str, content: object) -> None:
        self._replies.write(json.dumps({kind: content}) + "\n")
        self._replies.flush()

    def _alarm(self) -> None:
        """Have the system end this process a little after its time, for a runtime that lets no other thread run."""
        if hasattr(signal, "alarm"):
            signal.alarm(int(self._request["seconds"]) + 5)
