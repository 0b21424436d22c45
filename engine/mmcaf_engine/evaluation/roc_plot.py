"""The ROC curves of several precisions as one figure, drawn by matplotlib (extra: plot)."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO

from ..bundle.accuracy import Accuracy, Estimate, Performance
from ..errors import BackendError, Remedy, StudyError, UsageError
from ..machine.installation import install_command
from ..machine.plugins import attributing_errors
from ..manifest import Manifest, Precision
from ..result.decisions import Decision, decision_for
from .cases import Cohort
from .compare import CohortScores
from .evaluation import Evaluation
from .metrics import RocCurve, both_labels, roc_curve
from .performance import questions_of

INCHES, DOTS_PER_INCH = 3.5, 300
"""Width and height of the figure: one column of a paper."""

# Colour, line and width; Okabe and Ito's colours, told apart with any colour vision. FP32 is a broad band
# below the others, so that curves which coincide with it are all seen.
_STYLES: dict[Precision, tuple[str, str | tuple[float, tuple[float, float]], float]] = {
    "fp32": ("#C4C4C4", "-", 3.6),
    "fp16": ("#0072B2", "-", 1.0),
    "bf16": ("#009E73", (0, (4, 3)), 1.3),
    "int8": ("#D55E00", (0, (1, 1.6)), 1.7),
    "int8-bf16": ("#CC79A7", (0, (2, 2)), 1.3),
}


@dataclass(frozen=True)
class Curve:
    """One line of the figure."""

    precision: Precision
    points: RocCurve
    area: Estimate


def require_matplotlib() -> None:
    """Ask for it before long work begins.

    Raises:
        BackendError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise BackendError(
            "Drawing the ROC curves needs matplotlib, which is not installed.",
            Remedy("Install it", command=install_command("plot")),
            Remedy("Or leave the curves out", option="roc"),
        )


def check_roc(manifest: Manifest, cohort: Cohort) -> None:
    """Refuse, before the work, curves that could not be drawn.

    Raises:
        BackendError: matplotlib is not installed.
        UsageError: the network tells several labels apart, or no two labels are known.
    """
    require_matplotlib()
    leave_out = Remedy("Leave it out", option="roc")
    if not decision_for(manifest).one_question:
        raise UsageError(
            f"{manifest.name} tells {len(manifest.labels)} labels apart; a ROC curve is of two.",
            leave_out,
            "The report has each label's AUROC.",
        )
    if not both_labels([case.label for case in cohort if case.label is not None]):
        raise UsageError(
            f"{cohort.source}: no ROC curve without studies of both labels of {manifest.name}.",
            "Fill in the column label.",
            leave_out,
        )


def draw_evaluation(evaluation: Evaluation) -> bytes:
    """The curves of every precision as a PNG; see `draw_roc`.

    Raises:
        StudyError: the studies that were refused leave none to draw.
    """
    decision = decision_for(evaluation.bundle.manifest)
    with attributing_errors(type(decision), "while its ROC curves were computed"):
        curves = roc_curves(evaluation.accuracy, evaluation.outcome, decision)
    if not curves:
        raise StudyError(
            "The ROC curves are not drawn; the refusals left no studies of both labels.", "Resolve the refusals."
        )
    cohort = evaluation.accuracy.cohort
    title = f"{evaluation.bundle.manifest.name}, {cohort.labelled} studies, {cohort.positives} positive"
    return draw_roc(curves, title)


def roc_curves(accuracy: Accuracy, outcome: CohortScores, decision: Decision) -> list[Curve]:
    """The curve of every precision over the studies whose label is known, FP32 first; none without both labels.

    Args:
        decision: one of a single question.
    """
    performances: dict[Precision, Performance] = {"fp32": accuracy.reference.performance}
    performances |= {name: measured.performance for name, measured in accuracy.precisions.items()}
    curves = []
    for name, performance in performances.items():
        asked = questions_of(outcome.labels, outcome.scores[name].probabilities, decision)
        points = None if asked is None else roc_curve(asked.each[0].truth, asked.each[0].score)
        if points is not None and performance.auroc is not None:
            curves.append(Curve(name, points, performance.auroc))
    return curves


def draw_roc(curves: Sequence[Curve], title: str) -> bytes:
    """The curves as a PNG; the same curves give the same bytes with the same matplotlib.

    Args:
        curves: at least one, drawn in this order.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({"font.family": "DejaVu Sans", "font.size": 7.5, "axes.linewidth": 0.6}):
        figure = Figure(figsize=(INCHES, INCHES), dpi=DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.6, linestyle=(0, (8, 5)))
        for curve in curves:
            colour, line, width = _STYLES[curve.precision]
            axes.plot(
                curve.points.false_positive_rate,
                curve.points.sensitivity,
                color=colour,
                linestyle=line,
                linewidth=width,
                label=f"{curve.precision.upper()}  {_interval(curve.area)}",
            )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set(xlabel="1 \N{MINUS SIGN} specificity", ylabel="Sensitivity")
        axes.set_title(title, fontsize=7)
        axes.legend(loc="lower right", title="AUROC (95 % interval)", frameon=False)
        drawn = BytesIO()
        figure.savefig(drawn, format="png", metadata={"Software": None})
        return drawn.getvalue()


def _interval(area: Estimate) -> str:
    return f"{area.value:.3f} ({area.low:.3f} to {area.high:.3f})"
