"""`mmcaf serve`: what `--check` finds in order and what not, and what is refused before anything runs."""

import json
import socket
from pathlib import Path

import pytest

from command import Command

CONFIG = """
spool = "spool"
http = {{port = {http}}}
dicom = {{port = {port}}}
disk = {{reserve_mib = 1, hard_mib = 0}}
[[bundle]]
name = "tiny"
path = "{bundle}"
backend = "onnxruntime"
"""
ARCHIVE = """
[[destination]]
name = "pacs"
kind = "dicom"
ae_title = "PACS"
host = "127.0.0.1"
port = {port}
"""


def free_port() -> int:
    """One at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def config(port: int, tiny_bundle: Path, tmp_path: Path) -> Path:
    file = tmp_path / "serve.toml"
    file.write_text(CONFIG.format(port=port, http=free_port(), bundle=tiny_bundle))
    return file


def test_a_service_that_could_run(run: Command, config: Path, port: int) -> None:
    pytest.importorskip("pynetdicom")
    outcome = run("mmcaf", "serve", "--config", config, "--check")
    assert outcome.code == 0 and "NOT OK" not in outcome.out
    assert [line.split()[1] for line in outcome.out.splitlines()] == ["spool", "dicom", "http", "bundle"]
    assert str(port) in outcome.out and "self-test" in outcome.out
    assert (config.parent / "spool").stat().st_mode & 0o777 == 0o700


def test_what_is_not_in_order_is_said_and_the_rest_is_looked_at(run: Command, config: Path, port: int) -> None:
    pytest.importorskip("pynetdicom")
    config.write_text(config.read_text().replace('path = "', 'path = "/missing') + ARCHIVE.format(port=port))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        outcome = run("mmcaf", "serve", "--config", config, "--check", "--json")
    assert outcome.code == 9 and "dicom, bundle tiny, destination pacs" in outcome.err
    found = {one["what"]: one for one in json.loads(outcome.out)}
    assert [what for what, one in found.items() if one["ok"]] == ["spool", "http"]
    assert str(port) in found["dicom"]["detail"] and all(one["remedies"] for one in found.values() if not one["ok"])


def test_a_spool_that_others_may_read_is_refused(run: Command, config: Path) -> None:
    pytest.importorskip("pynetdicom")
    spool = config.parent / "spool"
    spool.mkdir(mode=0o755)
    (spool / "study").touch()
    spool.chmod(0o755)
    outcome = run("mmcaf", "serve", "--config", config, "--check")
    assert outcome.code == 9 and "NOT OK  spool" in outcome.out and "chmod 700" in outcome.out


def test_what_cannot_be_is_refused_before_anything_runs(run: Command, config: Path, tmp_path: Path) -> None:
    run("mmcaf", "serve", "--config", tmp_path / "missing.toml").refused(9, "missing.toml")
    run("mmcaf", "serve", "--config", config, "--json").refused(2, "--json", "--check")
    config.write_text("spool = 1")
    run("mmcaf", "serve", "--config", config).refused(9, "serve.toml", "spool", "--check")
    assert run("mmcaf", "serve").code == 2
