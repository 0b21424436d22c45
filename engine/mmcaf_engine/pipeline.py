"""The main job in one call: study and record in, answer out."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .bundle.accuracy import accuracy_summary
from .bundle.bundle import Bundle, load_bundle
from .bundle.default import default_bundle
from .cancel import Progress
from .errors import Remedy, StrictError
from .inputs.prepare import Prepared, prepare
from .record.tokenizer import open_tokenizer
from .result.aggregate import aggregate
from .result.heatmap import check_heatmap, draw_heatmap, write_png
from .result.result import (
    NOT_A_MEDICAL_DEVICE,
    WORD_PIECES,
    EngineSummary,
    ModelSummary,
    RecordSummary,
    Result,
    SeriesSummary,
    StudySummary,
)
from .session.run import run_windows
from .session.session import Session, open_session
from .study import Duplicates, Gaps, Series, Tilt
from .timing import Stopwatch, waiting

STAGES = (
    "bundle",
    "read",
    "geometry",
    "record",
    "decode",
    "preprocess",
    "open",
    "copy_in",
    "infer",
    "copy_out",
    "aggregate",
    "write",
    "total",
)
"""The keys of `Result.timing_ms`; bundle and open only where no session was given, write only with a heat map."""


def infer(
    study: str | Path | None,
    record: str | Path | Mapping[str, Any] | None = None,
    *,
    report: str | Path | None = None,
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
    watch: Stopwatch | None = None,
) -> Result:
    """Answer one study.

    A session of its own is opened in a thread, beside the decoding and preprocessing of the pixels, and
    only once headers, geometry and record are accepted: what is refused by them costs no opening.
    `timing_ms` gives the time spent in each stage, in milliseconds, by all threads together and, for TensorRT, by the
    streams of the GPU; time in which one of them only waited for others is not counted. "total" is wall time, and less
    than the sum where stages ran beside each other.

    Args:
        study: a DICOM file (single-frame or multi-frame), a directory, a zip, or a DICOMDIR; or NIfTI files. For a
            network that reads a 2D image, a single-frame DICOM, PNG or JPEG file in any of these. A network that reads
            no study takes None, or the record in its place.
        record: path of a flat JSON record, or the parsed object; for a network with text and no table also a .txt file.
            May be left out when the bundle has neither.
        report: path of a text file with the report, where the record does not hold it.
        bundle: path or loaded bundle; by default $MMCAF_BUNDLE, the user's configuration, then the demo.
        session: an open session to reuse; `bundle`, `backend`, `precision` and `threads` are then not looked at.
        series: SeriesInstanceUID, number or path, instead of the best by the rule of docs/studies.md; for a network of
            several series, by input name: {"t2": "3"} or ["t2=3"].
        gaps, tilt, duplicates: what to accept of an irregular series; see `study.read_study`.
        stride: slices between window starts, instead of the manifest's.
        strict: raise instead of answering with warnings.
        heatmap: also draw the network's attention over the slices, to this PNG file.
        heatmap_over: the volume input whose slices are drawn; the first without it.
        watch: a new stopwatch, for a caller who wants to know every span.

    Raises:
        StudyError, RecordError, BundleError, BackendError: that part is refused; the message says why.
        StrictError: `strict` and the answer carries warnings.
        UsageError: an argument is out of range, or a heat map of a network without attention.
    """
    watch = watch or Stopwatch()
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
    if record is None and not manifest.modalities:
        study, record = None, study

    def open_own(building: Progress) -> Session:
        with watch.span("open"):
            return open_session(opened, backend=backend, precision=precision, threads=threads, progress=building)

    with watch.active(), _BackgroundSession(session, open_own, progress) as opening:
        prepared = prepare(
            study,
            record,
            manifest,
            report=report,
            tokenizer=open_tokenizer(opened),
            series=series,
            gaps=gaps,
            tilt=tilt,
            duplicates=duplicates,
            stride=stride,
            allow_id_mismatch=allow_id_mismatch,
            progress=progress,
            accepted=opening.start,
        )
        used = opening.session()
        if used.fallback:
            warnings.append(f"{used.backend} answered instead of a preferred backend: {used.fallback}.")
        if used.degraded:
            warnings.append(f"{used.backend} is slower than it should be on {used.device}: {used.degraded}.")
        with watch.span("infer"):
            outputs = run_windows(used, prepared, progress)
        with watch.span("aggregate"):
            cost = accuracy_summary(opened, used.precision)
            engine = EngineSummary(used.backend, used.precision, used.device, used.fallback, cost)

    with watch.span("aggregate"):
        score = aggregate(prepared.starts, outputs[manifest.score.name], manifest)
    warnings += [*prepared.study_warnings, *prepared.record_warnings]
    if strict and warnings:
        raise StrictError(
            f"Not answered, since there are warnings ({len(warnings)}): {' '.join(warnings)}",
            Remedy("Resolve them, or leave this out", option="strict"),
        )
    if heatmap is not None:
        with watch.span("write"):
            write_png(Path(heatmap), draw_heatmap(manifest, prepared, outputs, score.deciding, over=heatmap_over))
    timing_ms = {**watch.stages_ms(), "total": watch.total_ms()}
    return Result(
        label=score.said,
        probability=score.probability,
        probabilities=dict(zip(manifest.labels, score.probabilities, strict=True)),
        logit=score.logit,
        threshold=score.threshold,
        windows=score.windows if prepared.series else (),
        study=_summary(prepared),
        record=_record(prepared),
        model=ModelSummary(manifest.name, opened.sha256),
        engine=engine,
        timing_ms={stage: round(timing_ms[stage], 3) for stage in STAGES if stage in timing_ms},
        warnings=tuple(warnings),
        disclaimer=f"{manifest.intended_use} {NOT_A_MEDICAL_DEVICE}".strip(),
        findings=score.findings,
    )


class _BackgroundSession:
    """A session: one that was given, or one that opens in a thread from `start` on and is closed with the block."""

    def __init__(
        self, given: Session | None, open_own: Callable[[Progress], Session], progress: Progress | None
    ) -> None:
        self._given = given
        self._open_own = open_own
        self._progress = progress or (lambda stage, done, total: None)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="open")
        self._own: Future[Session] | None = None
        self._telling = threading.Lock()
        self._waited_for = self._left = False

    def start(self) -> None:
        if self._given is None:
            self._own = self._thread.submit(self._open_own, self._building)

    def session(self) -> Session:
        """The session, once it is open; raises what its opening raised."""
        if self._given is not None:
            return self._given
        if self._own is None:
            raise RuntimeError("session() came before start()")
        with self._telling:
            self._waited_for = True
            self._progress("open", 0, 1)
        with waiting():
            opened = self._own.result()
        self._progress("open", 1, 1)
        return opened

    def _building(self, phase: str, done: int, total: int) -> None:
        """Of an engine; told on where nothing else is being told, and ended where nobody waits for it any more."""
        if self._left:
            raise RuntimeError("nobody waits for this session")
        with self._telling:
            if self._waited_for:
                self._progress(phase, done, total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
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


def _record(prepared: Prepared) -> RecordSummary | None:
    """What the network saw of record and report; None where it reads neither."""
    record, text = prepared.clinical.record, prepared.clinical.text
    if record is None and text is None:
        return None
    features = {} if record is None else record.features | record.cuts
    missing = () if record is None else record.missing
    if text is not None:
        features = features | {WORD_PIECES: float(text.kept)}
        missing = missing if text.kept else (*missing, "report")
    return RecordSummary(features, missing, prepared.record_warnings)


def _summary(prepared: Prepared) -> StudySummary:
    studied = prepared.studied
    if not studied:
        return StudySummary({}, "", 0, (0.0, 0.0, 0.0), ())
    first = studied[0].facts
    several = len(studied) > 1
    uids = {
        key: uid
        for key, uid in first.uids.items()
        if not several or all(entry.facts.uids.get(key) == uid for entry in studied)
    }
    series = tuple(
        SeriesSummary(entry.input, entry.source, entry.chosen, entry.facts.slices, entry.facts.spacing_mm)
        for entry in studied
    )
    return StudySummary(uids, first.modality, first.slices, first.spacing_mm, prepared.study_warnings, series)
