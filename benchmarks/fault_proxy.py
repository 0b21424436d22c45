"""A TCP proxy that breaks some of its connections: cuts them, stalls them, leaves them half open, makes them slow."""

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

Fault = Literal["none", "cut", "stall", "half-open", "slow"]
"""cut: both ends are closed after some bytes. stall: nothing passes any more, and both ends stay open for `patience_s`.
half-open: one end is closed, the other hears nothing of it for `patience_s`. slow: some kB a second.
"""
FAULTS: tuple[Fault, ...] = get_args(Fault)
PIECE = 16 * 1024
SLOW_S = 0.02
"""Before each piece of a slow connection, of 2 KiB."""


class FaultProxy:
    """Listens at one port of the loopback and passes on to another, in a thread of its own; a context manager.

    Args:
        sound: the part of the connections that have no fault.
        most_bytes: a fault begins after fewer.
        patience_s: how long stalled and half-open connections stay.

    happened: how many connections had each fault.
    """

    def __init__(
        self, port: int, to: int, seed: int, *, sound: float = 0.7, most_bytes: int = 200_000, patience_s: float = 8.0
    ) -> None:
        self.happened: Counter[Fault] = Counter()
        self._port, self._to = port, to
        self._draw = random.Random(seed)
        self._sound, self._most_bytes, self._patience_s = sound, most_bytes, patience_s
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError(f"nothing can listen at port {self._port}")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", self._port)
        self._ready.set()
        await self._ended.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _drawn(self) -> tuple[Fault, int]:
        fault = "none" if self._draw.random() < self._sound else self._draw.choice(FAULTS[1:])
        return fault, self._draw.randrange(self._most_bytes)

    async def _connection(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        fault, after = self._drawn()
        self.happened[fault] += 1
        writers: list[asyncio.StreamWriter] = [back]
        try:
            far, to = await asyncio.open_connection("127.0.0.1", self._to)
            writers.append(to)
            broken = asyncio.Event()
            passing = [
                asyncio.create_task(self._pass(near, to, fault, after, broken)),
                asyncio.create_task(self._pass(far, back, fault, after, broken)),
            ]
            waiting = asyncio.create_task(broken.wait())
            done, _ = await asyncio.wait([*passing, waiting], return_when=asyncio.FIRST_COMPLETED)
            if waiting in done and fault in ("stall", "half-open"):
                for task in passing:
                    task.cancel()
                if fault == "half-open":
                    end(self._draw.choice(writers))
                await asyncio.sleep(self._patience_s)
            elif waiting not in done:
                await asyncio.wait(passing, timeout=1)
            for task in (*passing, waiting):
                task.cancel()
        except OSError:
            pass  # Nobody is there, or somebody left.
        finally:
            for writer in writers:
                end(writer)

    async def _pass(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, fault: Fault, after: int, broken: asyncio.Event
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := await source.read(PIECE if fault != "slow" else 2048):
                if fault == "slow":
                    await asyncio.sleep(SLOW_S)
                passed += len(piece)
                if fault in ("cut", "stall", "half-open") and passed > after:
                    broken.set()
                    await asyncio.sleep(self._patience_s)
                    return
                to.write(piece)
                await to.drain()


def end(writer: asyncio.StreamWriter) -> None:
    """Close it at once."""
    with contextlib.suppress(OSError, RuntimeError):
        writer.transport.abort()


def kinds(proxies: Sequence[FaultProxy]) -> str:
    """What happened, for a row."""
    counts = sum((proxy.happened for proxy in proxies), Counter())
    return " ".join(f"{fault}={counts[fault]}" for fault in FAULTS)
