"""Records and reports that commands read from stdin, and what cannot come from there."""

import io
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command import Command, process
from mmcaf_engine.demo.phantom import make_phantom
from mmcaf_engine.record.document import MAX_RECORD_BYTES
from refusals import Fact
from tiny_report import make_tiny_report


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Gives a command these bytes on stdin."""

    def give(content: bytes) -> None:
        file = tempfile.TemporaryFile()  # noqa: SIM115
        file.write(content)
        file.seek(0)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))

    return give


def test_record_from_stdin(
    run: Command,
    series: Path,
    tiny_bundle: Path,
    record: dict[str, Any],
    stdin: Callable[[bytes], None],
    tmp_path: Path,
) -> None:
    (tmp_path / "record.json").write_text(json.dumps(record))
    named = json.loads(run("mmcaf-infer", series, tmp_path / "record.json", "--bundle", tiny_bundle, "--json").out)
    stdin(json.dumps(record).encode())
    outcome = run("mmcaf-infer", series, "-", "--bundle", tiny_bundle, "--json", "--deidentify")
    piped = json.loads(outcome.out)
    assert outcome.code == 0 and piped["windows"] == named["windows"] and piped["probability"] == named["probability"]


def test_a_row_of_a_table_from_a_file_and_from_stdin(
    run: Command,
    series: Path,
    tiny_bundle: Path,
    record: dict[str, Any],
    stdin: Callable[[bytes], None],
    tmp_path: Path,
) -> None:
    (tmp_path / "record.json").write_text(json.dumps(record))
    own = make_phantom(3, size=64).patient.patient_id
    cells = ",".join(str(value) for key, value in record.items() if key != "patient_id")
    fields = ",".join(key for key in record if key != "patient_id")
    table = f"patient_id,{fields}\nOTHER,{cells}\n{own},{cells}\n"
    (tmp_path / "records.csv").write_text(table)
    ending = ("--bundle", tiny_bundle, "--json")
    named = json.loads(run("mmcaf-infer", series, tmp_path / "record.json", *ending).out)
    chosen = json.loads(run("mmcaf-infer", series, tmp_path / "records.csv", *ending).out)
    assert chosen["record"]["features"] == named["record"]["features"] and chosen["windows"] == named["windows"]
    assert chosen["record"]["identity"] == "matched" and "row 2 of 2" in chosen["remarks"][0]
    stdin(table.encode())
    piped = json.loads(run("mmcaf-infer", series, "-", *ending, "--row", "2").out)
    assert piped["remarks"] == chosen["remarks"]
    run("mmcaf-infer", series, tmp_path / "records.csv", *ending, "--row", "1").refused(4, "patient_id", "PatientID")
    run("mmcaf-infer", series, tmp_path / "records.csv", *ending, "--row", "3").refused(4, "row 3", 2)
    run("mmcaf-infer", series, tmp_path / "record.json", *ending, "--row", "1").refused(2, "row", "table")


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"", ("record", "JSON", "line 1")),
        (b"sex: M", ("record", "JSON", "line 1")),
        (b"[1]", ("record", "list", "JSON")),
        (b'{"sex": "M"}', ("age", "missing")),
        (b'{"sex": "M", "age": NaN}', ("NaN", "JSON")),
        (b"\xff\xfe{", ("record", "UTF-8", "0xff")),
        (b" " * (MAX_RECORD_BYTES + 1), ("record", MAX_RECORD_BYTES)),
    ],
    ids=["empty", "words", "list", "lacks-a-field", "nan", "utf-16", "huge"],
)
def test_wrong_record_on_stdin(
    run: Command,
    series: Path,
    tiny_bundle: Path,
    stdin: Callable[[bytes], None],
    content: bytes,
    facts: tuple[Fact, ...],
) -> None:
    stdin(content)
    outcome = run("mmcaf-infer", series, "-", "--bundle", tiny_bundle)
    outcome.refused(4, *facts)


def test_report_from_stdin(
    run: Command, series: Path, record: dict[str, Any], stdin: Callable[[bytes], None], tmp_path: Path
) -> None:
    bundle, file = make_tiny_report(tmp_path / "tiny.mmcaf"), tmp_path / "report.txt"
    (tmp_path / "record.json").write_text(json.dumps(record))
    file.write_text("no effusion in the left lung.")
    arguments = ("mmcaf-infer", series, tmp_path / "record.json", "--bundle", bundle, "--json")
    named = json.loads(run(*arguments, "--report", file).out)
    stdin(file.read_bytes())
    piped = json.loads(run(*arguments, "--report", "-").out)
    assert piped["findings"] == named["findings"] and piped["record"] == named["record"]
    stdin(b"%PDF-1.7")
    outcome = run(*arguments, "--report", "-")
    outcome.refused(4, "report", "PDF")


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["-", "RECORD"], ("study", "standard input")),
        (["-", "-"], ("study", "standard input")),
        (["SERIES", "-", "--report", "-"], ("RECORD", "--report", "standard input")),
        (["-", "--report", "-"], ("RECORD", "--report", "standard input")),
        (["-"], ("tiny", "study")),
    ],
    ids=["study", "study-and-record", "record-and-report", "alone-and-report", "alone"],
)
def test_what_stdin_cannot_be(
    run: Command,
    series: Path,
    tiny_bundle: Path,
    stdin: Callable[[bytes], None],
    arguments: list[str],
    facts: tuple[Fact, ...],
) -> None:
    stdin(b"{}")
    paths = {"SERIES": series, "RECORD": "record.json"}
    outcome = run("mmcaf-infer", *[paths.get(one, one) for one in arguments], "--bundle", tiny_bundle)
    outcome.refused(2, *facts)


@pytest.mark.parametrize("where", ["fifo", "stdin"])
@pytest.mark.parametrize("ending", ["Ctrl-C", "deadline"])
def test_a_record_that_does_not_come(where: str, ending: str, series: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """Nobody writes to what it is read from; the command still ends."""
    os.mkfifo(tmp_path / "fifo")
    arguments = ["mmcaf-infer", str(series), "-" if where == "stdin" else str(tmp_path / "fifo")]
    arguments += ["--bundle", str(tiny_bundle), *(["--deadline", "1"] if ending == "deadline" else ["-v"])]
    source, target = os.pipe()
    with process(arguments, stdin=source, stdout=subprocess.PIPE) as answering:
        try:
            if ending == "Ctrl-C":
                _wait_until_it_polls(answering.pid)
                answering.send_signal(signal.SIGINT)
            _, err = answering.communicate(timeout=60)
        finally:
            answering.kill()
            os.close(source)
            os.close(target)
    expected = {"Ctrl-C": (130, ""), "deadline": (124, "within the deadline of 1 s")}[ending]
    assert (answering.returncode, expected[1] in err) == (expected[0], True), err


def _wait_until_it_polls(process_id: int) -> None:
    """Until a process has done no work for a while, as one does that waits for its input."""
    ends, quiet, before = time.monotonic() + 60, 0, -1.0
    while quiet < 10 and time.monotonic() < ends:
        time.sleep(0.1)
        used = sum(map(int, Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[11:13]))
        quiet = quiet + 1 if used <= before + 1 and used > 10 else 0
        before = float(used)
    assert quiet


def test_closed_stdin(run: Command, series: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    outcome = run("mmcaf-infer", series, "-", "--bundle", tiny_bundle)
    outcome.refused(2, "standard input", "closed")
