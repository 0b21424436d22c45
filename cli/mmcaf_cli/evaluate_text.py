"""The outcome of `mmcaf evaluate` as tables that a person reads."""

from mmcaf_engine.bundle.accuracy import Accuracy, Estimate, Performance, PrecisionAccuracy
from mmcaf_engine.evaluation.evaluation import Evaluation
from mmcaf_engine.result.decisions import Decision, decision_for

from .evaluate_analysis import analysis_lines
from .text_table import text_table

SHOWN_REMARKS = 10
"""At most so many refusals and warnings are listed; the JSON report has all."""

_RATIOS = ("accuracy", "f1", "specificity", "sensitivity", "ppv", "npv")
_HEADS = ("ACC", "F1", "specificity", "sensitivity", "PPV", "NPV")


def render(report: Evaluation) -> str:
    """Cohort, performance per precision, what each costs against FP32, and what was left out."""
    manifest, accuracy, outcome = report.bundle.manifest, report.accuracy, report.outcome
    decision = decision_for(manifest)
    cutoff = f", {decision.cutoff()}" if decision.cutoff() else ""
    runs = {"fp32": accuracy.reference, **{name: part.runtime for name, part in accuracy.precisions.items()}}
    lines = [
        f"cohort     {_cohort(accuracy, decision)}",
        f"model      {manifest.name}, bundle {report.bundle.sha256[:12]}{cutoff}",
        *(f"{name:<10} {run.backend} {run.version} on {run.device}" for name, run in runs.items()),
        *(f"{name:<10} not run: {reason}" for name, reason in report.not_run.items()),
    ]
    lines += _performance(accuracy, decision) if accuracy.cohort.labelled else []
    lines += _per_label(accuracy, decision)
    lines += _costs(accuracy)
    lines += analysis_lines(report)
    lines += _remarks("refused", [(remark.id, remark.text) for remark in outcome.refused])
    lines += _remarks("warnings", [(remark.id, remark.text) for remark in outcome.warnings])
    return "\n".join([*lines, "", report.disclaimer])


def _cohort(accuracy: Accuracy, decision: Decision) -> str:
    cohort = accuracy.cohort
    parts = [cohort.source, _studies(cohort.studies)]
    parts += decision.cohort_words(cohort) if cohort.labelled else ()
    unlabelled = cohort.studies - cohort.labelled
    parts += [f"{unlabelled} without a label"] if unlabelled else []
    parts += [f"{cohort.refused} more refused"] if cohort.refused else []
    return ", ".join(parts)


def _performance(accuracy: Accuracy, decision: Decision) -> list[str]:
    """The table of the labelled studies, of several labels their means; a ratio that is not defined is a dash."""
    rows = [(decision.mean_title, "AUROC (95 % interval)", *_HEADS), _row("fp32", accuracy.reference.performance)]
    rows += [_row(name, part.performance) for name, part in accuracy.precisions.items()]
    return ["", *text_table(rows)]


def _per_label(accuracy: Accuracy, decision: Decision) -> list[str]:
    """Of several labels, how FP32 answers the question about each."""
    tables = accuracy.reference.performance.per_label
    if not tables:
        return []
    alone = decision.alone
    head = ("threshold", "studies", "AUROC (95 % interval)") if alone else ("studies", "AUROC")
    rows: list[tuple[str, ...]] = [(f"fp32, {decision.table_title}", *head, *_HEADS)]
    for table in tables:
        ratios = [_ratio(getattr(table, ratio)) for ratio in _RATIOS]
        threshold = [f"{table.threshold:g}"] if alone else []
        area = _interval(table.interval) if alone else _ratio(table.auroc)
        rows.append((decision.question_title(table.label), *threshold, str(table.studies), area, *ratios))
    return ["", *text_table(rows)]


def _row(name: str, performance: Performance) -> tuple[str, ...]:
    ratios = [_ratio(getattr(performance.decisions, ratio)) for ratio in _RATIOS]
    return (name, _interval(performance.auroc), *ratios)


def _interval(area: Estimate | None) -> str:
    if area is None:
        return "-"
    interval = f"{area.low:.3f} to {area.high:.3f}" if area.low < area.high else "too few"
    return f"{area.value:.3f} ({interval})"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _costs(accuracy: Accuracy) -> list[str]:
    if not accuracy.precisions:
        return ["", "Nothing to compare: fp32 alone was run."]
    head = ("against fp32", "probability: largest", "mean", "logit: largest", "labels changed", "AUROC (95 % interval)")
    rows = [(*head, "bound"), *(_cost(name, part, accuracy) for name, part in accuracy.precisions.items())]
    lines = ["", *text_table(rows)]
    lines += [
        f"{name} fails: {'; '.join(part.reasons)}." for name, part in accuracy.precisions.items() if not part.passed
    ]
    lines += sorted({part.auroc_note for part in accuracy.precisions.values() if part.auroc_note})
    return lines


def _cost(name: str, part: PrecisionAccuracy, accuracy: Accuracy) -> tuple[str, ...]:
    return (
        name,
        f"{part.max_probability_difference:.4f}",
        f"{part.mean_probability_difference:.4f}",
        f"{part.max_logit_difference:.4f}",
        f"{part.flips.count} of {accuracy.cohort.studies} ({part.flips.fraction:.1%})",
        _signed(part.auroc_difference),
        "passed" if part.passed else "FAILED",
    )


def _signed(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not measured"
    return f"{estimate.value:+.4f} ({estimate.low:+.4f} to {estimate.high:+.4f})"


def _remarks(kind: str, remarks: list[tuple[str, str]]) -> list[str]:
    if not remarks:
        return []
    lines = ["", f"{kind}: {len(remarks)}", *(f"  {name}: {text}" for name, text in remarks[:SHOWN_REMARKS])]
    return lines + ([f"  and {len(remarks) - SHOWN_REMARKS} more: see --json"] if len(remarks) > SHOWN_REMARKS else [])


def _studies(count: int) -> str:
    return "1 study" if count == 1 else f"{count} studies"
