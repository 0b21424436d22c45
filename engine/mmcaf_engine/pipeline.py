"""The main job: study and record in, answer out. The one module that knows all stages."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import fields
from functools import cache, cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypedDict, Unpack, get_origin, get_type_hints

from .arguments import checked, expect
from .bundle.accuracy import accuracy_summary
from .bundle.bundle import Bundle
from .cancel import CancelToken, Progress, limited, opening_within
from .errors import Remedy, StrictError
from .inputs.prepare import Prepared, prepare
from .inputs.scope import slices_asked
from .machine.cpu import processor
from .outputs import Output, check_writable
from .record.document import RecordSource
from .record.report import ReportSource
from .record.slices import Slices
from .record.tokenizer import Tokenizer, open_tokenizer
from .result.answer import Answer
from .result.assemble import assemble
from .result.attended import agreement_warnings, attended
from .result.branches import branch_scores
from .result.created import Moment, creation_time
from .result.decisions import decision_for
from .result.diagnostics import diagnostics
from .result.ensemble import ensemble_of, ensemble_warnings
from .result.explanations import MAPS, Announce, Explainer, asked_for, draws_map
from .result.heatmap import check_heatmap, draw_heatmap, write_png
from .result.parts import EngineSummary, Explanation, Options
from .result.result import Result
from .result.sources import sources_of
from .result.writers.kinds import Kind, Kinds, check_replacing, check_sources, chosen_kinds
from .result.writers.predecessor import predecessor
from .session.background import BackgroundSession, open_beside
from .session.run import run_windows
from .session.session import Session
from .settings import own_files
from .study import Duplicates, Gaps, Oblique, Series, StudySource, Tilt
from .study.selection.inputs import choices
from .timing import Stopwatch, span

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
    "explain",
    "write",
    "total",
)
"""The keys of `Result.timing_ms`; bundle and open only where no session was given, explain and write only where that
was asked for."""


class AnswerOptions(TypedDict, total=False):
    """How one study is answered; each may be left out.

    report: path of a text file with the report, or its content as bytes, where the record does not hold it.
    series: SeriesInstanceUID, number or path, instead of the best by the rule of docs/studies.md; for a network of
        several series, by input name: {"t2": "3"} or ["t2=3"].
    gaps, tilt, duplicates: what to accept of an irregular series; see `study.read_study`.
    oblique: the same, of MR; None is what the manifest says.
    stride: slices between window starts, instead of the manifest's.
    slices: the first and the last slice to score, as "40-52" or two numbers, counted from 1 at the feet; without it
        all are. Fewer than a window has are scored in the one around them.
    row: of a record that is a CSV table, its number from 1, instead of that of the study's patient.
    allow_id_mismatch: accept a record whose patient id differs from the study's.
    strict: raise instead of answering with warnings.
    explain: also what moved the answer, one word or several: maps of the window that decided, by "attention", "gradcam"
        or "occlusion"; and "record", how each of its fields did. See docs/explanations.md.
    heatmap: also draw these maps over the slices, to this PNG file; where none is named, the attention of a network
        that has it, else Grad-CAM.
    heatmap_over: the input whose slices are drawn; without it, that which a map is about.
    announce: told in words how long what is explained will take, before it begins.
    created: when the result says that it was made, with its time zone; without it, now.
    dicom_objects: objects that the answer will be written as, such as "sr,sc" or "default"; a study that lacks what
        they need is refused before the network runs. `Answer.write_dicom` writes them.
    replaces: the file of a structured report that theirs will take the place of, refused at the same time.
    progress: told of each stage, on the caller's thread, but for an engine that is built, see `BackgroundSession`.
    cancel: ends the work from another thread. deadline: ends it after so many seconds.
    watch: a new stopwatch, for a caller who wants to know every span.
    """

    report: ReportSource | None
    series: Series | None
    gaps: Gaps
    tilt: Tilt
    duplicates: Duplicates
    oblique: Oblique | None
    stride: int | None
    slices: Slices | None
    row: int | None
    allow_id_mismatch: bool
    strict: bool
    explain: str | Sequence[str] | None
    heatmap: str | Path | None
    heatmap_over: str | None
    created: Moment | None
    dicom_objects: Kinds | None
    replaces: str | Path | None
    announce: Announce | None
    progress: Progress | None
    cancel: CancelToken | None
    deadline: float | None
    watch: Stopwatch | None


_DEFAULTS: AnswerOptions = {
    "report": None,
    "series": None,
    "gaps": "refuse",
    "tilt": "refuse",
    "duplicates": "refuse",
    "oblique": None,
    "stride": None,
    "slices": None,
    "row": None,
    "allow_id_mismatch": False,
}
"""Of what the answer depends on."""


def infer(
    study: StudySource | None,
    record: RecordSource | None = None,
    *,
    bundle: str | Path | Bundle | None = None,
    session: Session | None = None,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    open_timeout: float | None = None,
    **options: Unpack[AnswerOptions],
) -> Result:
    """Answer one study: the result of `answer_study`, whose arguments these are."""
    return answer_study(
        study,
        record,
        bundle=bundle,
        session=session,
        backend=backend,
        precision=precision,
        threads=threads,
        open_timeout=open_timeout,
        **options,
    ).result


def answer_study(
    study: StudySource | None,
    record: RecordSource | None = None,
    *,
    bundle: str | Path | Bundle | None = None,
    session: Session | None = None,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    open_timeout: float | None = None,
    **options: Unpack[AnswerOptions],
) -> Answer:
    """Answer one study, with all that other forms of the result are made from.

    A session of its own is opened in a thread: at once where what is kept here has passed the self-test, which is
    quick; else beside the decoding and preprocessing of the pixels, and only once headers, geometry and record are
    accepted: what is refused by them costs no building. To answer several studies, open one session and use an
    `Answerer`.

    Args:
        study, record, options: as for `Answerer.answer`.
        bundle: path or loaded bundle; by default the settings', then the demonstration.
        session: an open session to reuse; `bundle`, `backend`, `precision`, `threads` and `open_timeout` are then not
            looked at.
        open_timeout: as of `open_session`: what bounds the first opening of a network that nobody vouches for.

    Raises:
        BundleError, BackendError: refused; the message says why. And what `Answerer.answer` raises.
    """
    options = _checked(options)
    expect("bundle", bundle, (str, Path, Bundle, type(None)))
    expect("session", session, (Session, type(None)), "Open one with open_session, or leave it out.")
    watch = options["watch"] = options.get("watch") or Stopwatch()
    with ExitStack() as stack:
        stack.enter_context(limited(options.get("cancel"), options.get("deadline")))
        stack.enter_context(opening_within(open_timeout))
        if session is not None:
            return Answerer(session).answer(study, record, **options)
        given: dict[str, Any] = {"backend": backend, "precision": precision, "threads": threads}
        opening, notice = open_beside(bundle, **given, progress=options.get("progress"), watch=watch)
        stack.enter_context(opening)
        return Answerer(opening, notice=notice).answer(study, record, **options)


class Answerer:
    """Answers studies with one session; what is needed per bundle is made once. Safe to call from several threads.

    Args:
        session: open, or opening: it is then waited for by the first study that is accepted.
        notice: a warning for every answer.

    Raises:
        BundleError: nothing here provides the bundle's output decision.
        UsageError: no session.
    """

    def __init__(self, session: Session | BackgroundSession, *, notice: str | None = None) -> None:
        expect("session", session, (Session, BackgroundSession), "Open one with open_session.")
        self.bundle = session.bundle
        self.decision = decision_for(self.bundle.manifest)
        self._session = session
        self._notices = () if notice is None else (notice,)
        self._engine: EngineSummary | None = None
        self._self_test: Mapping[str, Any] = {}

    @cached_property
    def _tokenizer(self) -> Tokenizer | None:
        return open_tokenizer(self.bundle)

    def _opened(self) -> Session:
        return self._session.session() if isinstance(self._session, BackgroundSession) else self._session

    def answer(
        self, study: StudySource | None, record: RecordSource | None = None, **options: Unpack[AnswerOptions]
    ) -> Answer:
        """Answer one study.

        `timing_ms` gives the time spent in each stage, in milliseconds, by all threads together and, for TensorRT, by
        the streams of the GPU; time in which one of them only waited for others is not counted. "total" is wall time,
        and less than the sum where stages ran beside each other.

        Args:
            study: path of a DICOM file (single-frame or multi-frame), a directory, a zip, or a DICOMDIR; or of NIfTI
                files; or a list of pydicom data sets; or a `Volume` in memory, of several inputs a mapping from input
                to volume, each as a `Study` where patient and UIDs are known. For a network that reads a 2D image, a
                single-frame DICOM, PNG or JPEG file in any of these, or data sets. A network that reads no study takes
                None, or the record in its place.
            record: path of a flat JSON record, a FHIR R4 Bundle or a CSV table, what such a file holds as bytes, or the
                parsed object; for a network with text and no table also a .txt file. May be left out when the bundle
                has neither.
            options: see `AnswerOptions`.

        Raises:
            StudyError, RecordError, BundleError, BackendError: that part is refused; the message says why.
            StrictError: `strict` and the answer carries warnings.
            CancelledError, DeadlineError: ended by `cancel` or `deadline`.
            UsageError: an argument is out of range, or a heat map of a network that has none, or where nothing may be
                written.
        """
        options = _checked(options)
        watch = options.get("watch") or Stopwatch()
        with limited(options.get("cancel"), options.get("deadline")), watch.active():
            return self._answer(study, record, watch, options)

    def _answer(
        self, study: StudySource | None, record: RecordSource | None, watch: Stopwatch, options: AnswerOptions
    ) -> Answer:
        manifest, heatmap, over = self.bundle.manifest, options.get("heatmap"), options.get("heatmap_over")
        created = creation_time(options.get("created"))
        asked = asked_for(manifest, options.get("explain"), drawn=heatmap is not None)
        kinds: tuple[Kind, ...] = ()
        if (objects := options.get("dicom_objects")) is not None:
            mapped = any(draws_map(manifest, method) for method in MAPS if method in asked)
            kinds = chosen_kinds(objects, maps=mapped, volume=bool(manifest.volumes))
            check_replacing(kinds, options.get("replaces"))
        if heatmap is not None:
            check_heatmap(manifest, over)
            given = (study, record, options.get("report"), *_named_files(options.get("series")))
            given = (*given, self.bundle.folder, self.bundle.archive, *own_files())
            read = [path for path in given if isinstance(path, str | Path)]
            check_writable([Output("heatmap", Path(heatmap))], inputs=read, force=True)
        if record is None and not manifest.modalities and isinstance(study, str | Path | Mapping):
            study, record = None, study
        prepared = self._prepare(study, record, options)
        if objects is not None:
            check_sources(kinds, sources_of(prepared))
        if (replaced := options.get("replaces")) is not None:
            predecessor(replaced, sources_of(prepared))
        session = self._opened()
        began = perf_counter()
        with span("infer"):
            optional = "attention" in asked or manifest.tells_more
            outputs = run_windows(session, prepared, options.get("progress"), optional=optional)
        seconds = (perf_counter() - began) / len(prepared)
        with span("aggregate"):
            score = self.decision.aggregate(prepared.starts, outputs[manifest.score.name])
            branches = branch_scores(manifest, self.decision, prepared.starts, outputs)
            told_of_itself = diagnostics(manifest, outputs)
            attention = attended(manifest, prepared, outputs, score.deciding) if "attention" in asked else None
            ensemble = ensemble_of(manifest, score)
            warnings = (*self._warnings(session, prepared), *agreement_warnings(attention))
            warnings = (*warnings, *ensemble_warnings(ensemble))
        if options.get("strict") and warnings:
            raise StrictError(
                f"Not answered, since there are warnings ({len(warnings)}): {' '.join(warnings)}",
                Remedy("Resolve them, or leave this out", option="strict"),
            )
        told = (partial(run_windows, session), options.get("progress"), options.get("announce"))
        explainer = Explainer(session, prepared, outputs, score, self.decision, seconds, *told)
        with span("explain") if asked else nullcontext():
            maps, influence = explainer.maps(asked), explainer.influence(asked)
        if heatmap is not None:
            with span("write"):
                write_png(Path(heatmap), draw_heatmap(prepared, maps, over=over))
        with span("aggregate"):
            engine = self._engine_of(session)
        timing_ms = {**watch.stages_ms(), "total": watch.total_ms()}
        result = assemble(
            self.bundle,
            prepared,
            score,
            self.decision.wording(score),
            created=created,
            engine=engine,
            options=_kept(engine, options, asked, [entry.input for entry in prepared.studied]),
            warnings=warnings,
            influence=influence,
            timing_ms={stage: round(timing_ms[stage], 3) for stage in STAGES if stage in timing_ms},
            attention=attention,
            ensemble=ensemble,
            branch_scores=branches,
            diagnostics=told_of_itself,
        )
        return Answer(result, self.bundle, prepared, outputs, score, maps, self._self_test)

    def _prepare(self, study: StudySource | None, record: RecordSource | None, options: AnswerOptions) -> Prepared:
        return prepare(
            study,
            record,
            self.bundle.manifest,
            report=options["report"],
            tokenizer=self._tokenizer,
            series=options["series"],
            gaps=options["gaps"],
            tilt=options["tilt"],
            duplicates=options["duplicates"],
            oblique=options["oblique"],
            stride=options["stride"],
            slices=options["slices"],
            row=options["row"],
            allow_id_mismatch=options["allow_id_mismatch"],
            progress=options.get("progress"),
            accepted=self._session.start if isinstance(self._session, BackgroundSession) else None,
        )

    def _engine_of(self, session: Session) -> EngineSummary:
        """There is one session, but perhaps not before it is needed."""
        if self._engine is None:
            facts = session.describe()
            self._engine, self._self_test = _engine(session, facts), facts["self_test"]
        return self._engine

    def _warnings(self, session: Session, prepared: Prepared) -> tuple[str, ...]:
        warnings = [*self._notices, *self.bundle.origin.warnings]
        if session.fallback:
            warnings.append(f"{session.backend} answered instead of a preferred backend: {session.fallback}.")
        if session.degraded:
            warnings.append(f"{session.backend} is slower than it should be on {session.device}: {session.degraded}.")
        return (*warnings, *prepared.study_warnings, *prepared.record_warnings)


def _named_files(series: Series | None) -> list[str]:
    """What `AnswerOptions.series` may name as paths."""
    if series is None or isinstance(series, str):
        values = [series] if series else []
    else:
        values = list(series.values() if isinstance(series, Mapping) else series)
    return [str(value).partition("=")[2] or str(value) for value in values]


def _checked(options: AnswerOptions) -> AnswerOptions:
    """The options, each of the type that it should be.

    Raises:
        TypeError: one of another name; a misspelt option must not be one that is left out: strict would not be.
        UsageError: a value of another type.
    """
    if unknown := sorted(options.keys() - AnswerOptions.__annotations__.keys()):
        known = ", ".join(AnswerOptions.__annotations__)
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}; options are {known}")
    types = _option_types()
    found: AnswerOptions = {**_DEFAULTS, **options}
    found.update(checked({name: value for name, value in options.items() if name in types}, types))  # type: ignore[typeddict-item]
    return found


@cache
def _option_types() -> dict[str, Any]:
    """Name -> type of each option, but of those that are one of a few words: `Policies` knows these."""
    hints = get_type_hints(AnswerOptions)
    return {name: hint for name, hint in hints.items() if get_origin(hint) is not Literal}


def _engine(session: Session, facts: Mapping[str, Any]) -> EngineSummary:
    """What runs the network; the same for every study of a session.

    Args:
        facts: what the session tells of itself.

    Raises:
        BundleError: the bundle's accuracy.json is invalid.
    """
    return EngineSummary(
        backend=session.backend,
        precision=session.precision,
        device=session.device,
        runtime=facts["runtime"],
        runtime_version=facts["version"],
        processor=processor().name,
        threads=facts["threads"],
        kernels=facts["kernels"],
        fallback=session.fallback,
        accuracy=accuracy_summary(session.bundle, session.precision),
    )


def _kept(
    engine: EngineSummary, options: AnswerOptions, asked: tuple[Explanation, ...], inputs: Sequence[str]
) -> Options:
    """What the answer depends on, for whoever wants it again: what "auto" meant is said by name."""
    given: dict[str, Any] = {**options}
    given["series"] = (choices(options.get("series"), inputs) or None) if inputs else None
    span = slices_asked(options.get("slices"))
    given["slices"] = None if span is None else (span.first, span.last)
    given |= {"backend": engine.backend, "precision": engine.precision, "threads": engine.threads, "explain": asked}
    return Options(**{part.name: given[part.name] for part in fields(Options)})
