"""A result without anything of the patient."""

import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from ..errors import printable
from ..study.dicom.examined import PARTS
from .attended import Attended
from .parts import Evidence, Options, RecordSummary, StudySummary
from .result import Result

HIDDEN, CUT, OF_RECORD = "[file]", "[header]", "[record]"
_LONGEST = (128, 160, 512)
"""Characters of a name that messages show: of files of a study, of a record, and of the study."""

_UID = re.compile(r"\d+(?:\.\d+)+")
_WITHIN = re.compile(r"(?<![\w.])\d+(?:\.\d+){4,}(?![\w.])")
"""A UID within a sentence; a number, a date or a version has fewer dots."""
_ELEMENT = re.compile(r"(\([0-9A-F]{4},[0-9A-F]{4}\) \w+) .*", re.DOTALL)
"""An element of the header, and what a sentence says of it, which may quote it."""
_OTHERS = re.compile(r"(; left out)\b.*", re.DOTALL)
"""Other series of the study, each with what tells it apart."""
_QUOTING = (
    (_ELEMENT, rf"\1 {CUT}"),
    (_OTHERS, rf"\1 {CUT}"),
    (re.compile(r"(\bobservation\b.* says?) .*", re.DOTALL), rf"\1 {OF_RECORD}"),
    (re.compile(r"(: ).* was read as .*", re.DOTALL), rf"\1{OF_RECORD}"),
    (re.compile(r"(Patient\.gender is) [^,]*"), rf"\1 {OF_RECORD}"),
    (re.compile(r"\b\d+ days? (before|after) the study"), rf"{OF_RECORD} \1 the study"),
    (re.compile(r"\brow \d+ of \d+ of the record's table"), f"{OF_RECORD} of the record's table"),
)
"""What a sentence quotes of header and record, and what stands for it; see the messages of `study` and `record`."""


def deidentify(result: Result, *sources: str | Path) -> Result:
    """Leave out, or replace, what tells of the patient.

    - UIDs of study, series, images and frame of reference become others (`pseudonym`): the same for the same, so that
      results of one study still belong together, and nobody comes from them to the study who does not have it.
    - Words of the report are left out, with what each weighs.
    - What the record said is left out, its digest too, which would tell whether a guess at a record is right.
    - When it was answered, and the row of a table of patients, are left out.
    - A part of the body stays where it is a term of DICOM, and not what somebody wrote there.
    - Names of files and folders, which are often named after patients, become [file] wherever a sentence, the selection
      or an option has one.
    - A sentence ends where it would say what stands in an element of the header, or list other series: [header]; and
      where it would say what the record says: [record], which also stands for a row of a table and for days.

    Args:
        result: the answer.
        sources: the paths that it was made from, as they were given; directories and zips are listed for names.
    """
    given = {name for source in sources for name in _names(Path(source))}
    names = sorted({shown for name in given for shown in _shown(name) if shown}, key=len, reverse=True)

    def hidden(sentences: Iterable[str]) -> tuple[str, ...]:
        return tuple(_without(sentence, names) for sentence in sentences)

    evidence = result.evidence
    return replace(
        result,
        created=None,
        study=replace(_study(result.study), warnings=hidden(result.study.warnings)),
        evidence=None if evidence is None else tuple(map(_image, evidence)),
        record=None if result.record is None else _record(result.record, hidden(result.record.warnings)),
        options=None if result.options is None else _options(result.options),
        attention=None if result.attention is None else _attention(result.attention),
        warnings=hidden(result.warnings),
        remarks=hidden(result.remarks),
    )


def pseudonym(uid: str) -> str:
    """Another UID for a UID, one way and always the same: 2.25. and a UUID of version 5 in the namespace of OIDs."""
    return f"2.25.{uuid5(NAMESPACE_OID, uid).int}"


def _without(sentence: str, names: Iterable[str]) -> str:
    for name in names:
        sentence = sentence.replace(name, HIDDEN)
    for quoting, instead in _QUOTING:
        sentence = quoting.sub(instead, sentence)
    return _WITHIN.sub(lambda found: pseudonym(found[0]), sentence)


def _study(study: StudySummary) -> StudySummary:
    return replace(
        study,
        uids={kind: pseudonym(uid) for kind, uid in study.uids.items()},
        body_part=study.body_part if study.body_part in PARTS else None,
        selection=tuple(replace(entry, source=_source(entry.source)) for entry in study.selection),
    )


def _source(source: str) -> str:
    """A UID's pseudonym; a number of a list, or nothing, as it is; any other, and so a file's name, hidden."""
    if _UID.fullmatch(source):
        return pseudonym(source)
    return source if not source or source.isdecimal() else HIDDEN


def _image(image: Evidence) -> Evidence:
    return replace(image, sop_instance_uid=pseudonym(image.sop_instance_uid))


def _record(record: RecordSummary, warnings: tuple[str, ...]) -> RecordSummary:
    return replace(record, features={}, sha256=None, warnings=warnings, influence=None)


def _attention(found: Attended) -> Attended:
    return replace(
        found, parts=tuple(replace(part, weights=()) if part.of == "words" else part for part in found.parts)
    )


def _options(options: Options) -> Options:
    series = options.series
    return replace(
        options, series=None if series is None else {name: _source(value) for name, value in series.items()}, row=None
    )


def _shown(name: str) -> Iterator[str]:
    """A name as it is, and as messages may show it: on one line, and cut."""
    yield name
    yield from (printable(name, longest) for longest in (len(name), *_LONGEST))


def _names(source: Path) -> Iterator[str]:
    """The path as given, and the last component of everything at or below it."""
    yield str(source)
    yield source.name
    if source.is_dir():
        yield from (path.name for path in source.rglob("*"))
    elif source.is_file() and zipfile.is_zipfile(source):  # A FIFO would be waited for.
        with zipfile.ZipFile(source) as archive:
            yield from (Path(name).name for name in archive.namelist())
