"""`mmcaf serve`: what `--check` finds in order and what not, and what is refused before anything runs."""

import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from command import Command
from mmcaf_engine.service import probe
from mmcaf_engine.service.alone import only_service
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.keys import spool_key

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


def test_what_is_not_in_order_is_said_and_the_rest_is_looked_at(
    run: Command, config: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pynetdicom")
    monkeypatch.setattr(probe, "ANSWERS_S", 0.3)  # somebody listens there and says nothing
    with socket.socket() as taken, socket.socket() as silent:
        taken.bind(("127.0.0.1", port))
        silent.bind(("127.0.0.1", 0))
        taken.listen()
        silent.listen()
        archive = ARCHIVE.format(port=silent.getsockname()[1])
        config.write_text(config.read_text().replace('path = "', 'path = "/missing') + archive)
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
    run("mmcaf", "serve").refused(2, "--config")


# Which bundle answers


@pytest.fixture
def memory(config: Path) -> Iterator[sqlite3.Connection]:
    """Of a service with two bundles, both of which run, that has answered nothing."""
    shadow = config.read_text().partition("[[bundle]]")[2].replace('"tiny"', '"next"')
    config.write_text(f'{config.read_text()}[[bundle]]{shadow}shadow_of = "tiny"')
    spool = config.parent / "spool"
    spool.mkdir(mode=0o700)
    with closing(open_database(spool)) as memory:
        for name in ("tiny", "next"):
            memory.execute("insert into process values(?, 1, 0, 1, 9e9)", (f"runner {name}",))
        yield memory


def test_a_switch_and_back(run: Command, config: Path, memory: sqlite3.Connection) -> None:
    pytest.importorskip("pynetdicom")
    switched = run("mmcaf", "serve", "switch", "next", "--config", config)
    assert switched.code == 0 and switched.out.startswith("next answers, tiny is its shadow; 0 waiting studies")
    shown = run("mmcaf", "serve", "--config", config, "--check").out
    assert "; answers, since a switch at 20" in shown and "; shadow of next, since a switch at 20" in shown
    run("mmcaf", "serve", "switch", "next", "--config", config).refused(9, "next answers already")
    back = json.loads(run("mmcaf", "serve", "--config", config, "rollback", "--json").out)
    assert (back["bundle"], back["before"], back["queued"]) == ("tiny", "next", 0)
    run("mmcaf", "serve", "rollback", "--config", config).refused(9, "nothing to roll back")


def test_a_comparison(run: Command, config: Path, memory: sqlite3.Connection, tmp_path: Path) -> None:
    assert "nothing to compare" in run("mmcaf", "serve", "compare", "--config", config).out
    for study, agrees in (("1.2", 1), ("1.3", 0)):
        memory.execute("insert into study(uid, first, last) values(?, 0, 0)", (study,))
        for bundle in ("tiny", "next"):
            memory.execute(
                "insert into answer(study, generation, bundle, shadow, state, rank, priority, created, changed, "
                "result_sha256) values(?, 1, ?, ?, 'written', 0, 1, 'c', 0, 'r')",
                (study, bundle, bundle == "next"),
            )
        last = memory.execute("select max(id) from answer").fetchone()[0]
        memory.execute("insert into comparison values(?, ?, ?, 0.25)", (last, last - 1, agrees))
    said = run("mmcaf", "serve", "compare", "--config", config, "-o", tmp_path / "compared.json").out
    assert "1 of 2 studies, 50.0% (95 % interval 9.5% to 90.5%)" in said
    assert "at most 0.2500" in said and "differs by 0.2500: 1.3, answers 3 and 4" in said and "1.2," not in said
    [pair] = json.loads((tmp_path / "compared.json").read_text())
    assert (pair["bundle"], pair["shadow"], pair["compared"], pair["agreeing"]) == ("tiny", "next", 2, 1)


@pytest.mark.parametrize("words", [("--check",), ("--json",), ("-o", "x"), ("--force",)])
def test_what_belongs_behind_a_command(words: tuple[str, ...], run: Command, config: Path) -> None:
    run("mmcaf", "serve", "--config", config, *words, "compare").refused(2, "Before compare")


def test_without_a_service_there_is_nothing_to_switch(run: Command, config: Path) -> None:
    for command in (("switch", "tiny"), ("rollback",), ("compare",), ("purge",), ("backup", "-o", config.parent / "x")):
        run("mmcaf", "serve", *command, "--config", config).refused(9, "no service has run")


# What is kept


def test_a_backup_and_its_restore(run: Command, config: Path, memory: sqlite3.Connection, tmp_path: Path) -> None:
    pytest.importorskip("pynetdicom")
    spool, archive = tmp_path / "spool", tmp_path / "kept.tar"
    spool_key(spool)
    memory.execute("insert into study(uid, state, first, last) values('1.2', 'complete', 0, 0)")
    made = run("mmcaf", "serve", "backup", "--config", config, "-o", archive)
    assert made.code == 0 and "2 files without images" in made.out and archive.stat().st_mode & 0o777 == 0o600
    run("mmcaf", "serve", "backup", "--config", config, "-o", archive).refused(2, "exists already", "--force")
    run("mmcaf", "serve", "backup", "--config", config, "-o", spool / "x.tar").refused(2, "within the input")
    again = run("mmcaf", "serve", "backup", "--config", config, "-o", archive, "--force", "--images", "--json")
    assert json.loads(again.out)["images"] and json.loads(again.out)["missing"] == []
    memory.execute("delete from study")
    memory.close()
    back = run("mmcaf", "serve", "restore", archive, "--config", config)
    assert back.code == 0 and ": 1 studies, 0 answers" in back.out and "its folder before-restore-" in back.out
    with closing(open_database(spool)) as restored:
        assert restored.execute("select uid from study").fetchall()[0]["uid"] == "1.2"
    with only_service(spool):
        run("mmcaf", "serve", "restore", archive, "--config", config).refused(9, "Another service runs")
    run("mmcaf", "serve", "restore", config, "--config", config).refused(9, "no archive")


def test_a_purge(run: Command, config: Path, memory: sqlite3.Connection) -> None:
    memory.execute("insert into study(uid, state, first, last) values('1.2', 'received', 0, 0)")
    purge = ("mmcaf", "serve", "purge", "--config", config)
    assert json.loads(run(*purge, "--json").out) == {"studies": 0, "answers": 0, "orphans": 0}
    assert "the images of 0 studies" in run(*purge).out
    run(*purge, "--force").refused(2, "--study")
    run(*purge, "--study", "1.2").refused(9, "still coming", "--force")
    removed = json.loads(run(*purge, "--study", "1.2", "--force", "--json").out)
    assert removed == {"images": 0, "answers": 0, "results": 0, "records": 0}
    run(*purge, "--study", "1.2").refused(9, "No study")
