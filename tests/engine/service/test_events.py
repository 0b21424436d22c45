"""Events over a real connection: in their order, each once, from where a reader was, and none held for slow readers."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.service.test_receiver import PLENTY
from engine.service.test_service import free_port, wait_until
from mmcaf_engine.service import views
from mmcaf_engine.service.answers import note
from mmcaf_engine.service.config import Config
from mmcaf_engine.service.database import open_database, transaction
from mmcaf_engine.service.receipt import Receipt

pytest.importorskip("uvicorn")
from mmcaf_engine.service.web import events
from mmcaf_engine.service.web.app import http_server
from mmcaf_engine.service.web.context import Context

END = b"}\n"
"""Of an event."""


class Reader:
    """One connection that reads events, or leaves them where they are."""

    def __init__(self, port: int, last: object = None, *, buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        named = "" if last is None else f"Last-Event-ID: {last}\r\n"
        self.socket.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{named}\r\n".encode())
        self.got = b""

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def status(self) -> int:
        while b"\r\n\r\n" not in self.got:
            self.got += self.socket.recv(65536)
        return int(self.got.split()[1])

    def read(self, number: int) -> list[int]:
        """The numbers of so many events."""
        pieces, count = [self.got], self.got.count(END)
        while count < number:
            pieces.append(self.socket.recv(2**20))
            assert pieces[-1], "the service ended it"
            count += (pieces[-2][-1:] + pieces[-1]).count(END)
        self.got = b"".join(pieces)
        lines = self.got.split(b"\n")
        return [json.loads(line[5:])["id"] for line in lines if line.startswith(b"data:")][:number]


class Stream:
    """A service's HTTP, and a memory in which things happen."""

    def __init__(self, port: int, memory: Any) -> None:
        self.port, self.memory = port, memory

    def happen(self, number: int) -> None:
        with transaction(self.memory):
            for _ in range(number):
                note(self.memory, "1.2.3", None, "received", 5.0, "x" * 500)


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    monkeypatch.setattr(events, "LOOK_S", 0.02)
    fields = {"spool": tmp_path, "bundle": [{"name": "lung", "path": "x"}], "http": {"port": free_port()}}
    config = Config.model_validate(fields)
    assert config.http is not None
    with Receipt(tmp_path, PLENTY) as taking, closing(open_database(tmp_path)) as memory:
        server = http_server(Context.of(config, taking))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield Stream(config.http.port, memory)
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


def test_a_reader_goes_on_where_it_was(stream: Stream) -> None:
    stream.happen(3)
    with Reader(stream.port) as new, Reader(stream.port, 1) as again, Reader(stream.port, 0) as first:
        assert first.read(3) == [1, 2, 3] and again.read(2) == [2, 3] and new.status() == 200
        time.sleep(0.2)
        stream.happen(2)
        assert new.read(2) == [4, 5] and first.read(5) == [1, 2, 3, 4, 5]
    with Reader(stream.port, 4) as back:
        assert back.read(1) == [5]
        assert b"text/event-stream" in back.got and b"event: received\n" in back.got


@pytest.mark.parametrize("last", [999, "-1", "x", "1e3", "9" * 30, "\xb2"])
def test_a_number_that_no_event_has_begins_with_the_next(last: object, stream: Stream) -> None:
    """Such as of before a memory was restored: else its reader would wait for ever."""
    stream.happen(2)
    with Reader(stream.port, last) as reader:
        assert reader.status() == 200
        time.sleep(0.2)
        stream.happen(1)
        assert reader.read(1) == [3]


@pytest.mark.full
def test_who_does_not_read_is_not_read_for_and_keeps_nobody_waiting(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    was, looked = views.events_after, []

    def after(memory: Any, last: int, **how: Any) -> Any:
        looked.append(last)
        return was(memory, last, **how)

    monkeypatch.setattr(views, "events_after", after)
    stream.happen(20_000)
    with Reader(stream.port, 0, buffer=65536) as slow:
        assert slow.status() == 200
        wait_until(lambda: len(looked) > 1)

        def rests() -> bool:
            before = len(looked)
            time.sleep(0.4)
            return len(looked) == before

        wait_until(rests)
        assert len(looked) * events.AT_ONCE < 15_000, "what the system's buffers take, and no more"
        with Reader(stream.port, 19_990) as quick:
            assert quick.read(10) == list(range(19_991, 20_001))
        assert slow.read(9_000) == list(range(1, 9_001)), "and once it reads, nothing is missing"


@pytest.mark.full
def test_many_read_and_more_than_can_be_are_told(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_READERS", 20)
    stream.happen(1)
    readers = [Reader(stream.port, 0) for _ in range(20)]
    try:
        assert all(one.read(1) == [1] for one in readers)
        with Reader(stream.port, 0) as late:
            assert late.status() == 503
        stream.happen(1)
        assert all(one.read(2) == [1, 2] for one in readers)
    finally:
        for one in readers:
            one.socket.close()

    def free() -> bool:
        with Reader(stream.port, 0) as reader:
            return reader.status() == 200

    wait_until(free)
