"""The main job in one call: study and record in, answer out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .aggregate import aggregate, score_windows
from .bundle import Bundle, load_bundle
from .default_bundle import default_bundle
from .errors import StrictError
from .prepare import Progress, prepare, run_windows
from .result import (
    NOT_A_MEDICAL_DEVICE,
    EngineSummary,
    ModelSummary,
    RecordSummary,
    Result,
    StudySummary,
)
from .session import Session, open_session
from .study import Duplicates, Gaps, Tilt
from .timing import Stopwatch
from .volume import Study


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

    prepared = prepare(
        study,
        record,
        manifest,
        series=series,
        gaps=gaps,
        tilt=tilt,
        duplicates=duplicates,
        stride=stride,
        allow_id_mismatch=allow_id_mismatch,
        progress=progress,
        watch=watch,
    )

    owned = None
    if session is None:
        with watch.span("open"):
            session = owned = open_session(opened, backend=backend, precision=precision, threads=threads)
    try:
        if session.fallback:
            warnings.append(f"{session.backend} answered instead of a preferred backend: {session.fallback}.")
        with watch.span("infer"):
            logits = run_windows(session, prepared, progress)
        engine = EngineSummary(session.backend, session.precision, session.device, session.fallback)
    finally:
        if owned is not None:
            owned.close()

    with watch.span("aggregate"):
        scores = score_windows(prepared.windows.starts, logits)
        probability, logit = aggregate(scores, manifest.aggregation)
    watch.add("total", watch.total_ms())
    imaging, clinical = prepared.study, prepared.record
    warnings += [*imaging.warnings, *prepared.record_warnings]
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
        record=None
        if clinical is None
        else RecordSummary(clinical.features, clinical.missing, prepared.record_warnings),
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


def _summary(study: Study) -> StudySummary:
    volume = study.volume
    return StudySummary(study.uids, study.modality, len(volume.values), volume.spacing_mm, study.warnings)
