"""An evaluation study by study: what is known of each, and what each precision said of it."""

from collections import Counter
from collections.abc import Iterator

from ..manifest import Precision
from ..outputs.spreadsheet import csv_table
from ..result.decisions import Decision, decision_for
from .compare import CohortScores
from .evaluation import Evaluation


def rows_table(evaluation: Evaluation) -> str:
    """A CSV table (RFC 4180) of all studies in their order, then of those refused.

    Columns: id, label (what is known, as a cohort's table has it), refused (why, or empty), warnings
    (their number), and of each precision, such as fp32: fp32_decided, fp32_probability for one question, else
    fp32_probability_LABEL, and fp32_right (1 or 0; empty where the label is not known).
    """
    decision = decision_for(evaluation.bundle.manifest)
    outcome = evaluation.outcome
    columns = ["id", "label", "refused", "warnings"]
    for precision in outcome.scores:
        columns += [f"{precision}_decided", *_probabilities(precision, decision), f"{precision}_right"]
    return csv_table(columns, _rows(outcome, decision, len(columns)))


def _probabilities(precision: Precision, decision: Decision) -> list[str]:
    if decision.one_question:
        return [f"{precision}_probability"]
    return [f"{precision}_probability_{label}" for label in decision.labels]


def _rows(outcome: CohortScores, decision: Decision, width: int) -> Iterator[list[str]]:
    decided = {name: decision.decided(scores.probabilities) for name, scores in outcome.scores.items()}
    warned = Counter(remark.id for remark in outcome.warnings)
    for at, (name, label) in enumerate(zip(outcome.ids, outcome.labels, strict=True)):
        cells = [name, _known(label, decision), "", str(warned[name])]
        for precision, scores in outcome.scores.items():
            said = decided[precision][at]
            own = scores.probabilities[at]
            cells.append(_said(said, decision))
            cells += [repr(float(value)) for value in ([own] if own.ndim == 0 else own)]
            cells.append("" if label is None else str(int(_said(said, decision) == _known(label, decision))))
        yield cells
    for remark in outcome.refused:
        yield [remark.id, _known(None, decision), remark.text, "0"] + [""] * (width - 4)


def _known(label: object, decision: Decision) -> str:
    if label is None:
        return "?" if decision.alone else ""
    positions = label if isinstance(label, tuple) else (label,)
    return ";".join(decision.labels[at] if isinstance(at, int) else repr(at) for at in positions)


def _said(said: object, decision: Decision) -> str:
    """What `Decision.decided` gives of one study: a label's position, or of each label whether it holds."""
    held = getattr(said, "ndim", 0)
    if held:
        return ";".join(label for label, holds in zip(decision.labels, said, strict=True) if holds)  # type: ignore[call-overload]
    return decision.labels[int(said)]  # type: ignore[call-overload]
