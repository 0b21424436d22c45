"""stdout and stderr of the commands, and how one ends whose stdout has gone, is full or closed."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from command import Command, Outcome, process
from mmcaf_cli import main
from mmcaf_engine.bundle.default import demo_bundle
from refusals import check_facts

FULL = Path("/dev/full")


PRINTING = {
    "version": ["mmcaf", "version"],
    "help": ["mmcaf", "--help"],
    "long": ["mmcaf", "inspect", str(demo_bundle())],
    "json": ["mmcaf", "cache", "list", "--json"],
    "answering-help": ["mmcaf-infer", "-h"],
}


# stdout


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


# Every command


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
