"""The main job in one call: study and record in, answer out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .aggregate import aggregate, score_windows
from .bundle import Bundle, load_bundle
from .default_bundle import default_bundle
from .errors import RecordError, StrictError
from .manifest import Manifest
from .preprocess import Windows, preprocess
from .record import Record, check_patient, read_record
from .result import (
    NOT_A_MEDICAL_DEVICE,
    EngineSummary,
    ModelSummary,
    RecordSummary,
    Result,
    StudySummary,
)
from .session import Session, open_session
from .study import Duplicates, Gaps, Tilt, read_study
from .timing import Stopwatch
from .volume import PatientHeader, Study

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total) as the work goes on."""


def infer(
    study: str | Path,
    record: str | Path | Mapping[str, Any] | None = None,
    *,
    bundle: str | Path | Bundle | None = None,
    session: Session | None = None,
    backend: str = "auto",
    precision: str = "auto",
    series: str | None = None,
    gaps: Gaps = "refuse",
    tilt: Tilt = "refuse",
    duplicates: Duplicates = "refuse",
    stride: int | None = None,
    threads: int | None = None,
    allow_id_mismatch: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Answer one study.

    Args:
        study: a DICOM file (single-frame or multi-frame), a directory, a zip, or a DICOMDIR.
        record: path of a flat JSON record, or the parsed object; may be left out when the bundle has no table.
        bundle: path or loaded bundle; by default $MMCAF_BUNDLE, the user's configuration, then the demo.
        session: an open session to reuse; `bundle`, `backend`, `precision` and `threads` are then not looked at.
        series: SeriesInstanceUID or number, instead of the best by the rule of docs/studies.md.
        gaps, tilt, duplicates: what to accept of an irregular series; see `study.read_study`.
        stride: slices between window starts, instead of the manifest's.
        strict: raise instead of answering with warnings.

    Raises:
        StudyError, RecordError, BundleError, BackendError: that part is refused; the message says why.
        StrictError: `strict` and the answer carries warnings.
        UsageError: an argument is out of range.
    """
    watch = Stopwatch()
    warnings: list[str] = []
    if session is not None:
        opened = session.bundle
    else:
        with watch.span("bundle"):
            opened, notice = _resolve(bundle)
        warnings += [notice] if notice else []
    manifest = opened.manifest

    _expect_record(record, manifest)
    imaging = read_study(
        study,
        intensity=manifest.preprocessing.intensity,
        modality=manifest.preprocessing.modality,
        series=series,
        gaps=gaps,
        tilt=tilt,
        duplicates=duplicates,
        progress=progress,
    )
    watch.add("read", imaging.read_ms)
    watch.add("decode", imaging.decode_ms)
    with watch.span("record"):
        clinical, record_warnings = _read_record(record, manifest, imaging.patient, allow_id_mismatch)
    with watch.span("preprocess"):
        windows = preprocess(imaging.volume, manifest.preprocessing, stride=stride)

    owned = None
    if session is None:
        with watch.span("open"):
            session = owned = open_session(opened, backend=backend, precision=precision, threads=threads)
    try:
        if session.fallback:
            warnings.append(f"{session.backend} answered instead of a preferred backend: {session.fallback}.")
        with watch.span("infer"):
            logits = _run(session, windows, clinical, progress)
        engine = EngineSummary(session.backend, session.precision, session.device, session.fallback)
    finally:
        if owned is not None:
            owned.close()

    with watch.span("aggregate"):
        scores = score_windows(windows.starts, logits)
        probability, logit = aggregate(scores, manifest.aggregation)
    watch.add("total", watch.total_ms())
    warnings += [*imaging.warnings, *record_warnings]
    if strict and warnings:
        raise StrictError(
            f"--strict: not answered, because of {len(warnings)} warning(s): {' '.join(warnings)}",
            "Resolve them, or run without --strict.",
        )
    return Result(
        label=manifest.labels[int(probability >= manifest.threshold)],
        probability=probability,
        probabilities={manifest.labels[0]: 1.0 - probability, manifest.labels[1]: probability},
        logit=logit,
        threshold=manifest.threshold,
        windows=scores,
        study=_summary(imaging),
        record=None if clinical is None else RecordSummary(clinical.features, clinical.missing, record_warnings),
        model=ModelSummary(manifest.name, opened.sha256),
        engine=engine,
        timing_ms={name: round(spent, 3) for name, spent in watch.spans_ms.items()},
        warnings=tuple(warnings),
        disclaimer=f"{manifest.intended_use} {NOT_A_MEDICAL_DEVICE}".strip(),
    )


def _resolve(bundle: str | Path | Bundle | None) -> tuple[Bundle, str | None]:
    if isinstance(bundle, Bundle):
        return bundle, None
    if bundle is not None:
        return load_bundle(bundle), None
    default = default_bundle()
    return load_bundle(default.path), default.notice


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


def _run(
    session: Session, windows: Windows, record: Record | None, progress: Progress | None
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The logit of every window, float32 [N, 1]; one window in flight."""
    manifest = session.bundle.manifest
    output = manifest.outputs[0].name
    inputs = {} if record is None else {manifest.input("table").name: record.table()}
    logits = []
    for done, window in enumerate(windows, start=1):
        logits.append(session.run({**inputs, manifest.input("volume").name: window})[output])
        if progress is not None:
            progress("infer", done, len(windows.starts))
    return np.concatenate(logits)


def _summary(study: Study) -> StudySummary:
    volume = study.volume
    return StudySummary(study.uids, study.modality, len(volume.values), volume.spacing_mm, study.warnings)
