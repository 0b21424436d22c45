"""What the service's load is measured with: an archive, the service, and studies to send, in a network of their own.

Orthanc listens on every interface as packaged: these scripts run themselves again by `unshare --net`, where there is
none but the loopback.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import usage

from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.demo.phantom import Phantom, make_phantom, record
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.service.database import FILE

sys.path[:0] = [str(usage.ROOT / "tests")]

PORT, HTTP, TITLE = 11112, 8080, "MMCAF"
HEADER = 4096
"""Bytes of a slice's file before its pixels, at least as far as its UIDs."""
DIGITS = 7
"""Of a study's number at the end of its UIDs."""
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def in_its_own_network() -> None:
    """Go on where nobody else can be reached; the first call runs this script again there."""
    from archive import isolated

    if isolated():
        return
    if os.environ.get("MMCAF_LAB"):
        sys.exit("no network of its own can be made here; run it as root")
    os.environ["MMCAF_LAB"] = "1"
    made = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    os.execvp(made[0], [*made, sys.executable, *sys.argv])


def program(name: str) -> str:
    """Where a program of others lies; exits where it is not installed."""
    from counterparts import find

    return find(name) or sys.exit(usage.missing(f"{name} is not installed; tests/counterparts/install brings it"))


@contextmanager
def orthanc(*, tuned: bool = False, kept: Path | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """As packaged, which syncs every file.

    Args:
        tuned: without waiting for acknowledgements of TCP.
        kept: where it stores, so that another one goes on with it.
    """
    from archive import archive

    with archive({"TCP_NODELAY": "1"} if tuned else {}, kept) as running:
        yield running


def store(
    title: str, called: str, port: int, files: list[Path], *, tuned: bool = False, timeout_s: int | None = None
) -> float:
    """Send them by storescu over one association, and the seconds until the last was acknowledged.

    Raises:
        RuntimeError: one was not taken.
    """
    limits = [] if timeout_s is None else [word for name in ("-to", "-ta", "-td", "-ts") for word in (name, timeout_s)]
    words = [program("storescu"), "-aet", title, "-aec", called, *limits, "127.0.0.1", port, *files]
    environment = {**os.environ, **({"TCP_NODELAY": "1"} if tuned else {})}
    started = time.perf_counter()
    sent = subprocess.run([str(word) for word in words], capture_output=True, env=environment, check=False)
    seconds = time.perf_counter() - started
    if sent.returncode != 0:
        raise RuntimeError(f"storescu: {sent.stderr.decode(errors='replace').strip()[-300:]}")
    return seconds


@dataclass(frozen=True)
class Study:
    """Files of a study, and its UID."""

    uid: str
    files: list[Path]


class Slices:
    """The demonstration's slices, repeated 1 mm apart until there are enough: the same voxels in any number of studies.

    patient: of all of them.
    """

    def __init__(self, folder: Path, slices: int, *, size: int = 512) -> None:
        from pydicom import dcmread

        source = make_phantom(0, size=size)
        self.patient = source.patient
        spacing = (1.0, *source.spacing_mm[1:]) if slices > len(source.hu) else source.spacing_mm
        repeated = source.hu[np.arange(slices) % len(source.hu)]
        files = write_series(Phantom(repeated, spacing, source.patient), folder)
        self._headers = []
        self._bodies = []
        for file in files:
            content = file.read_bytes()
            header = dcmread(file, specific_tags=list(UIDS))
            self._headers.append((content[:HEADER], [str(header[name].value).encode() for name in UIDS]))
            self._bodies.append(content[HEADER:])

    def write(self, folder: Path, number: int) -> Study:
        """One study, with UIDs of its own; those of a number are always the same."""
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        uid = b""
        for at, ((header, uids), body) in enumerate(zip(self._headers, self._bodies, strict=True)):
            for old in uids:
                header = header.replace(old, numbered(old, number))
            uid = numbered(uids[0], number)
            files.append(folder / f"{at:05d}.dcm")
            if files[-1].exists():  # Of another number: the pixels are the same, and need not be written again.
                with files[-1].open("r+b") as stream:
                    stream.write(header)
            else:
                files[-1].write_bytes(header + body)
        return Study(uid.decode(), files)


def numbered(uid: bytes, number: int) -> bytes:
    """A UID of the same length that ends with a study's number."""
    return uid[:-DIGITS] + f"{number:0{DIGITS}d}".encode()


class Service:
    """`mmcaf serve` with the demonstration's bundle.

    Args:
        folder: for its spool, configuration and log.
        settings: TOML, besides what is given here.
        archive: the port of the one that results go to, if any.
        timeout_s: of its DICOM node.
    """

    def __init__(self, folder: Path, settings: str, *, archive: int | None = 4242, timeout_s: float = 30) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.spool, self.log, self._config = folder / "spool", folder / "log", folder / "serve.toml"
        self._process: subprocess.Popen[bytes] | None = None
        to = f'name = "pacs"\nkind = "dicom"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {archive}\n'
        self._config.write_text(
            f'spool = "spool"\nhttp = {{port = {HTTP}}}\n'
            f"dicom = {{port = {PORT}, timeout_s = {timeout_s}}}\n{settings}\n"
            f'[[bundle]]\nname = "demo"\npath = {json.dumps(str(demo_bundle()))}\n'
            + (f"[[destination]]\n{to}" if archive is not None else "")
        )

    def __enter__(self) -> "Service":
        code = "import sys; from pathlib import Path; from mmcaf_engine.service.supervisor import supervise; "
        words = [sys.executable, "-c", code + "supervise(Path(sys.argv[1]))", str(self._config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(words, stderr=log)
        wait_until(self.is_ready, 120, "the service is not ready")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def is_ready(self) -> bool:
        """Whether it says so itself."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{HTTP}/health/ready", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def post(self, path: str, content: bytes) -> Any:
        """What it answers to a POST."""
        with urllib.request.urlopen(f"http://127.0.0.1:{HTTP}{path}", content, timeout=60) as answer:
            return json.load(answer)

    def give_record(self, slices: Slices) -> None:
        """The record of the one patient whose studies all are."""
        self.post("/api/v1/records", json.dumps(record(slices.patient)).encode())

    def rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """Of its memory."""
        with closing(sqlite3.connect(self.spool / FILE, timeout=30)) as memory:
            memory.row_factory = sqlite3.Row
            return memory.execute(statement, values).fetchall()

    def count(self, statement: str, *values: object) -> int:
        """The number that a statement asks for."""
        return int(self.rows(statement, *values)[0][0])

    def processes(self) -> dict[str, int]:
        """Role -> process, of all that run; `supervisor` too."""
        found = {str(row["role"]): int(row["pid"]) for row in self.rows("select role, pid from process where ready")}
        return {**found, **({"supervisor": self._process.pid} if self._process is not None else {})}


def wait_until(found: Callable[[], Any], seconds: float, otherwise: str, every: float = 0.1) -> Any:
    """What was waited for.

    Raises:
        RuntimeError: it did not come in time.
    """
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        if result := found():
            return result
        time.sleep(every)
    raise RuntimeError(f"{otherwise} after {seconds:g} s")


def in_archive(path: str, data: bytes | None = None, method: str | None = None) -> Any:
    """JSON of Orthanc's own interface."""
    from archive import fetch

    return json.loads(fetch(path, data, method) or b"null")


def versions() -> Mapping[str, str]:
    """Of the programs of others."""

    def line(*words: str) -> str:
        said = subprocess.run([program(words[0]), *words[1:]], capture_output=True, text=True, check=False)
        return (said.stdout + said.stderr).strip().splitlines()[0]

    return {"orthanc": line("Orthanc", "--version").split()[-1], "dcmtk": line("storescu", "--version").split()[2]}
