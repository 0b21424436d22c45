"""The main job in one call: study and record in, answer out."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .aggregate import aggregate
from .bundle import Bundle, load_bundle
from .default_bundle import default_bundle
from .errors import StrictError
from .evaluation.accuracy import accuracy_summary
from .heatmap import check_heatmap, draw_heatmap, write_png
from .prepare import Prepared, Progress, prepare, run_windows
from .result import (
    NOT_A_MEDICAL_DEVICE,
    EngineSummary,
    ModelSummary,
    RecordSummary,
    Result,
    SeriesSummary,
    StudySummary,
)
from .session import Session, open_session
from .study import Duplicates, Gaps, Series, Tilt
from .timing import Stopwatch

STAGES = ("bundle", "read", "record", "decode", "preprocess", "open", "infer", "aggregate", "total")
"""The keys of `Result.timing_ms`; bundle and open only where no session was given."""


def infer(
    study: str | Path,
    record: str | Path | Mapping[str, Any] | None = None,
    *,
    bundle: str | Path | Bundle | None = None,
    session: Session | None = None,
    backend: str = "auto",
    precision: str = "auto",
    series: Series | None = None,
    gaps: Gaps = "refuse",
    tilt: Tilt = "refuse",
    duplicates: Duplicates = "refuse",
    stride: int | None = None,
    threads: int | None = None,
    allow_id_mismatch: bool = False,
    strict: bool = False,
    heatmap: str | Path | None = None,
    heatmap_over: str | None = None,
    progress: Progress | None = None,
) -> Result:
    """Answer one study.

    A session of its own is opened in a thread, beside the decoding and preprocessing of the pixels, and
    only once headers, geometry and record are accepted: what is refused by them costs no opening.
    `timing_ms` gives the time spent on each stage, in milliseconds; for "decode" and "preprocess" it is that of
    all their threads together. "total" is wall time, and less than the sum where stages ran beside each other.

    Args:
        study: a DICOM file (single-frame or multi-frame), a directory, a zip, or a DICOMDIR; or NIfTI files.
        record: path of a flat JSON record, or the parsed object; may be left out when the bundle has no table.
        bundle: path or loaded bundle; by default $MMCAF_BUNDLE, the user's configuration, then the demo.
        session: an open session to reuse; `bundle`, `backend`, `precision` and `threads` are then not looked at.
        series: SeriesInstanceUID, number or path, instead of the best by the rule of docs/studies.md; for a network of
            several series, by input name: {"t2": "3"} or ["t2=3"].
        gaps, tilt, duplicates: what to accept of an irregular series; see `study.read_study`.
        stride: slices between window starts, instead of the manifest's.
        strict: raise instead of answering with warnings.
        heatmap: also draw the network's attention over the slices, to this PNG file.
        heatmap_over: the volume input whose slices are drawn; the first without it.

    Raises:
        StudyError, RecordError, BundleError, BackendError: that part is refused; the message says why.
        StrictError: `strict` and the answer carries warnings.
        UsageError: an argument is out of range, or a heat map of a network without attention.
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
    if heatmap is not None:
        check_heatmap(manifest, heatmap_over)

    def open_own() -> Session:
        with watch.span("open"):
            return open_session(opened, backend=backend, precision=precision, threads=threads)

    with _BackgroundSession(session, open_own, progress) as opening:
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
            accepted=opening.start,
            watch=watch,
        )
        used = opening.session()
        if used.fallback:
            warnings.append(f"{used.backend} answered instead of a preferred backend: {used.fallback}.")
        with watch.span("infer"):
            outputs = run_windows(used, prepared, progress)
        cost = accuracy_summary(opened, used.precision)
        engine = EngineSummary(used.backend, used.precision, used.device, used.fallback, cost)

    with watch.span("aggregate"):
        score = aggregate(prepared.starts, outputs[manifest.score.name], manifest)
    watch.add("total", watch.total_ms())
    clinical = prepared.record
    warnings += [*prepared.study_warnings, *prepared.record_warnings]
    if strict and warnings:
        raise StrictError(
            f"--strict: not answered, because of {len(warnings)} warning(s): {' '.join(warnings)}",
            "Resolve them, or run without --strict.",
        )
    if heatmap is not None:
        write_png(Path(heatmap), draw_heatmap(manifest, prepared, outputs, score.deciding, over=heatmap_over))
    return Result(
        label=manifest.labels[score.label],
        probability=score.probability,
        probabilities=dict(zip(manifest.labels, score.probabilities, strict=True)),
        logit=score.logit,
        threshold=manifest.threshold,
        windows=score.windows,
        study=_summary(prepared),
        record=None
        if clinical is None
        else RecordSummary(clinical.features, clinical.missing, prepared.record_warnings),
        model=ModelSummary(manifest.name, opened.sha256),
        engine=engine,
        timing_ms={stage: round(watch.spans_ms[stage], 3) for stage in STAGES if stage in watch.spans_ms},
        warnings=tuple(warnings),
        disclaimer=f"{manifest.intended_use} {NOT_A_MEDICAL_DEVICE}".strip(),
    )


class _BackgroundSession:
    """A session: one that was given, or one that opens in a thread from `start` on and is closed with the block."""

    def __init__(self, given: Session | None, open_own: Callable[[], Session], progress: Progress | None) -> None:
        self._given = given
        self._open_own = open_own
        self._progress = progress or (lambda stage, done, total: None)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="open")
        self._own: Future[Session] | None = None

    def start(self) -> None:
        if self._given is None:
            self._own = self._thread.submit(self._open_own)

    def session(self) -> Session:
        """The session, once it is open; raises what its opening raised."""
        if self._given is not None:
            return self._given
        if self._own is None:
            raise RuntimeError("session() came before start()")
        self._progress("open", 0, 1)
        opened = self._own.result()
        self._progress("open", 1, 1)
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        if self._own is not None and self._own.exception() is None:
            self._own.result().close()


def _resolve(bundle: str | Path | Bundle | None) -> tuple[Bundle, str | None]:
    if isinstance(bundle, Bundle):
        return bundle, None
    if bundle is not None:
        return load_bundle(bundle), None
    default = default_bundle()
    return load_bundle(default.path), default.notice


def _summary(prepared: Prepared) -> StudySummary:
    first = prepared.series[0].facts
    several = len(prepared.series) > 1
    uids = {
        key: uid
        for key, uid in first.uids.items()
        if not several or all(entry.facts.uids.get(key) == uid for entry in prepared.series)
    }
    series = tuple(
        SeriesSummary(entry.input, entry.source, entry.chosen, entry.facts.slices, entry.facts.spacing_mm)
        for entry in prepared.series
    )
    return StudySummary(uids, first.modality, first.slices, first.spacing_mm, prepared.study_warnings, series)
