"""What long work has measured: never measured again, neither in the same run nor after one that was killed."""

from pathlib import Path

import pytest

from mmcaf_engine.cache.journal import Journal


@pytest.mark.parametrize("kept", [True, False], ids=["in a file", "nowhere"])
def test_the_same_is_measured_once_in_a_run(kept: bool, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl" if kept else None)
    assert [journal.measured(["error", 1], lambda: {"found": 0.5}) for _ in range(2)] == [{"found": 0.5}] * 2
    assert journal.measured(["error", 1], lambda: pytest.fail("measured again")) == {"found": 0.5}
    assert journal.measured(["error", 2], lambda: 3.0) == 3.0
    assert len(journal) == 2


def test_what_an_earlier_run_measured_is_known(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.jsonl").measured("facts", lambda: [1, "two"])
    again = Journal(tmp_path / "journal.jsonl")
    assert again.measured("facts", lambda: pytest.fail("measured again")) == [1, "two"]
    again.finish()
    assert not (tmp_path / "journal.jsonl").exists()


def test_a_line_that_was_cut_short_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    Journal(file).measured("facts", lambda: "whole")
    with file.open("a") as stream:
        stream.write('["abc", {"found": 0.')
    assert len(Journal(file)) == 1
