"""A result without anything of the patient but UIDs."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .result import Result

HIDDEN = "[file]"

_OF_UIDS = set("0123456789.")


def deidentify(result: Result, *sources: str | Path) -> Result:
    """Leave out the record's features, the names of NIfTI files, and every path and file name that a sentence quotes.

    Sentences are warnings and remarks. Folders and files are often named after patients. UIDs stay: they are what the
    answer is filed under.

    Args:
        result: the answer.
        sources: the paths that it was made from, as they were given; directories and zips are listed for names.
    """
    names = sorted({name for source in sources for name in _names(Path(source)) if name}, key=len, reverse=True)

    def hidden(sentences: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            sentences = tuple(sentence.replace(name, HIDDEN) for sentence in sentences)
        return sentences

    record = result.record
    return replace(
        result,
        warnings=hidden(result.warnings),
        remarks=hidden(result.remarks),
        study=replace(
            result.study,
            warnings=hidden(result.study.warnings),
            series=tuple(
                entry if set(entry.source) <= _OF_UIDS else replace(entry, source=HIDDEN)
                for entry in result.study.series
            ),
        ),
        record=None if record is None else replace(record, features={}, warnings=hidden(record.warnings)),
    )


def _names(source: Path) -> Iterator[str]:
    """The path as given, and the last component of everything at or below it."""
    yield str(source)
    yield source.name
    if source.is_dir():
        yield from (path.name for path in source.rglob("*"))
    elif source.is_file() and zipfile.is_zipfile(source):  # A FIFO would be waited for.
        with zipfile.ZipFile(source) as archive:
            yield from (Path(name).name for name in archive.namelist())
