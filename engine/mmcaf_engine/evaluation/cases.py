"""Cohorts: studies with records and, where known, labels, each loaded when its turn comes."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ..inputs.prepare import Prepared, prepare
from ..manifest import Manifest
from ..record.slices import NamedSlices
from ..record.tokenizer import Tokenizer
from ..result.decisions import Label


class Case(Protocol):
    """One study of a cohort."""

    @property
    def id(self) -> str: ...

    @property
    def label(self) -> Label: ...

    def load(self, manifest: Manifest, tokenizer: Tokenizer | None = None) -> Prepared:
        """Read it as the manifest wants it.

        Args:
            tokenizer: of the bundle; needed where the network reads text.

        Raises:
            StudyError, RecordError: this case is refused; the message says why.
        """


@dataclass(frozen=True)
class Cohort:
    """Cases in order.

    source: where they are from, without any folder: a table's name, or demo:FIRST-LAST. without_labels: why no AUROC is
    measured where no case has a label.
    """

    source: str
    cases: tuple[Case, ...]
    without_labels: str = "the cohort has no labels"

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    @property
    def files(self) -> tuple[Path, ...]:
        """What lies on disk of its studies, records and reports."""
        on_disk = (case for case in self.cases if isinstance(case, FileCase))
        paths = (path for case in on_disk for path in (case.study, case.record, case.report))
        return tuple(path for path in paths if path is not None)

    @property
    def sha256(self) -> str:
        """Of the cases' ids and what is known of them, their records and reports included, without the studies."""
        found = hashlib.sha256()
        for case in self.cases:
            known: list[object] = [case.id, case.label]
            if isinstance(case, FileCase):
                known += [dict(case.columns), str(case.lesion), *map(_sha256, (case.record, case.report))]
            found.update(json.dumps(known, sort_keys=True).encode() + b"\n")
        return found.hexdigest()

    def first(self, count: int) -> "Cohort":
        """The first `count` cases."""
        if count >= len(self.cases):
            return self
        return replace(self, source=f"{self.source}, first {count}", cases=self.cases[:count])

    def unlabelled(self, why: str) -> "Cohort":
        """The same cases without their labels, for a network that is not about these diseases or these people.

        Args:
            why: their labels do not count, as the end of a sentence that says that AUROC was not measured.
        """
        return replace(self, cases=tuple(_Unlabelled(case) for case in self.cases), without_labels=why)


@dataclass(frozen=True)
class _Unlabelled:
    """A case whose label is not looked at."""

    case: Case
    label: None = None

    @property
    def id(self) -> str:
        return self.case.id

    def load(self, manifest: Manifest, tokenizer: Tokenizer | None = None) -> Prepared:
        return self.case.load(manifest, tokenizer)


@dataclass(frozen=True)
class FileCase:
    """A study, a record and a report on disk, of these what the network reads.

    lesion: its slices, in place of those that the record names. columns: what further columns of its table say of it.
    """

    id: str
    label: Label
    study: Path | None
    record: Path | None
    report: Path | None = None
    lesion: NamedSlices | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def load(self, manifest: Manifest, tokenizer: Tokenizer | None = None) -> Prepared:
        """Read it; see `Case.load`."""
        return prepare(self.study, self.record, manifest, report=self.report, tokenizer=tokenizer, lesion=self.lesion)


def _sha256(path: Path | None) -> str | None:
    """Of a file; None without one, and where it cannot be read, of which its study's refusal tells."""
    with suppress(OSError):
        return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    return None
