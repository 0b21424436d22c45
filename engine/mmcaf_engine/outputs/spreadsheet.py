"""Tables that a spreadsheet may open without running what their cells say."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

_RUN = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a cell for a formula."""


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A CSV table (RFC 4180) whose first line names the columns."""
    written = StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow([harmless(name) for name in columns])
    writer.writerows([harmless(cell) for cell in row] for row in rows)
    return written.getvalue()


def harmless(cell: str) -> str:
    """The cell, with an apostrophe before what a spreadsheet would run; numbers stay what they are."""
    if not cell.startswith(_RUN):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
