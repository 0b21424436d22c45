"""What the command line names, and which one of it may come from stdin."""

from typing import Any

import pytest

from mmcaf_cli.inputs import Given, given_inputs
from mmcaf_engine.errors import UsageError


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
    ("named", "said"),
    [
        (("-", "record.json", None), "a study is not read from standard input"),
        (("-", "-", None), "a study is not read from standard input"),
        (("study", "-", "-"), "RECORD and --report: standard input can be only one"),
        (("-", None, "-"), "RECORD and --report: standard input can be only one"),
    ],
)
def test_only_one_of_them_can_be_stdin(named: tuple[Any, Any, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        given_inputs(*named)
