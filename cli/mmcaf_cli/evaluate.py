"""`mmcaf evaluate COHORT`: what each precision of a bundle costs, on stdout as text or JSON."""

import json as json_format
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_engine.errors import BackendError, Remedy, StrictError, StudyError, UsageError
from mmcaf_engine.evaluation.cases import Cohort
from mmcaf_engine.evaluation.cohort import open_cohort
from mmcaf_engine.evaluation.compare import evaluate
from mmcaf_engine.evaluation.evaluation import Evaluation
from mmcaf_engine.evaluation.metrics import both_labels
from mmcaf_engine.evaluation.roc_plot import draw_roc, require_matplotlib, roc_curves
from mmcaf_engine.manifest import Precision
from mmcaf_engine.outputs import Output, check_writable, write_all
from mmcaf_engine.result.decisions import decision_for
from mmcaf_engine.session.session import Session, keeps_reports, open_session

from .evaluate_text import render
from .progress import ProgressBar

KEPT_REPORTS = 64
"""Encoded reports that a session keeps: enough for a cohort in which the images of a report stand together."""


def evaluate_command(
    source: str,
    path: Path | None,
    precisions: list[str],
    backend: str,
    threads: int | None,
    json: bool,
    out: Path | None,
    roc: Path | None,
    limit: int | None,
    strict: bool,
) -> None:
    """Refuse what cannot work, run the cohort, print the report, then write what was asked for."""
    wanted = _precisions(precisions)
    report_file = None if out is None else Output("out", out)
    drawing = None if roc is None else Output("roc", roc)
    if drawing is not None:
        _check_png(drawing.path)
    named = [output for output in (report_file, drawing) if output is not None]
    check_writable(named, inputs=[source, path], force=True)
    bundle = _bundle(path)
    cohort = open_cohort(source, bundle.manifest)
    cohort = cohort if limit is None else cohort.first(limit)
    if roc is not None and not decision_for(bundle.manifest).one_question:
        raise UsageError(
            f"{bundle.manifest.name} tells {len(bundle.manifest.labels)} labels apart; a ROC curve is of two.",
            Remedy("The report has each label's AUROC; leave this out", option="roc"),
        )
    if roc is not None and not both_labels([case.label for case in cohort if case.label is not None]):
        raise UsageError(
            f"{cohort.source}: no ROC curve without studies of both labels of {bundle.manifest.name}.",
            "Fill in the column label, or leave --roc out.",
        )
    report = _run(bundle, cohort, wanted, backend, threads)
    text = json_format.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    print(text if json else render(report), flush=True)
    if report_file is not None:
        write_all([(report_file, text + "\n")], force=True)
    if drawing is not None:
        write_all([(drawing, _drawn(report, drawing.path))], force=True)
    if strict and report.failures():
        raise StrictError(f"--strict: {'; '.join(report.failures())}.", "Resolve it, or run without --strict.")


def _precisions(given: list[str]) -> list[Precision]:
    """The precisions that were asked for, FP32 first; none when nobody asked."""
    known: tuple[Precision, ...] = get_args(Precision)
    unknown = [name for name in given if name not in known]
    if unknown:
        raise UsageError(f"No precision is called {unknown[0]!r}.", f"Choose among: {', '.join(known)}.")
    return [name for name in known if name in given or name == "fp32"] if given else []


def _bundle(path: Path | None) -> Bundle:
    if path is not None:
        return load_bundle(path)
    default = default_bundle()
    if default.notice:
        print(f"warning: {default.notice}", file=sys.stderr)
    return load_bundle(default.path)


def _run(bundle: Bundle, cohort: Cohort, wanted: list[Precision], backend: str, threads: int | None) -> Evaluation:
    """Open every precision, then score the cohort. One that nobody named may be missing, and is said to be."""
    sessions: dict[Precision, Session] = {}
    not_run: dict[Precision, str] = {}
    with ExitStack() as opened:
        for precision in wanted or sorted(bundle.manifest.models, key=get_args(Precision).index):
            try:
                can = keeps_reports(bundle, backend=backend, precision=precision, threads=threads)
                reports = KEPT_REPORTS if can.available else 0
                session = open_session(bundle, backend=backend, precision=precision, threads=threads, reports=reports)
            except BackendError as failure:
                if wanted or precision == "fp32":
                    raise
                not_run[precision] = str(failure)
            else:
                sessions[precision] = opened.enter_context(session)
        fallbacks = {name: session.fallback for name, session in sessions.items() if session.fallback}
        for name, reason in fallbacks.items():
            print(f"warning: {name} runs on {sessions[name].backend}: {reason}", file=sys.stderr)
        with ProgressBar() as progress:
            accuracy, outcome = evaluate(cohort, sessions, progress=progress)
    return Evaluation(bundle, accuracy, outcome, not_run, fallbacks)


def _drawn(report: Evaluation, file: Path) -> bytes:
    curves = roc_curves(report.accuracy, report.outcome, decision_for(report.bundle.manifest))
    if not curves:
        raise StudyError(f"{file}: not drawn; the refusals left no studies of both labels.", "Resolve the refusals.")
    cohort = report.accuracy.cohort
    return draw_roc(curves, f"{report.bundle.manifest.name}, {cohort.labelled} studies, {cohort.positives} positive")


def _check_png(file: Path) -> None:
    if file.suffix.lower() != ".png":
        raise UsageError(f"{file}: the ROC curves are drawn as PNG.", "Choose a path for --roc that ends in .png.")
    require_matplotlib()
