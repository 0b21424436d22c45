"""A cohort as a table: CSV (RFC 4180) with the columns study, record, report and, if wanted, label and id.

Of the first three those that the network reads.
"""

import stat
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path

from ..errors import UsageError, printable
from ..files import in_words, look_at, read_bounded, reason
from ..machine.plugins import said
from ..manifest import Manifest
from ..record.csv_rows import numbered_rows
from ..record.encode import UnusableValueError
from ..record.slices import NamedSlices, read_named
from ..result.decisions import Decision, decision_for
from .cases import Cohort, FileCase

COLUMNS = ("study", "record", "report", "label", "id")
MAX_TABLE_BYTES = 64 * 1024 * 1024
MAX_SHOWN_PROBLEMS = 5


def columns_of(manifest: Manifest) -> str:
    """The columns that a network's studies are named in, as a table's first line has them."""
    text = manifest.text
    read = {
        "study": bool(manifest.modalities),
        "record": manifest.table is not None,
        "report": text is not None,
    }
    return ",".join(name for name, wanted in read.items() if wanted)


def _example(manifest: Manifest) -> str:
    return f"The first line names the columns: {columns_of(manifest)},label,id (label and id may be left out)."


class _UnusableRowError(Exception):
    """One line cannot be used; the text is the reason."""


def read_cohort(path: Path, manifest: Manifest, further: Collection[str] = (), *, others: bool = False) -> Cohort:
    """Read a table of studies; its paths are relative to its own folder.

    A label is one of the manifest's names or its number; an empty one is unknown. Where any number of labels may hold,
    those that are present are separated by ";", an empty cell means none, and "?" unknown. Blank lines, and blanks
    around a cell, mean nothing. Without an id, the path of the study is it, or of what comes next in
    its place. A column of the name of the manifest's
    `lesion_field` names the slices of the lesion, in the record's place.

    Args:
        further: columns that the table must have besides, whose cells the cases keep.
        others: pass over columns that are not read, as is done where there are `further` ones; but for one whose name
            is nearly that of a column which is read and is not there.

    Raises:
        UsageError: no readable table, an unknown or missing column, or lines that cannot be used: a missing
            file, an unknown label, an id that stands already. One error names the first few such lines.
    """
    found = look_at(path, UsageError)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path}: a directory; a cohort's CSV table was expected.", _example(manifest))
    lines = _lines(path, _text(path), _example(manifest))
    _, header = next(lines, (0, []))
    columns = _columns(path, header, manifest, further, others=others or bool(further))
    decision = decision_for(manifest)
    cases: list[FileCase] = []
    ids: dict[str, int] = {}
    problems: list[str] = []
    for number, cells in lines:
        try:
            cases.append(_case(cells, columns, path.parent, manifest, decision, further))
            earlier = ids.setdefault(cases[-1].id, number)
            if earlier != number:
                raise _UnusableRowError(f"the id {cases[-1].id!r} stands already in line {earlier}")
        except _UnusableRowError as reason:
            problems.append(f"line {number}: {reason}")
    if problems:
        more = f"; and {len(problems) - MAX_SHOWN_PROBLEMS} more" if len(problems) > MAX_SHOWN_PROBLEMS else ""
        raise UsageError(
            f"{path}: {'; '.join(problems[:MAX_SHOWN_PROBLEMS])}{more}.",
            f"Correct the table; its paths are relative to {path.parent}.",
        )
    if not cases:
        raise UsageError(f"{path}: no studies; only the header came.", "Add one line per study.")
    return Cohort(path.name, tuple(cases))


def _text(path: Path) -> str:
    data = read_bounded(path, error=UsageError, max_bytes=MAX_TABLE_BYTES, streams=True)
    if len(data) > MAX_TABLE_BYTES:
        raise UsageError(f"{path}: above {MAX_TABLE_BYTES} bytes, more than a cohort's table is read.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        raise UsageError(
            f"{path}: not UTF-8 text (byte 0x{data[failure.start]:02x} at offset {failure.start}).",
            "Save the table as CSV in UTF-8.",
        ) from None


def _lines(path: Path, text: str, example: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, cells) of every line that is not blank."""
    return numbered_rows(
        text,
        ",",
        lambda line, failure: UsageError(f"{path}: line {line}: not CSV (RFC 4180): {failure}.", example),
    )


def _columns(path: Path, header: list[str], manifest: Manifest, further: Collection[str], *, others: bool) -> list[str]:
    """The header, checked."""
    example = _example(manifest)
    if not header:
        raise UsageError(f"{path}: empty; a table of studies was expected.", example)
    known = [name for name in (*COLUMNS, manifest.lesion_field) if name is not None]
    unknown = [name for name in header if name not in (*known, *further)]
    if others:  # Only one that may be misspelt is not passed over.
        absent = [name for name in known if name not in header]
        unknown = [name for name in unknown if get_close_matches(name.lower(), absent, cutoff=0.8)]
    if unknown:
        hint = "Separate the columns by commas. " if len(header) == 1 and (set(header[0]) & set(";\t|")) else ""
        raise UsageError(f"{path}: line 1: unknown column(s) {', '.join(map(repr, unknown))}.", hint + example)
    if len(set(header)) != len(header):
        raise UsageError(f"{path}: line 1: a column stands twice: {', '.join(header)}.", example)
    reads_study = bool(manifest.modalities)
    needed = [name for name, read in {"study": reads_study, "record": manifest.table is not None}.items() if read]
    lacking = [name for name in (*needed, *further) if name not in header]
    if lacking:
        raise UsageError(f"{path}: line 1: no column {' and '.join(lacking)}.", example)
    text = manifest.text
    if text is not None and text.missing == "refuse" and not {"record", "report"} & set(header):
        raise UsageError(
            f"{path}: line 1: no column report; {manifest.name} reads one.",
            "Name each study's text file in a column report, or its record in a column record.",
        )
    reads_record = text is not None or manifest.table is not None
    for name, read in {"study": reads_study, "record": reads_record, "report": text is not None}.items():
        if name in header and not read:
            raise UsageError(f"{path}: line 1: a column {name}, but {manifest.name} takes no {name}.", "Leave it out.")
    return header


def _case(
    cells: list[str],
    columns: list[str],
    folder: Path,
    manifest: Manifest,
    decision: Decision,
    further: Collection[str],
) -> FileCase:
    if len(cells) != len(columns):
        raise _UnusableRowError(f"{len(cells)} cells; {len(columns)} were expected ({','.join(columns)})")
    row = dict(zip(columns, cells, strict=True))
    study = _existing(folder, row["study"], "study") if "study" in row else None
    record = _existing(folder, row["record"], "record") if row.get("record") or manifest.table is not None else None
    report = _existing(folder, row["report"], "report") if row.get("report") else None
    try:
        label = decision.read_label(row.get("label"))
    except ValueError as reason:
        raise _UnusableRowError(printable(said(reason), 300)) from None
    lesion = _lesion(row, manifest.lesion_field)
    named = next((row[name] for name in ("id", "study", "record", "report") if row.get(name)), "")
    return FileCase(named, label, study, record, report, lesion, {name: row[name] for name in further})


def _lesion(row: dict[str, str], column: str | None) -> NamedSlices | None:
    """The slices that a cell names; None for an empty one, and without the column."""
    cell = row.get(column, "") if column is not None else ""
    try:
        return read_named(cell) if cell else None
    except UnusableValueError as reason:
        raise _UnusableRowError(f"{column}: {reason}") from None


def _existing(folder: Path, cell: str, column: str) -> Path:
    """The path that a cell names: of a file, or of a directory where a study is."""
    if not cell:
        raise _UnusableRowError(f"no {column}")
    path = folder / cell
    try:
        found = path.stat()
    except FileNotFoundError:
        raise _UnusableRowError(f"the {column} {cell!r} does not exist") from None
    except (OSError, ValueError) as failure:
        raise _UnusableRowError(f"the {column} {cell[:80]!r} cannot be read ({reason(failure)})") from None
    if not (stat.S_ISREG(found.st_mode) or (column == "study" and stat.S_ISDIR(found.st_mode))):
        raise _UnusableRowError(f"the {column} {cell[:80]!r} is {in_words(found)}")
    return path
