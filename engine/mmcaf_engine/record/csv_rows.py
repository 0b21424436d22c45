"""A record as one row of a CSV table (RFC 4180), chosen by the study's patient or by its number."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import MmcafError, RecordError, Remedy
from .encode import PATIENT_ID_KEY, field_key, fold

_SEPARATORS = (",", ";", "\t", "|")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_HEADER_BYTES = 65536
"""The first line of a table is looked for within these."""
_HINT = re.compile(r"sep=[,;\t|](?=[\r\n])", re.IGNORECASE)
_EXAMPLE = "The first line names the fields, such as patient_id,sex,age."


@dataclass(frozen=True)
class Columns:
    """What a table may hold, by folded name: numbers, texts, and fields that are not looked at."""

    numbers: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()

    def known(self, header: list[str]) -> int:
        """How many of these cells name one."""
        return sum(field_key(cell) in self.numbers | self.texts | {PATIENT_ID_KEY} for cell in header)


@dataclass(frozen=True)
class Choice:
    """Which row of a table. row: its number from 1, the header not counted. patient_id: of the study."""

    row: int | None = None
    patient_id: str | None = field(default=None, repr=False)


def is_table(data: bytes, columns: Columns) -> bool:
    """Whether the first line names a column that a record may have."""
    try:
        line = data[:_HEADER_BYTES].decode("utf-8-sig", errors="strict" if len(data) <= _HEADER_BYTES else "ignore")
    except UnicodeDecodeError:
        return False
    first = _first(_without_hint(line))
    return any(columns.known(_cells(first, separator)) for separator in _SEPARATORS)


def read_row(data: bytes, name: str, columns: Columns, choice: Choice) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The chosen row as a flat record, and a remark that says which it is.

    An empty cell is missing. A table of one row needs no choice.

    Raises:
        RecordError: no table, no known column, rows of other lengths, or no row, or several, for this choice. No
            message quotes a cell.
    """
    header, rows = open_table(data, name, columns)
    keys = [field_key(cell) for cell in header]
    identified = keys.index(PATIENT_ID_KEY) if PATIENT_ID_KEY in keys else None
    matching: list[tuple[int, list[str]]] = []
    only: list[str] = []
    count = 0
    for line, cells in rows:
        count += 1
        if len(cells) != len(header):
            raise wrong_length(name, line, len(cells), len(header))
        if _fits(count, cells, identified, choice):
            matching.append((count, cells))
            del matching[2:]  # Two are enough to know that there are several.
        only = only or cells
    if count == 1 and choice.row is None:
        matching = [(1, only)]
    if len(matching) != 1:
        raise _not_one(name, count, len(matching), identified is not None, choice)
    number, cells = matching[0]
    remarks = (f"row {number} of {count} of the record's table was read.",) if count > 1 else ()
    return _record(header, cells, columns, name), remarks


def open_table(data: bytes, name: str, columns: Columns) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The cells of a table's first line, and (number of its first line, cells) of each row.

    Raises:
        RecordError: it is no table, or has no known column; while rows are taken: it is no CSV. No message quotes a
            cell.
    """
    try:
        text = _without_hint(data.decode("utf-8-sig"))
    except UnicodeDecodeError as failure:
        raise RecordError(
            f"{name}: not UTF-8 text (byte 0x{data[failure.start]:02x} at offset {failure.start}).",
            "Save the table as CSV in UTF-8.",
        ) from None
    separator = max(_SEPARATORS, key=lambda one: columns.known(_cells(_first(text), one)))
    rows = _rows(text, separator, name)
    _, header = next(rows, (0, []))
    if not columns.known(header):
        raise RecordError(f"{name}: line 1 names no field of this record; a table was expected.", _EXAMPLE)
    return header, rows


def wrong_length(name: str, line: int, cells: int, expected: int) -> RecordError:
    """Why a row cannot be read that has not as many cells as line 1."""
    return RecordError(
        f"{name}: line {line}: {cells} cells; {expected} were expected, as in line 1.",
        "Correct the table; its cells are separated as those of line 1.",
    )


def _fits(number: int, cells: list[str], identified: int | None, choice: Choice) -> bool:
    if choice.row is not None:
        return number == choice.row
    return identified is not None and choice.patient_id is not None and cells[identified] == choice.patient_id.strip()


def _not_one(name: str, count: int, matching: int, identified: bool, choice: Choice) -> RecordError:
    remedy = Remedy("Choose a row", option="row", value="N")
    if not count:
        return RecordError(f"{name}: no rows; only the line of the fields came.", "Add one line per patient.")
    if choice.row is not None:
        return RecordError(f"{name}: row {choice.row} was asked for; there are {count}.", remedy)
    if not identified:
        return RecordError(f"{name}: {count} rows, and no column patient_id to choose one by.", remedy)
    if choice.patient_id is None:
        return RecordError(f"{name}: {count} rows; the study has no PatientID (0010,0020) to choose one by.", remedy)
    found = "more than one is" if matching else "none is"
    return RecordError(f"{name}: {count} rows; {found} of the study's PatientID (0010,0020).", remedy)


def _record(header: list[str], cells: list[str], columns: Columns, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, cell in zip(header, cells, strict=True):
        if key in found:
            raise RecordError(
                f"{name}: line 1 names the field {key[:40]!r} twice.",
                "Keep one of the columns.",
                discreet=f"{name}: line 1 names a field twice.",
            )
        found[key] = _value(key, cell, columns, name)
    return found


def _value(key: str, cell: str, columns: Columns, name: str) -> Any:
    if not cell:
        return None
    if fold(key) not in columns.numbers:
        return cell
    if _NUMBER.fullmatch(cell):
        return float(cell) if any(one in cell for one in ".eE") or len(cell) > 20 else int(cell)
    if _DECIMAL_COMMA.fullmatch(cell):
        raise RecordError(f"{name}: {fold(key)} has a decimal comma; a decimal point was expected.", "Write 70.5.")
    return cell


def _first(text: str) -> str:
    return re.split(r"[\r\n]", text.lstrip("\ufeff\r\n "), maxsplit=1)[0]


def _without_hint(text: str) -> str:
    """A table without the line sep=; before it, by which Excel knows the separator."""
    begin = text.lstrip("\ufeff\r\n ")
    return begin[5:] if _HINT.match(begin) else text


def _cells(line: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]
    except csv.Error:
        return []


def _rows(text: str, separator: str, name: str) -> Iterator[tuple[int, list[str]]]:
    return numbered_rows(
        text, separator, lambda line, _: RecordError(f"{name}: line {line}: not CSV (RFC 4180).", _EXAMPLE)
    )


def numbered_rows(
    text: str, separator: str, refusal: Callable[[int, csv.Error], MmcafError]
) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, cells) of every row of a CSV table (RFC 4180) that is not blank.

    Args:
        refusal: what to raise where the table is none, from the line and what is wrong there.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    begun = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield begun, stripped
            begun = reader.line_num + 1
    except csv.Error as failure:
        raise refusal(begun, failure) from None
