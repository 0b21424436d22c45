"""A study and a record made ready for any session of one bundle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .backends.base import Arrays
from .errors import RecordError
from .manifest import Manifest
from .preprocess import Preprocessor, Values, Windows
from .record import Record, check_patient, read_record
from .session import Session
from .study import Duplicates, Gaps, InputSeries, Policies, Series, Tilt, open_inputs
from .timing import Stopwatch
from .volume import PatientHeader, Study, StudyFacts
from .workers import Scratch

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total): "read" (files), "decode" (slices), "open" (the session), "infer" (windows)."""


@dataclass(frozen=True)
class PreparedSeries:
    """What one volume input will see, of which series.

    source: the series' SeriesInstanceUID, or the file's name. chosen: why this one, in words.
    """

    input: str
    facts: StudyFacts | Study
    windows: Windows
    source: str = ""
    chosen: str = ""


@dataclass(frozen=True)
class Prepared:
    """What the network will see: a series for each volume input and, if it takes one, the record; remarks on it.

    Every series has the same number of windows; of several series each is one.
    """

    series: tuple[PreparedSeries, ...]
    record: Record | None
    record_warnings: tuple[str, ...]

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self.series[0].windows)

    @property
    def starts(self) -> tuple[int, ...]:
        """First slice of each window."""
        return self.series[0].windows.starts

    @property
    def study_warnings(self) -> tuple[str, ...]:
        """Remarks on the series; of several, each says which one it is about."""
        several = len(self.series) > 1
        return tuple(
            f"{entry.input}: {text}" if several else text for entry in self.series for text in entry.facts.warnings
        )

    def inputs(self, window: int, manifest: Manifest) -> Arrays:
        """All that the network takes for one window: input name -> float32 [1, ...]; volumes are read-only."""
        table = {} if self.record is None else {manifest.input("table").name: self.record.table()}
        return {entry.input: entry.windows.window(window) for entry in self.series} | table


def prepare(
    study: str | Path,
    record: str | Path | Mapping[str, Any] | None,
    manifest: Manifest,
    *,
    series: Series | None = None,
    gaps: Gaps = "refuse",
    tilt: Tilt = "refuse",
    duplicates: Duplicates = "refuse",
    stride: int | None = None,
    allow_id_mismatch: bool = False,
    progress: Progress | None = None,
    accepted: Callable[[], None] | None = None,
    watch: Stopwatch | None = None,
) -> Prepared:
    """Read a study and a record as a bundle's manifest wants them; arguments as for `pipeline.infer`.

    Each slice is preprocessed by the thread that decoded it, while it is at hand.

    Args:
        accepted: called once, when all that can be told without decoding pixels is in order: the study's
            headers and geometry, the record, and how the windows will lie.
        watch: gets the stages "read" and "record", and, of all threads together, "decode" and "preprocess".

    Raises:
        StudyError, RecordError: that part is refused; the message says why.
        UsageError: an argument is out of range.
    """
    watch = watch or Stopwatch()
    _expect_record(record, manifest)
    policies = Policies(gaps, tilt, duplicates)
    with open_inputs(study, manifest, series=series, policies=policies, progress=progress) as opened:
        for entry in opened:
            watch.add("read", entry.opened.read_ms)
        with watch.span("record"):
            clinical, record_warnings = _read_record(record, manifest, opened[0].opened.patient, allow_id_mismatch)
        preprocessors = [Preprocessor(entry.opened.shape, manifest.preprocessing, stride=stride) for entry in opened]
        if accepted is not None:
            accepted()
        counting = _Counting(progress, [entry.opened.shape[0] for entry in opened])
        read = tuple(
            _prepared(entry, preprocessor, counting, watch)
            for entry, preprocessor in zip(opened, preprocessors, strict=True)
        )
    return Prepared(read, clinical, record_warnings)


def _prepared(
    entry: InputSeries, preprocessor: Preprocessor, progress: "_Counting", watch: Stopwatch
) -> PreparedSeries:
    """Decode one series; the thread that decoded a slice preprocesses it."""

    def receive(index: int, values: Values, scratch: Scratch) -> None:
        with watch.span("preprocess"):
            preprocessor.put(index, values, scratch)

    facts = entry.opened.stream(receive, progress)
    progress.done_before += entry.opened.shape[0]
    watch.add("decode", facts.decode_ms)
    with watch.span("preprocess"):
        windows = preprocessor.windows()
    return PreparedSeries(entry.input, facts, windows, entry.source, entry.why)


class _Counting:
    """Tells of the slices of all series together."""

    def __init__(self, progress: Progress | None, slices: list[int]) -> None:
        self._progress = progress
        self._slices = slices
        self.done_before = 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._progress is not None and len(self._slices) == 1:
            self._progress(stage, done, total)
        elif self._progress is not None:
            everything = sum(self._slices)
            self._progress(stage, min(self.done_before + done, everything), everything)


def run_windows(session: Session, prepared: Prepared, progress: Progress | None = None) -> Arrays:
    """Every output for every window, float32 [N, ...] by name; as many windows in flight as suit the backend."""
    answers = []
    for start in range(0, len(prepared), session.windows_per_call):
        end = min(start + session.windows_per_call, len(prepared))
        windows = [prepared.inputs(at, session.bundle.manifest) for at in range(start, end)]
        batch = (
            windows[0]
            if len(windows) == 1
            else {name: np.concatenate([w[name] for w in windows]) for name in windows[0]}
        )
        answers.append(session.run(batch))
        if progress is not None:
            progress("infer", end, len(prepared))
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _expect_record(record: str | Path | Mapping[str, Any] | None, manifest: Manifest) -> None:
    if manifest.table is None and record is not None:
        raise RecordError(f"{manifest.name} takes no record, but one was given.", "Leave RECORD out.")
    if manifest.table is not None and record is None:
        fields = ", ".join(entry.name for entry in manifest.table.fields)
        raise RecordError(
            f"{manifest.name} needs a record with the fields {fields}; none was given.",
            "Pass it after the study: mmcaf-infer STUDY RECORD",
        )


def _read_record(
    record: str | Path | Mapping[str, Any] | None, manifest: Manifest, patient: PatientHeader, allow_id_mismatch: bool
) -> tuple[Record | None, tuple[str, ...]]:
    """The validated record, if the network takes one, and the remarks on it."""
    if record is None or manifest.table is None:
        return None, ()
    clinical = read_record(record, manifest.table, study_date=patient.study_date)
    contradictions = check_patient(clinical, manifest.table, patient, allow_id_mismatch=allow_id_mismatch)
    return clinical, (*clinical.warnings, *contradictions)
