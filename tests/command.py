"""Runs a command in this process, as its entry point would."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from mmcaf_cli import infer, main
from refusals import Fact, check_facts


@dataclass(frozen=True)
class Outcome:
    """Exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """The one paragraph that a refused user reads, last on stderr; fails if it is not one."""
        assert self.out == "" and self.err.count("error: ") == 1
        progress, _, message = self.err.partition("error: ")
        assert "\n\n" not in message and "Traceback" not in self.err and "rror" not in progress
        return message.strip()

    def refused(self, code: int, *facts: Fact) -> None:
        """Fails, with what was printed, where it ended otherwise or its paragraph lacks a fact."""
        assert self.code == code, self.err
        check_facts(self.error(), *facts)


class Command:
    """Calls `mmcaf-infer` or `mmcaf` with arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, name: object, *arguments: object) -> Outcome:
        self._monkeypatch.setattr("sys.argv", [str(name), *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            {"mmcaf-infer": infer, "mmcaf": main}[str(name)].main()
            raise SystemExit(0)
        captured = self._capsys.readouterr()
        return Outcome(stopped.value.code or 0, captured.out, captured.err)


def process(arguments: list[str], **options: Any) -> "subprocess.Popen[str]":
    """A command in a process of its own, which hears Ctrl-C, as one that a shell starts in the background does not."""
    module = {"mmcaf": "main", "mmcaf-infer": "infer"}[arguments[0]]
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{hear}; import sys; sys.argv = {arguments!r}; from mmcaf_cli.{module} import main; main()"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, **options)
