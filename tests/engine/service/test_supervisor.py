"""What systemd is told and when, what a reload changes, and that a broken configuration never takes a service down."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from counterparts import need
from mmcaf_engine.errors import ServiceError
from mmcaf_engine.service import notify, supervisor
from mmcaf_engine.service.accepted import keep_accepted, read_accepted
from mmcaf_engine.service.config import read_config
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.restore import STAGED
from mmcaf_engine.service.supervisor import Supervisor

CHILD = """
import json, os, signal, sqlite3, sys, time
*role, file, parent = sys.argv[1:]
config = json.load(open(file))
told = config["spool"] + "/told " + " ".join(role)
with open(told + ".part", "w") as stream:
    stream.write(json.dumps(config))
os.replace(told + ".part", told)
memory = sqlite3.connect(config["spool"] + "/state.db", timeout=30)
now = time.time()
memory.execute("insert or replace into process values(?, ?, ?, 1, ?)", (" ".join(role), os.getpid(), now, now))
memory.commit()
signal.pause()
"""
"""A process that is ready at once, keeps what configuration it got, and ends when it is told to."""

BASE = """
spool = "spool"
dicom = {port = 11999}
http = false
bundle = [{name = "lung", path = "lung.mmcaf"}]
"""
UNIT = Path(__file__).parents[3] / "examples" / "systemd" / "mmcaf.service"


def wait_until(found: Callable[[], Any], seconds: float = 20.0) -> Any:
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        if result := found():
            return result
        time.sleep(0.01)
    raise AssertionError("it did not come in time")


class House:
    """A supervisor in a thread, with processes that do nothing."""

    def __init__(self, folder: Path) -> None:
        self.spool, self.file = folder / "spool", folder / "serve.toml"
        self.write("")
        self.supervisor = Supervisor(self.file, command=(sys.executable, "-S", "-c", CHILD))
        self.thread = threading.Thread(target=self.supervisor.run)

    def write(self, more: str, base: str = BASE) -> None:
        self.file.write_text(base + more)

    def pids(self) -> dict[str, int]:
        """Processes that were ready and live."""
        with closing(open_database(self.spool)) as memory:
            rows = {row["role"]: row["pid"] for row in memory.execute("select role, pid from process").fetchall()}
        found = {}
        for role, pid in rows.items():
            with contextlib.suppress(OSError):
                os.kill(pid, 0)
                found[role] = pid
        return found

    def told(self, role: str) -> dict[str, Any]:
        """The configuration that a process got."""
        found: dict[str, Any] = json.loads((self.spool / f"told {role}").read_text())
        return found

    def reload(self) -> None:
        self.supervisor.reload.set()
        wait_until(lambda: not self.supervisor.reload.is_set())


@contextmanager
def running(folder: Path) -> Iterator[House]:
    house = House(folder)
    house.spool.mkdir(mode=0o700)
    open_database(house.spool).close()
    house.thread.start()
    try:
        wait_until(lambda: set(house.pids()) == {"receiver", "runner lung"})
        yield house
    finally:
        house.supervisor.ended.set()
        house.thread.join(30)
        assert not house.thread.is_alive()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"FIRST_PAUSE_S": 0.05, "LOOK_S": 0.02, "TELL_S": 0.05}.items():
        monkeypatch.setattr(supervisor, name, seconds)
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def house(tmp_path: Path, soon: None) -> Iterator[House]:
    with running(tmp_path) as house:
        yield house


# What systemd is told


class Told:
    """Everything that was sent to a socket, each message with when it came."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self.messages: list[str] = []

    def until(self, fits: Callable[[str], bool]) -> str:
        """Wait for a message; those before it count as heard."""
        for _ in range(100):
            message = self._link.recv(4096).decode()
            self.messages.append(message)
            if fits(message):
                return message
        raise AssertionError(f"it was not among {self.messages}")


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        abstract = request.param == "abstract"
        name = f"mmcaf-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        link.bind("\0" + name if abstract else name)
        link.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        yield Told(link)


def test_systemd_is_told(heard: Told, tmp_path: Path) -> None:
    with running(tmp_path) as house:
        heard.until(lambda message: message == "READY=1")
        assert all(message.startswith(("STATUS=waiting for", "WATCHDOG=1")) for message in heard.messages[:-1])
        heard.until(lambda message: message == "STATUS=all 2 processes run")
        for _ in range(2):
            heard.until(lambda message: message == "WATCHDOG=1")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        house.reload()
        told = heard.until(lambda message: message.startswith("RELOADING=1"))
        [since] = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", told).groups()  # type: ignore[union-attr]
        assert before <= int(since) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        heard.until(lambda message: message == "READY=1")
        house.write("nonsense")
        house.reload()
        heard.until(lambda message: message.startswith("RELOADING=1"))
        kept = heard.until(lambda message: message.startswith("READY=1"))
        assert re.fullmatch(r"READY=1\nSTATUS=the configuration stays as it was: .*no TOML.*", kept)
    heard.until(lambda message: message == "STOPPING=1")


def test_it_is_not_ready_before_images_are_taken(heard: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one whose receiver was ready when the last service died."""
    house = House(tmp_path)
    house.spool.mkdir(mode=0o700)
    with closing(open_database(house.spool)) as memory:
        now = time.time()
        memory.execute("insert into process values('receiver', 1, ?, 1, ?)", (now - 5, now + 60))
    house.supervisor = Supervisor(house.file, command=(sys.executable, "-S", "-c", "import signal; signal.pause()"))
    house.thread = threading.Thread(target=house.supervisor.run)
    house.thread.start()
    try:
        for _ in range(3):
            heard.until(lambda message: message == "STATUS=waiting for receiver, runner lung")
        assert "READY=1" not in heard.messages
    finally:
        house.supervisor.ended.set()
        house.thread.join(30)


def test_nobody_is_told_without_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notify.notify(notify.READY)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "missing"))
    notify.notify(notify.READY)
    assert notify.status("two\nlines") == "STATUS=two lines"


@pytest.mark.parametrize(
    ("asked", "whom", "every"),
    [(None, None, None), ("0", None, None), ("x", None, None), ("90000000", None, 45.0), ("90000000", "1", None)],
)
def test_the_watchdog(
    asked: str | None, whom: str | None, every: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", asked), ("WATCHDOG_PID", whom)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_s() == every


# What a reload changes


def test_a_reload_takes_over_what_changed(house: House) -> None:
    before = house.pids()
    assert house.told("receiver")["completeness"]["quiet_s"] == 10
    house.write(
        """
        completeness = {quiet_s = 3}
        [[destination]]
        name = "pacs"
        kind = "dicom"
        ae_title = "PACS"
        host = "127.0.0.1"
        port = 104
        """,
        BASE.replace("}]", '}, {name = "next", path = "next.mmcaf", shadow_of = "lung"}]'),
    )
    house.reload()
    wait_until(lambda: set(house.pids()) == {"receiver", "runner lung", "runner next", "sender"})
    assert not set(house.pids().values()) & set(before.values())
    for role in house.pids():
        told = house.told(role)
        assert told["completeness"]["quiet_s"] == 3 and [one["name"] for one in told["destination"]] == ["pacs"]
        paths = [str(house.file.parent / f"{name}.mmcaf") for name in ("lung", "next")]
        assert [one["path"] for one in told["bundle"]] == paths
    house.write("")
    house.reload()
    wait_until(lambda: set(house.pids()) == {"receiver", "runner lung"})


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("nonsense", "is no TOML"),
        (BASE.replace("port = 11999", "port = 0"), "dicom.port"),
        (BASE + 'route = [{bundle = "other"}]', "no bundle that answers"),
        (BASE.replace('"spool"', '"elsewhere"'), "needs a restart"),
        (None, "no such file"),
    ],
)
def test_a_broken_configuration_changes_nothing_and_says_why(
    broken: str | None, why: str, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Also of a process that dies while the file is broken: it comes back with what was accepted."""
    before = house.pids()
    if broken is None:
        house.file.unlink()
    else:
        house.write("", broken)
    house.reload()
    wait_until(lambda: "the configuration stays as it was" in caplog.text)
    assert why in caplog.text and house.pids() == before
    with closing(open_database(house.spool)) as memory:
        [said] = wait_until(lambda: memory.execute("select detail from event").fetchall())
    assert said["detail"].startswith("configuration: ") and why in said["detail"]
    os.kill(before["runner lung"], signal.SIGKILL)
    wait_until(lambda: house.pids().get("runner lung", before["runner lung"]) != before["runner lung"])
    assert house.told("runner lung")["spool"] == str(house.spool) and house.pids()["receiver"] == before["receiver"]


def test_what_was_accepted_is_what_processes_get(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "serve.toml").write_text(
        BASE
        + """
        folder = "incoming"
        route = [{bundle = "lung", match = {Modality = "CT"}, options = {gaps = "interpolate"}, record = "optional"}]
        [records]
        folder = "records"
        [[destination]]
        name = "web"
        kind = "dicomweb"
        url = "https://archive/dicom-web"
        token_file = "token"
        trusted = "/etc/ssl/hospital.pem"
        objects = ["sr"]
        """
    )
    config = read_config(tmp_path / "serve.toml")
    file = keep_accepted(config)
    assert read_accepted(file) == config and file.stat().st_mode & 0o777 == 0o600
    assert read_accepted(tmp_path / "serve.toml") == config
    file.write_text("{}")
    with pytest.raises(ServiceError, match="Start the service again"):
        read_accepted(file)


def test_a_full_disk_keeps_no_service_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be what makes room again. Then its processes read what its owner wrote."""

    def full(_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(supervisor, "keep_accepted", full)
    made = []
    monkeypatch.setattr(
        subprocess, "Popen", lambda words, **_: made.append(words) or (_ for _ in ()).throw(KeyboardInterrupt)
    )
    house = House(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        house.supervisor.run()
    assert "No space left" in caplog.text and made[0][-3:-1] == ["receiver", str(house.file)]


def test_a_service_finishes_what_a_restore_left(tmp_path: Path) -> None:
    (tmp_path / "spool" / STAGED).mkdir(parents=True, mode=0o700)
    (tmp_path / "spool").chmod(0o700)
    house = House(tmp_path)
    house.supervisor.ended.set()
    house.supervisor.run()
    assert not (house.spool / STAGED).exists()


# The unit


def test_the_unit_is_one_and_is_hardened(tmp_path: Path) -> None:
    analyze = need("systemd-analyze")
    unit = tmp_path / "mmcaf.service"
    unit.write_text(UNIT.read_text().replace("/opt/mmcaf/bin/mmcaf", sys.executable))
    verified = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    rated = [analyze, "security", "--offline=yes", "--no-pager", "--threshold=15", unit]
    outcome = subprocess.run(rated, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout
    unit.write_text(re.sub("(?m)^(NoNew|Protect|SystemCall).*$", "", unit.read_text()))
    assert subprocess.run(rated, capture_output=True).returncode != 0


def test_a_manager_that_takes_nothing_keeps_the_service_going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel holds a few words for it (net.unix.max_dgram_qlen), and lets whoever says more wait."""
    monkeypatch.setattr(notify, "PATIENCE_S", 0.001)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        told = threading.Thread(target=lambda: [notify.notify(notify.ALIVE) for _ in range(1000)], daemon=True)
        told.start()
        told.join(20)
        assert not told.is_alive()
