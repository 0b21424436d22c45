"""A study and a record made ready for any session of one bundle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import RecordError
from .manifest import Manifest
from .preprocess import Preprocessor, Values, Windows
from .record import Record, check_patient, read_record
from .session import Session
from .study import Duplicates, Gaps, Tilt, open_study
from .timing import Stopwatch
from .volume import PatientHeader, Study, StudyFacts
from .workers import Scratch

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total): "read" (files), "decode" (slices), "open" (the session), "infer" (windows)."""


@dataclass(frozen=True)
class Prepared:
    """What the network will see: the study's windows and, if it takes one, the record; remarks on the record."""

    study: StudyFacts | Study
    windows: Windows
    record: Record | None
    record_warnings: tuple[str, ...]


def prepare(
    study: str | Path,
    record: str | Path | Mapping[str, Any] | None,
    manifest: Manifest,
    *,
    series: str | None = None,
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
    with open_study(
        study,
        intensity=manifest.preprocessing.intensity,
        modality=manifest.preprocessing.modality,
        series=series,
        gaps=gaps,
        tilt=tilt,
        duplicates=duplicates,
        progress=progress,
    ) as opened:
        watch.add("read", opened.read_ms)
        with watch.span("record"):
            clinical, record_warnings = _read_record(record, manifest, opened.patient, allow_id_mismatch)
        preprocessor = Preprocessor(opened.shape, manifest.preprocessing, stride=stride)
        if accepted is not None:
            accepted()

        def receive(index: int, values: Values, scratch: Scratch) -> None:
            with watch.span("preprocess"):
                preprocessor.put(index, values, scratch)

        facts = opened.stream(receive, progress)
    watch.add("decode", facts.decode_ms)
    with watch.span("preprocess"):
        windows = preprocessor.windows()
    return Prepared(facts, windows, clinical, record_warnings)


def run_windows(session: Session, prepared: Prepared, progress: Progress | None = None) -> NDArray[np.float32]:
    """The logit of every window, float32 [N, 1]; one window in flight."""
    manifest = session.bundle.manifest
    output = manifest.outputs[0].name
    inputs = {} if prepared.record is None else {manifest.input("table").name: prepared.record.table()}
    logits = []
    for done, window in enumerate(prepared.windows, start=1):
        logits.append(session.run({**inputs, manifest.input("volume").name: window})[output])
        if progress is not None:
            progress("infer", done, len(prepared.windows))
    return np.concatenate(logits)


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
