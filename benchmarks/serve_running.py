"""A service under kills: its configuration, its processes, and what its memory says of a study."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from serve_patients import CREATED, RECORD, Study, archive, post, until

SINGLE = ("receiver", "runner", "sender", "web")
HOUSE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import serve_house; serve_house.main()"


CONFIG = """
spool = "spool"
http = {{port = {http}}}
dicom = {{port = {dicom}}}
completeness = {{quiet_s = 0.2, count_from = "counts"}}
disk = {{reserve_mib = 1, hard_mib = 0}}
bundle = [{{name = "tiny", path = "{bundle}", backend = "onnxruntime", threads = 1}}]
route = [{{bundle = "tiny", destinations = ["pacs"]}}]
destination = [
    {{name = "pacs", kind = "dicom", ae_title = "ORTHANC", host = "127.0.0.1", port = {archive.DICOM_PORT}}},
    {{name = "counts", kind = "dicomweb", url = "{archive.ORTHANC}/dicom-web"}},
]
"""


class House:
    """Starts services, one at a time. A context manager.

    Args:
        control: a fault that they have, see `serve_house`.
    """

    def __init__(self, control: str | None = None) -> None:
        words = [sys.executable, "-c", HOUSE, str(os.getpid()), CREATED, *([control] if control else [])]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "House":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def start(self, file: Path, log: Path) -> int:
        """The process id of a supervisor that has just begun; the last one is killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{file}\t{log}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Service:
    """A service with a spool of its own."""

    def __init__(self, house: House, folder: Path, bundle: Path, dicom: int, http: int) -> None:
        self.spool, self.dicom, self.http, self.log = folder / "spool", dicom, http, folder / "log"
        folder.mkdir()
        self._house, self._file = house, folder / "serve.toml"
        self._file.write_text(CONFIG.format(bundle=bundle, dicom=dicom, http=http, archive=archive))
        self.supervisor = 0
        self.start()
        for _ in until():
            if post(f"http://127.0.0.1:{http}/api/v1/records", RECORD, "application/json") == 200:
                break
        self._memory = sqlite3.connect(f"file:{self.spool / 'state.db'}?mode=ro", uri=True, timeout=30)

    def start(self) -> None:
        """Begin a supervisor, whatever became of the last one."""
        self.supervisor = self._house.start(self._file, self.log)

    def stop(self) -> None:
        """End all."""
        self._memory.close()
        os.kill(self.supervisor, signal.SIGTERM)
        for _ in until():
            if not _lives(self.supervisor):
                break

    def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of its memory."""
        return self._memory.execute(statement, values).fetchall()

    def running(self) -> dict[str, int]:
        """Process -> id, of those that are ready and alive."""
        found = self.ask("select role, pid from process where ready = 1")
        return {role.split()[0]: pid for role, pid in found if _lives(pid)}

    def ready(self) -> dict[str, int]:
        """The same, once all of them are."""
        for _ in until():
            if len(found := self.running()) == len(SINGLE):
                return found
        raise AssertionError

    def kill(self, name: str) -> float:
        """When it was."""
        found = self.ready() if name in SINGLE else self.running()
        pids = [found[name]] if name in SINGLE else [self.supervisor, *(found.values() if name == "all" else ())]
        at = time.time()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if name in ("supervisor", "all"):
            self.start()
        return at

    def state(self, study: Study) -> str:
        """Of its answer; empty where there is none."""
        found = self.ask("select state from answer where study = ? order by id desc limit 1", study.uid)
        return str(found[0][0]) if found else ""

    def received(self, study: Study) -> int:
        """How many of its files are there, the last one perhaps in part."""
        try:
            return len(list((self.spool / "images" / study.uid).iterdir()))
        except FileNotFoundError:
            return 0

    def is_sending(self, study: Study) -> bool:
        """Whether a delivery of it is under way."""
        asked = (
            "select 1 from delivery join answer on answer.id = answer where study = ? and delivery.owner is not null"
        )
        return bool(self.ask(asked, study.uid))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
