"""How commands end, with which exit code, and what they say meanwhile: progress, --quiet and --verbose."""

import errno
import io
import json
from pathlib import Path
from typing import Any

import pytest

from command import Command
from mmcaf_cli.console import Loudness, set_loudness
from mmcaf_cli.progress import ProgressBar
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.demo.phantom import make_phantom
from mmcaf_engine.errors import CancelledError, DeadlineError, StudyError

# Exit codes


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


# On the way


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
