"""What the command line names, and which one of it may come from stdin."""

from typing import Any

import pytest

from mmcaf_cli.inputs import Given, given_inputs
from mmcaf_engine.errors import UsageError
from refusals import Fact, refused


@pytest.fixture(autouse=True)
def stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcaf_cli.inputs.read_stdin", lambda max_bytes: b"from stdin")


@pytest.mark.parametrize(
    ("named", "given"),
    [
        (("study", "record.json", "report.txt"), Given("study", "record.json", "report.txt")),
        (("study", None, None), Given("study", None, None)),
        (("study", "-", None), Given("study", b"from stdin", None)),
        (("study", "record.json", "-"), Given("study", "record.json", b"from stdin")),
        (("-", None, None), Given(None, b"from stdin", None)),
        (("-", None, "report.txt"), Given(None, b"from stdin", "report.txt")),
    ],
)
def test_inputs(named: tuple[Any, Any, Any], given: Given) -> None:
    assert given_inputs(*named) == given


@pytest.mark.parametrize(
    ("named", "facts"),
    [
        (("-", "record.json", None), ("study",)),
        (("-", "-", None), ("study",)),
        (("study", "-", "-"), ("RECORD", "--report")),
        (("-", None, "-"), ("RECORD", "--report")),
    ],
)
def test_only_one_of_them_can_be_stdin(named: tuple[Any, Any, Any], facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, "standard input", *facts):
        given_inputs(*named)
