"""schemathesis against the service's OpenAPI document: whatever is asked, no answer says that the service is at fault.

    python benchmarks/service_openapi.py --cases 2000 --output benchmarks/results/service_openapi.csv

The web process holds one study of small slices and one record, so that numbers and UIDs of them lead somewhere. What it
answers is counted where it leaves: any status from 500 on is at fault, but for the 503 of `/health/ready`, whose other
processes do not run. The endless stream of events is left out. Not 0 where one was at fault. Needs schemathesis.
"""

import json
import logging
import math
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import usage
from rows import environment, write_rows
from service_lab import Slices, program

from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.demo.phantom import record
from mmcaf_engine.service.config import Config
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.receipt import Receipt
from mmcaf_engine.service.web.app import http_server
from mmcaf_engine.service.web.context import Context

DOCUMENT = "/api/v1/openapi.json"
EVENTS = "/api/v1/events"
METHODS = ("get", "post", "put", "patch", "delete")
Message = MutableMapping[str, Any]


class Counted:
    """An ASGI application that counts its answers. statuses: path and status -> how many."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.statuses: Counter[tuple[str, int]] = Counter()

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        async def passed_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.statuses[scope["path"], message["status"]] += 1
            await send(message)

        await self._application(scope, receive, passed_on)

    def at_fault(self) -> list[tuple[str, int]]:
        """Answers that say that the service is."""
        return sorted({one for one in self.statuses if one[1] >= 500 and one != ("/health/ready", 503)})


def main() -> int:
    """Ask, count, and write a row."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--cases", type=usage.count, default=2000)
    asked.add_argument("--seed", type=int, default=1)
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="openapi-") as name:
        counted, operations, version = tried(Path(name), arguments.cases, arguments.seed)
    by_hundred: Counter[int] = Counter()
    for (_, status), number in counted.statuses.items():
        by_hundred[status // 100] += number
    facts = environment(["fastapi", "uvicorn"])
    facts["versions"] += f" schemathesis={version}"
    row = {
        "operations": str(operations),
        "cases": str(sum(counted.statuses.values())),
        "seed": str(arguments.seed),
        **{f"answers_{hundred}xx": str(by_hundred[hundred]) for hundred in (2, 3, 4, 5)},
        "at_fault": " ".join(f"{path}:{status}" for path, status in counted.at_fault()) or "0",
        "seconds": f"{time.monotonic() - began:.0f}",
        **facts,
    }
    print(row)
    write_rows(arguments.output, [row])
    if sum(counted.statuses.values()) < arguments.cases:
        print(f"fewer than {arguments.cases} cases were tried", file=sys.stderr)
        return 1
    return 1 if counted.at_fault() else 0


def tried(spool: Path, cases: int, seed: int) -> tuple[Counted, int, str]:
    """What was answered, how many operations there are, and schemathesis' version."""
    tool = program("schemathesis")
    port = free_port()
    fields = {"spool": spool, "bundle": [{"name": "demo", "path": demo_bundle()}], "http": {"port": port}}
    config = Config.model_validate(fields)
    with Receipt(spool, Reserve(0, 0), "web") as receipt:
        server = http_server(Context.of(config, receipt))
        counted = Counted(server.config.loaded_app)
        server.config.loaded_app = counted
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            url = f"http://127.0.0.1:{port}"
            document = json.loads(fetched(url + DOCUMENT))
            fill(url, spool)
            operations = sum(method in METHODS for path in document["paths"].values() for method in path)
            counted.statuses.clear()
            each = str(math.ceil(cases / operations))
            while sum(counted.statuses.values()) < cases:
                before = sum(counted.statuses.values())
                words = [tool, "run", url + DOCUMENT, "--max-examples", each, "--seed", str(seed)]
                words += ["--phases", "coverage,fuzzing", "--checks", "not_a_server_error", "--no-shrink"]
                words += ["--exclude-path", EVENTS, "--generation-database", "none", "--request-timeout", "20"]
                subprocess.run(words, cwd=spool, stdout=subprocess.DEVNULL, check=False)
                seed += 1
                if sum(counted.statuses.values()) == before:
                    raise SystemExit("schemathesis asks nothing")
        finally:
            server.should_exit = server.force_exit = True
            thread.join()
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout
    return counted, operations, said.split()[-1]


def fill(url: str, spool: Path) -> None:
    """One study and its patient's record."""
    slices = Slices(spool / "slices", 26, size=64)
    for file in slices.write(spool / "study", 1).files[:3]:
        fetched(f"{url}/api/v1/studies", file.read_bytes())
    fetched(f"{url}/api/v1/records", json.dumps(record(slices.patient)).encode())


def fetched(url: str, content: bytes | None = None) -> bytes:
    """What it answers, once it listens."""
    ended = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, content, timeout=30) as answer:
                found: bytes = answer.read()
                return found
        except OSError:
            if time.monotonic() >= ended:
                raise
            time.sleep(0.05)


def free_port() -> int:
    """Of the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    usage.run(main)
