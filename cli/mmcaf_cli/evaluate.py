"""`mmcaf evaluate COHORT`: what each precision of a bundle costs, on stdout as text or JSON."""

from pathlib import Path

from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_engine.cancel import CancelToken, limited
from mmcaf_engine.errors import MmcafError, Remedy, StrictError
from mmcaf_engine.evaluation.cohort import open_cohort
from mmcaf_engine.evaluation.further import NOTHING_FURTHER, Further, evaluate_further, open_further
from mmcaf_engine.evaluation.roc_plot import check_roc, draw_evaluation
from mmcaf_engine.evaluation.rows import rows_table
from mmcaf_engine.outputs import Output

from .console import to_json, warn
from .evaluate_text import render
from .progress import ProgressBar
from .report import Report, png


def evaluate_command(
    source: str,
    path: Path | None,
    precisions: list[str],
    backend: str,
    threads: int | None,
    roc: Path | None,
    limit: int | None,
    strict: bool,
    report: Report,
    rows: Path | None = None,
    further: Further = NOTHING_FURTHER,
) -> None:
    """Refuse what cannot work, run the cohort, print the report, then write what was asked for."""
    drawing = None if roc is None else png("roc", roc)
    table = None if rows is None else Output("rows", rows)
    others = [one for one in (drawing, table) if one is not None]
    report.check(*others, inputs=[source, path, further.against, further.choose_on])
    columns = [grouping.column for grouping in further.groupings()]
    bundle = _bundle(path)
    cohort = open_cohort(source, bundle.manifest, columns)
    cohort = cohort if limit is None else cohort.first(limit)
    beside = open_further(bundle, cohort, further)
    report.check(*others, inputs=[*cohort.files, *beside.files])
    if drawing is not None:
        check_roc(bundle.manifest, cohort)
    with limited(CancelToken()), ProgressBar() as progress:  # So that Ctrl-C ends what a runtime does not.
        found = evaluate_further(
            bundle,
            cohort,
            beside,
            precisions=precisions,
            backend=backend,
            threads=threads,
            progress=progress,
        )
    written: list[tuple[Output, str | bytes]] = []
    failure: MmcafError | None = None
    if table is not None:
        written.append((table, rows_table(found)))
    if drawing is not None:
        try:
            written.append((drawing, draw_evaluation(found)))
        except MmcafError as raised:  # What was measured is given all the same.
            failure = raised
    report.give(lambda: render(found), lambda: to_json(found.to_dict()), others=written)
    if failure is not None:
        raise failure
    if strict and found.failures():
        raise StrictError(
            f"--strict: {'; '.join(found.failures())}.", Remedy("Resolve it, or leave this out", option="strict")
        )


def _bundle(path: Path | None) -> Bundle:
    if path is not None:
        return load_bundle(path)
    default = default_bundle()
    if default.notice:
        warn(default.notice)
    return load_bundle(default.path)
