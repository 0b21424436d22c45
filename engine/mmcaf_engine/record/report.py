"""A report file: plain text in UTF-8. No message quotes any of it."""

from collections.abc import Callable
from pathlib import Path

from ..arguments import checked
from ..errors import RecordError
from ..files import read_bounded

MAX_REPORT_BYTES = 1024 * 1024

_OTHER_ENCODINGS = {
    b"\xff\xfe": "UTF-16LE",
    b"\xfe\xff": "UTF-16BE",
}
"""How a file in another encoding may begin."""

_OTHER_FORMATS = {
    b"%PDF-": "a PDF document",
    b"{\\rtf": "an RTF document",
    b"PK\x03\x04": "a zip, such as DOCX and ODT are",
    b"\xd0\xcf\x11\xe0": "a Word document",
}
"""How a file that is no plain text may begin."""


ReportSource = str | Path | bytes
"""A report: the path of a text file, or what such a file holds."""


def read_report(source: ReportSource, seen: Callable[[bytes], object] | None = None) -> str:
    """Read a report; a byte order mark is dropped, all else is left as it is.

    Args:
        seen: given its bytes.

    Raises:
        RecordError: the file is missing, or it is too large, no plain text, or not UTF-8.
    """
    checked({"report": source}, {"report": ReportSource}, error=RecordError)
    if isinstance(source, bytes):
        path, data = Path("report"), source
    else:
        path = Path(source)
        data = read_bounded(path, error=RecordError, max_bytes=MAX_REPORT_BYTES, streams=True)
    if len(data) > MAX_REPORT_BYTES:
        raise RecordError(
            f"{path}: more than {MAX_REPORT_BYTES} bytes; a report was expected.", "Pass the report's text alone."
        )
    if seen is not None:
        seen(data)
    for start, kind in _OTHER_FORMATS.items():
        if data.startswith(start):
            raise RecordError(f"{path}: {kind}; plain text was expected.", "Save the report as plain text in UTF-8.")
    for start, encoding in _OTHER_ENCODINGS.items():
        if data.startswith(start):
            raise RecordError(f"{path}: text in {encoding}; UTF-8 was expected.", _convert(path, encoding))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        raise RecordError(
            f"{path}: not UTF-8 text (byte 0x{data[failure.start]:02x} at offset {failure.start}).",
            _convert(path, "WINDOWS-1252"),
        ) from None
    if "\0" in text:
        raise RecordError(
            f"{path}: a zero byte at offset {data.index(0)}; plain text holds none.",
            "Save the report as plain text in UTF-8.",
        )
    return text


def _convert(path: Path, encoding: str) -> str:
    return f"Convert it: iconv -f {encoding} -t UTF-8 {path} > report.txt (-f names the encoding it was saved in)"
