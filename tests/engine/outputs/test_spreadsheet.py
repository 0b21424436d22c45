"""Tables that a spreadsheet may open."""

import csv

import pytest

from mmcaf_engine.outputs.spreadsheet import csv_table, harmless


@pytest.mark.parametrize("cell", ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", "-", "+-1"])
def test_what_would_be_run_is_text(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a=b", "-1.5", "+2", "-1e-3", "1-2", "it's"])
def test_what_would_not_stays(cell: str) -> None:
    assert harmless(cell) == cell


def test_a_table_is_read_back() -> None:
    rows = [["a,b", 'say "so"'], ["two\nlines", ""]]
    found = csv_table(["one", "=two"], rows)
    assert found.endswith("\r\n") and list(csv.reader(found.splitlines(keepends=True))) == [["one", "'=two"], *rows]
