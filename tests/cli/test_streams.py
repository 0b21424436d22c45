"""stdin, stdout and stderr of the commands, and how one ends whose stdout has gone, is full or closed."""

import errno
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from command import Command, Outcome
from mmcaf_cli import main
from mmcaf_cli.console import Loudness, set_loudness
from mmcaf_cli.progress import ProgressBar
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.demo.phantom import Phantom, make_phantom
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.errors import CancelledError, DeadlineError, StudyError
from mmcaf_engine.record.document import MAX_RECORD_BYTES
from refusals import Fact, check_facts
from tiny_report import make_tiny_report

FULL = Path("/dev/full")
PRINTING = {
    "version": ["mmcaf", "version"],
    "help": ["mmcaf", "--help"],
    "long": ["mmcaf", "inspect", str(demo_bundle())],
    "json": ["mmcaf", "cache", "list", "--json"],
    "answering-help": ["mmcaf-infer", "-h"],
}


def process(arguments: list[str], **options: Any) -> "subprocess.Popen[str]":
    """A command in a process of its own, which hears Ctrl-C, as one that a shell starts in the background does not."""
    module = {"mmcaf": "main", "mmcaf-infer": "infer"}[arguments[0]]
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{hear}; import sys; sys.argv = {arguments!r}; from mmcaf_cli.{module} import main; main()"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, **options)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(3, size=64)


@pytest.fixture(scope="module")
def series(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of single-frame CT files; read it, do not change it."""
    folder = tmp_path_factory.mktemp("study") / "series"
    write_series(phantom, folder)
    return folder


@pytest.fixture
def record(phantom: Phantom) -> dict[str, Any]:
    return {"sex": phantom.patient.sex, "age": phantom.patient.age}


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Gives a command these bytes on stdin."""

    def give(content: bytes) -> None:
        file = tempfile.TemporaryFile()  # noqa: SIM115
        file.write(content)
        file.seek(0)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))

    return give


@pytest.mark.parametrize("arguments", PRINTING.values(), ids=PRINTING)
def test_a_reader_that_has_gone_ends_it_as_it_ends_other_tools(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with process(arguments, stdout=writer) as started:
        os.close(writer)
        _, said = started.communicate()
    assert (started.returncode, said) == (128 + 13, "")


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", PRINTING.values(), ids=PRINTING)
def test_a_full_disk_is_no_bug(arguments: list[str]) -> None:
    with FULL.open("w") as full, process(arguments, stdout=full) as started:
        _, said = started.communicate()
    assert started.returncode == 2 and said.count("\n") == 1
    assert said.startswith("error: ")
    check_facts(said, "standard output", "No space left on device")


@pytest.mark.skipif(os.name != "posix", reason="closes a descriptor as a shell does")
def test_a_closed_stdout_is_an_error() -> None:
    with process(["mmcaf", "version"], preexec_fn=lambda: os.close(1)) as started:
        _, said = started.communicate()
    assert started.returncode == 2 and said.startswith("error: standard output: closed")


@pytest.mark.skipif(os.name != "posix", reason="closes a descriptor as a shell does")
def test_without_stderr_the_exit_code_is_all_there_is(tmp_path: Path) -> None:
    arguments = ["mmcaf", "inspect", str(tmp_path / "nowhere.mmcaf")]
    with process(arguments, stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2)) as started:
        printed, _ = started.communicate()
    assert (started.returncode, printed) == (5, "")


def test_a_file_that_cannot_grow_is_no_bug_and_the_answer_is_printed(tmp_path: Path) -> None:
    """As on a full disk: the process may write no more than 1000 bytes to a file."""
    file = tmp_path / "manifest.json"
    arguments = ["mmcaf", "inspect", str(demo_bundle()), "-o", str(file)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    with process(arguments, stdout=subprocess.PIPE, preexec_fn=limit) as started:
        printed, said = started.communicate()
    assert started.returncode == 2 and said.count("\n") == 1
    assert said.startswith("error: ")
    check_facts(said, str(file), "File too large")
    assert "intended use" in printed and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            2,
            "error: a file or standard output: cannot be written: No",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 2, "error: /x/y: cannot be written: No space"),
        (OSError(errno.EIO, "Input/output error"), 1, "internal error: OSError"),
        (DeadlineError("No answer within 3 s."), 124, "error: No answer within 3 s."),
        (CancelledError("Cancelled."), 130, "error: Cancelled."),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=["full", "full-with-a-name", "other", "deadline", "cancelled", "interrupted"],
)
def test_exit_codes(run: Command, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, said: str) -> None:
    def work(path: Path) -> None:
        raise raised

    monkeypatch.setattr("mmcaf_cli.inspect.load_bundle", work)
    outcome = run("mmcaf", "inspect", "x")
    assert outcome.code == code and outcome.out == "" and outcome.err.startswith(said), outcome.err
    assert ("This is a bug" in outcome.err) == (code == 1)


def test_deadline(run: Command, series: Path, tiny_bundle: Path, tmp_path: Path, record: dict[str, Any]) -> None:
    (tmp_path / "record.json").write_text(json.dumps(record))
    arguments = ("mmcaf-infer", series, tmp_path / "record.json", "--bundle", tiny_bundle)
    outcome = run(*arguments, "--deadline", "0.001")
    outcome.refused(124, "0.001 s")
    assert run(*arguments, "--deadline", "60").code == 0


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


def test_output_dash_is_stdout(run: Command, tiny_bundle: Path) -> None:
    printed = run("mmcaf", "inspect", tiny_bundle, "--json").out
    assert json.loads(printed)["manifest"]["name"] == "tiny"
    assert run("mmcaf", "inspect", tiny_bundle, "-o", "-").out == printed
    assert run("mmcaf", "inspect", tiny_bundle, "--json", "-o", "-").out == printed
    template = json.loads(run("mmcaf", "record-template", "--bundle", tiny_bundle, "-o", "-").out)
    assert template == {"patient_id": None, "sex": None, "age": None}


@pytest.mark.parametrize("command", [["export", "x.pth"], ["quantize", "BUNDLE"], ["build", "BUNDLE"], ["demo"]])
def test_what_cannot_be_printed(run: Command, tiny_bundle: Path, command: list[str]) -> None:
    outcome = run("mmcaf", *[tiny_bundle if one == "BUNDLE" else one for one in command], "-o", "-")
    outcome.refused(2, "--output -", "printed")


@pytest.mark.parametrize(
    ("loudness", "terminal", "shown"),
    [
        (Loudness.NORMAL, True, True),
        (Loudness.NORMAL, False, False),
        (Loudness.QUIET, True, False),
        (Loudness.VERBOSE, True, True),
    ],
    ids=["terminal", "file", "quiet", "verbose"],
)
def test_progress(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, loudness: Loudness, terminal: bool, shown: bool
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setattr("mmcaf_cli.progress.QUIET_SECONDS", -1.0)
    request.addfinalizer(lambda: set_loudness(Loudness.NORMAL))
    set_loudness(loudness)
    with ProgressBar() as progress:
        for done in range(4):
            progress("decode", done, 3)
            assert progress._bar is None or (progress._bar.pos, progress._bar.length) == (done, 3)
    assert ("decoding" in stderr.getvalue()) == shown


@pytest.mark.parametrize("before", [[], ["mmcaf"]], ids=["after-the-command", "before-it"])
def test_quiet_leaves_errors(run: Command, tmp_path: Path, before: list[str]) -> None:
    quiet = ["mmcaf", "-q", "inspect"] if before else ["mmcaf", "inspect", "-q"]
    outcome = run(*quiet, tmp_path / "nowhere.mmcaf")
    outcome.refused(5, "nowhere.mmcaf", "no such")


def test_quiet_leaves_warnings_out(run: Command, series: Path, record: dict[str, Any], tmp_path: Path) -> None:
    from mmcaf_engine.demo.phantom import record as clinical_record

    file = tmp_path / "record.json"
    file.write_text(json.dumps(clinical_record(make_phantom(3, size=64).patient)))
    loud = run("mmcaf-infer", series, file, "--json")
    assert loud.code == 0 and "warning: no bundle was named" in loud.err
    quiet = run("mmcaf-infer", series, file, "--json", "-q")
    assert (quiet.code, quiet.err) == (0, "")
    assert json.loads(quiet.out)["warnings"] == json.loads(loud.out)["warnings"]


def test_verbose_shows_the_log_and_the_details(
    run: Command, series: Path, tiny_bundle: Path, record: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "record.json").write_text(json.dumps(record))
    arguments = ("mmcaf-infer", series, tmp_path / "record.json", "--bundle", tiny_bundle, "--backend", "onnxruntime")
    outcome = run(*arguments, "-v")
    opened, timed = outcome.err.splitlines()
    assert opened.startswith("info: tiny: onnxruntime fp32 on CPU, ") and "self-test: within" in opened
    assert {"read", "infer", "total"} <= set(json.loads(timed.removeprefix("timing_ms: ")))
    assert run(*arguments).err == "", "and a command after it is not verbose"


def test_verbose_shows_an_error_in_detail(run: Command, tmp_path: Path) -> None:
    outcome = run("mmcaf-infer", tmp_path / "nowhere.dcm", "-v", "--bundle", demo_bundle(), "/dev/null")
    paragraph, detail = outcome.err.splitlines()
    assert paragraph.startswith("error: ") and outcome.code == 3
    told = json.loads(detail.removeprefix("error: "))
    assert (told["error"], told["exit_code"]) == (StudyError.__name__, 3) and "nowhere.dcm" in told["problem"]


def _commands() -> list[list[str]]:
    """Every command, by its words."""
    found = [["mmcaf"], ["mmcaf-infer"], ["mmcaf", "cache"]]
    found += [["mmcaf", str(one.name or one.callback.__name__)] for one in main.app.registered_commands if one.callback]
    return found + [["mmcaf", "cache", str(one.name)] for one in main.cache.registered_commands]


ANSWERING = {
    "version": ["mmcaf", "version"],
    "option": ["mmcaf", "inspect", "--version"],
    "inspect": ["mmcaf", "inspect", "BUNDLE"],
    "verify": ["mmcaf", "verify", "BUNDLE", "--backend", "onnxruntime"],
    "cache-list": ["mmcaf", "cache", "list"],
    "cache-clear": ["mmcaf", "cache", "clear", "--kind", "tuning"],
    "studies": ["mmcaf", "studies", "SERIES"],
    "record-template": ["mmcaf", "record-template", "-o", "-", "--bundle", "BUNDLE"],
    "infer": ["mmcaf-infer", "SERIES", "RECORD", "--bundle", "BUNDLE", "--backend", "onnxruntime"],
}


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ("closed", "standard output: closed"),
        pytest.param(
            "full",
            "standard output: cannot be written: No space",
            marks=pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here"),
        ),
    ],
)
class TestEveryCommand:
    """One sentence and exit code 2, whatever is asked for."""

    @pytest.fixture
    def run(self, run: Command, stream: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
        def without_stdout(*arguments: object) -> Outcome:
            with (
                monkeypatch.context() as patch,
                suppress(OSError),
                nullcontext() if stream == "closed" else FULL.open("w") as full,
            ):
                patch.setattr("sys.stdout", full)
                outcome = run(*arguments)
            return outcome

        return without_stdout

    @pytest.mark.parametrize("words", _commands(), ids=" ".join)
    def test_its_help(self, run: Callable[..., Outcome], said: str, words: list[str]) -> None:
        self._refused(run(*words, "--help"), said)

    @pytest.mark.parametrize("name", ANSWERING)
    @pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
    def test_its_answer(
        self,
        run: Callable[..., Outcome],
        said: str,
        name: str,
        form: list[str],
        tiny_bundle: Path,
        series: Path,
        record: dict[str, Any],
        tmp_path: Path,
    ) -> None:
        (tmp_path / "record.json").write_text(json.dumps(record))
        paths = {"BUNDLE": tiny_bundle, "SERIES": series, "RECORD": tmp_path / "record.json"}
        self._refused(run(*[paths.get(one, one) for one in ANSWERING[name]], *form), said)

    def _refused(self, outcome: Outcome, said: str) -> None:
        assert outcome.code == 2 and outcome.err.count("error: ") == 1, outcome.err
        assert f"error: {said}" in outcome.err and "bug" not in outcome.err and "Traceback" not in outcome.err


@pytest.mark.skipif(os.name != "posix", reason="closes a descriptor as a shell does")
def test_a_closed_stdout_lends_its_number_to_no_file(tmp_path: Path) -> None:
    """What a library prints there must not reach a file that was opened later."""
    file = tmp_path / "manifest.json"
    arguments = ["mmcaf", "inspect", str(demo_bundle()), "-o", str(file)]
    noisy = (
        "import os, mmcaf_cli.report as report; write = report.write_all; "
        "report.write_all = lambda *given, **named: (os.write(1, b'noise'), write(*given, **named))"
    )
    code = f"{noisy}; import sys; sys.argv = {arguments!r}; from mmcaf_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False, preexec_fn=lambda: os.close(1)
    )
    assert done.returncode == 2 and "standard output: closed" in done.stderr, done.stderr
    assert "manifest" in json.loads(file.read_text())
