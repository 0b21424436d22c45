"""What an evaluation says beyond one figure, as tables that a person reads: intervals, calibration, subgroups."""

from collections.abc import Iterable

from mmcaf_engine.evaluation.analysis import QuestionAnalysis, QuestionComparison
from mmcaf_engine.evaluation.evaluation import Evaluation
from mmcaf_engine.evaluation.statistics.intervals import Figure, Proportion
from mmcaf_engine.evaluation.statistics.operating import OperatingPoint

from .text_table import text_table

SHOWN_ERRORS = 10
"""At most so many studies that were decided wrongly are listed; the JSON report has all."""

_RATIOS = ("sensitivity", "specificity", "ppv", "npv")
_DECISION_HEADS = ("right alone", "fp32 right alone", "p (McNemar)")
_POINT_HEADS = ("cutoff", "sensitivity", "specificity", "PPV", "NPV")


def analysis_lines(report: Evaluation) -> list[str]:
    """Of FP32 each question's operating points and calibration, comparisons, subgroups, and wrong decisions."""
    questions = report.analyses.get("fp32", ())
    if not questions:
        return []
    lines = ["", "fp32, 95 % intervals by Wilson's method", *text_table(_points(questions))]
    lines += ["", "calibration of fp32 (95 % intervals)", *text_table(_calibration(questions))]
    lines += _compared(report.comparisons)
    for column in report.subgroups:
        head = (column.column, "studies", "label", "positives", "AUROC", "sensitivity", "specificity")
        rows: list[tuple[str, ...]] = [head]
        for group in column.groups:
            rows += [_of_group(group.name, group.studies, question) for question in group.questions]
            rows += [] if group.questions else [(group.name, str(group.studies), *["-"] * 5)]
        lines += ["", *text_table(rows)]
    return lines + _errors(report)


def _points(questions: Iterable[QuestionAnalysis]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("decided by", *_POINT_HEADS)]
    for question in questions:
        rows.append((f"{question.name}: the bundle", *_point(question.decided)))
        rows += [
            (f"{question.name}: {one.rule}, chosen on {one.chosen_on}", *_point(one.point))
            for one in question.operating_points
        ]
    return rows


def _point(point: OperatingPoint) -> tuple[str, ...]:
    return (_number(point.threshold), *(proportion(getattr(point, name)) for name in _RATIOS))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _calibration(questions: Iterable[QuestionAnalysis]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("label", "AUROC (DeLong)", "Brier score", "slope", "intercept")]
    for question in questions:
        found = question.calibration
        figures = ("-",) * 3 if found is None else tuple(map(figure, (found.brier, found.slope, found.intercept)))
        rows.append((question.name, figure(question.auroc.delong), *figures))
    return rows


def _compared(comparisons: dict[str, tuple[QuestionComparison, ...]]) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("beside fp32", "label", "studies", "AUROC difference (DeLong)", "p", *_DECISION_HEADS)
    ]
    for name, each in comparisons.items():
        for one in each:
            p = "-" if one.auroc.p is None else f"{one.auroc.p:.3g}"
            counts = (str(one.decisions.only_first), str(one.decisions.only_second), f"{one.decisions.p:.3g}")
            title = "this bundle, beside the other" if name == "against" else name
            rows.append((title, one.name, str(one.studies), figure(one.auroc.difference, signed=True), p, *counts))
    return ["", *text_table(rows)] if len(rows) > 1 else []


def _of_group(name: str, studies: int, question: QuestionAnalysis) -> tuple[str, ...]:
    decided = question.decided
    return (
        name,
        str(studies),
        question.name,
        f"{question.positives} of {question.studies}",
        figure(question.auroc.delong),
        proportion(decided.sensitivity),
        proportion(decided.specificity),
    )


def _errors(report: Evaluation) -> list[str]:
    if not report.errors:
        return []
    studies = len({error.id for error in report.errors})
    lines = ["", f"decided wrongly by fp32: {studies} of {report.accuracy.cohort.labelled} studies with a label"]
    for error in report.errors[:SHOWN_ERRORS]:
        lines.append(
            f"  {error.id}: {error.name} {'holds' if error.holds else 'does not hold'}, score {error.score:.4f}"
        )
    more = len(report.errors) - SHOWN_ERRORS
    return lines + ([f"  and {more} more: see --json"] if more > 0 else [])


def figure(found: Figure, *, signed: bool = False) -> str:
    """A figure with its interval, or "too few" where there is none."""
    if found.value is None:
        return "-"
    sign = "+" if signed else ""
    if found.low is None or found.high is None:
        return f"{found.value:{sign}.3f} (too few)" if "too few" in found.note else f"{found.value:{sign}.3f}"
    return f"{found.value:{sign}.3f} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"


def proportion(found: Proportion) -> str:
    """A proportion with its interval; a dash where there is nothing to count."""
    if found.value is None:
        return "-"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
