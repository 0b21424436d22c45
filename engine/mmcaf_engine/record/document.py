"""A record as it comes, within limits: JSON, or a row of a CSV table; forms of FHIR that are neither are named."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..arguments import checked, plain_scalars
from ..errors import RecordError, Remedy, UsageError
from ..files import look_at, read_bounded, shown_path
from ..strict_json import parse_json
from .csv_rows import Choice, Columns, is_table, read_row

MAX_RECORD_BYTES = 64 * 1024 * 1024

RecordSource = str | Path | bytes | Mapping[str, Any]
"""A record: the path of a file, what such a file holds, or the parsed object."""

Seen = Callable[[bytes], object]
"""Given the bytes that a record or a report came as, such as the `update` of a hash."""

_LEVELS = 32
"""Of an object in memory that are looked at by `canonical`; a record has one, FHIR about ten."""
_TABLES = (".csv", ".tsv")
_BLANK = re.compile(rb"(?:\xef\xbb\xbf)?\s*")
_LARGE = Remedy(
    "Export fewer of the patient's resources: the Patient, its Observations and the DiagnosticReport are read."
)


def read_document(
    source: RecordSource, columns: Columns, choice: Choice, seen: Seen | None = None
) -> tuple[Any, tuple[str, ...]]:
    """The parsed record, and remarks on it.

    Args:
        columns: what a table may hold. choice: which row of it.
        seen: given its bytes; of an object in memory those of `canonical`.

    Raises:
        RecordError: it cannot be read, is too large, or neither strict JSON nor a table with such a row.
        UsageError: a row of what is no table.
    """
    checked({"record": source}, {"record": RecordSource}, error=RecordError)
    if isinstance(source, Mapping):
        _refuse_row(choice, "record")
        document = plain_scalars(dict(source))
        if seen is not None:
            seen(canonical(document))
        return document, ()
    name = "record" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read(Path(source))
    if len(data) > MAX_RECORD_BYTES:
        raise _too_large(data, source, name)
    if seen is not None:
        seen(data)
    begin = _BLANK.match(data)
    first = data[begin.end() : begin.end() + 1] if begin else b""
    if first == b"<":
        raise RecordError(
            f"{name}: XML; JSON was expected.", "Ask for JSON, of FHIR with the format application/fhir+json."
        )
    tabular = not isinstance(source, bytes) and Path(source).suffix.lower() in _TABLES
    if tabular or (first not in (b"{", b"[") and is_table(data, columns)):
        return read_row(data, name, columns, choice)
    _refuse_row(choice, name)
    try:
        return parse_json(data, name=name, error=RecordError, max_bytes=MAX_RECORD_BYTES), ()
    except RecordError:
        if first == b"{" and _is_lines(data):
            raise RecordError(
                f"{name}: NDJSON, an object on each line, as FHIR's bulk export writes it; one JSON object was "
                "expected.",
                "Give the resources of one patient as a FHIR Bundle.",
            ) from None
        raise


def canonical(document: Mapping[str, Any]) -> bytes:
    """An object in memory as JSON in ASCII with sorted keys and without blanks: equal objects, equal bytes."""
    return json.dumps(_named(document, _LEVELS), sort_keys=True, separators=(",", ":")).encode()


def _named(value: object, levels: int) -> object:
    """What JSON cannot hold is replaced by the name of its type; that it is no record is for others to say."""
    if isinstance(value, Mapping) and levels:
        return {str(key): _named(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and levels:
        return [_named(item, levels - 1) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


def _read(path: Path) -> bytes:
    return read_bounded(path, error=RecordError, max_bytes=MAX_RECORD_BYTES, streams=True)


def _too_large(data: bytes, source: str | Path | bytes, name: str) -> RecordError:
    """With the size of the whole, where it is known: a stream was read no further than the limit."""
    found = None if isinstance(source, bytes) else look_at(Path(source), RecordError)
    size = len(data) if found is None else found.st_size
    said = f"{size}" if size > MAX_RECORD_BYTES + 1 else f"more than {MAX_RECORD_BYTES}"
    limit = f"{MAX_RECORD_BYTES} ({MAX_RECORD_BYTES >> 20} MiB)"
    return RecordError(f"{shown_path(name)}: {said} bytes; a record of at most {limit} is read.", _LARGE)


def _is_lines(data: bytes) -> bool:
    """Whether a first object ends its line, and another begins the next."""
    line, _, rest = data.partition(b"\n")
    return line.rstrip().endswith(b"}") and rest[:4096].lstrip().startswith(b"{")


def _refuse_row(choice: Choice, name: str) -> None:
    if choice.row is not None:
        raise UsageError(
            f"row: for a record that is a table; {shown_path(name)} is none.", Remedy("Leave it out", option="row")
        )
