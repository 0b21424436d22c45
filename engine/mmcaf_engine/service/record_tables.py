"""A table of records, one in each row: every row becomes a table of its own, with whom or what it is of."""

import csv
import io
from dataclasses import dataclass, field

from ..errors import RecordError
from ..record.csv_rows import Columns, open_table, wrong_length
from ..record.encode import PATIENT_ID_KEY, field_key

MOST_ROWS = 100_000
_ACCESSIONS = frozenset({"accession_number", "accessionnumber", "accession"})
_STUDIES = frozenset({"study_instance_uid", "studyinstanceuid", "study_uid"})
_KNOWN = Columns(texts=_ACCESSIONS | _STUDIES)


@dataclass(frozen=True)
class Row:
    """One record. content: a table with this row alone, without the columns that say which order or study it is of."""

    content: bytes = field(repr=False)
    patient: str = field(repr=False)
    accession: str = field(repr=False)
    study: str = field(repr=False)


def split_table(data: bytes, name: str) -> list[Row]:
    """Every row of a CSV table (RFC 4180): all of them, or none.

    Raises:
        RecordError: it is no table, has no column that says whom its rows are of, or a row that does not say it. No
            message quotes a cell.
    """
    header, rows = open_table(data, name, _KNOWN)
    keys = [field_key(cell) for cell in header]
    for names in (frozenset({PATIENT_ID_KEY}), _ACCESSIONS, _STUDIES):
        if sum(key in names for key in keys) > 1:
            raise RecordError(f"{name}: line 1 names {min(names)} twice.", "Keep one of the columns.")
    kept = [at for at, key in enumerate(keys) if key not in _ACCESSIONS | _STUDIES]
    found = []
    for line, cells in rows:
        if len(cells) != len(header):
            raise wrong_length(name, line, len(cells), len(header))
        said = dict(zip(keys, cells, strict=True))
        row = Row(
            _table([[header[at] for at in kept], [cells[at] for at in kept]]),
            said.get(PATIENT_ID_KEY, ""),
            next((said[key] for key in keys if key in _ACCESSIONS), ""),
            next((said[key] for key in keys if key in _STUDIES), ""),
        )
        if not (row.patient or row.accession or row.study):
            raise RecordError(f"{name}: line {line} does not say whom it is of.", "Fill in its patient_id.")
        found.append(row)
        if len(found) > MOST_ROWS:
            raise RecordError(f"{name}: more than {MOST_ROWS} rows.", "Give the table in parts.")
    if not found:
        raise RecordError(f"{name}: no rows; only the line of the fields came.", "Add one line per patient.")
    return found


def _table(rows: list[list[str]]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()
