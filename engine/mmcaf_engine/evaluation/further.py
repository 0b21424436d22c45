"""An evaluation with what is asked beside the bundle's precisions: groups, operating points, another bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bundle.bundle import Bundle, load_bundle
from ..errors import Remedy, UsageError
from ..result.decisions import decision_for
from .analysis import choose
from .cases import Cohort
from .cohort import open_cohort
from .evaluation import Evaluation
from .run import evaluate_bundle
from .statistics.operating import check_rule
from .subgroups import Grouping, read_grouping, subgroups


@dataclass(frozen=True)
class Further:
    """What is asked beside the precisions.

    subgroups: columns of the cohort's table, with cut points where they hold numbers: "sex", "age:50,70".
    operating_points: rules, as `statistics.operating.threshold_by` has them. choose_on: the cohort that these choose
    thresholds on, as `open_cohort` names it; without it, that which is evaluated. against: a bundle that answers the
    same studies, in FP32.
    """

    subgroups: Sequence[str] = ()
    operating_points: Sequence[str] = ()
    choose_on: str | None = None
    against: str | Path | None = None

    def groupings(self) -> tuple[Grouping, ...]:
        """The columns, whose cells `open_cohort` is to keep.

        Raises:
            UsageError: as `read_grouping`.
        """
        return tuple(map(read_grouping, self.subgroups))


NOTHING_FURTHER = Further()


def evaluate_further(bundle: Bundle, cohort: Cohort, further: Further, **given: Any) -> Evaluation:
    """Evaluate a bundle on a cohort, and what is asked beside it.

    Args:
        cohort: whose cases keep the cells of the columns that studies are grouped by.
        given: as for `evaluate_bundle`.

    Raises:
        UsageError: an unknown rule or cohort, cells that cannot be grouped, or a bundle with other labels. All but the
            cells are refused before a study is read.
        BundleError: the other bundle is refused. And what `evaluate_bundle` raises.
    """
    manifest = bundle.manifest
    for rule in further.operating_points:
        check_rule(rule)
    if further.choose_on is not None and not further.operating_points:
        raise UsageError(
            "No operating point is asked for that the second cohort could choose.",
            Remedy("Say by which rule", option="operating_point", value="youden"),
        )
    chosen_on = None if further.choose_on is None else open_cohort(further.choose_on, manifest)
    other = None if further.against is None else load_bundle(further.against)
    if other is not None and other.manifest.labels != manifest.labels:
        raise UsageError(
            f"{other.manifest.name} answers by {', '.join(other.manifest.labels)}; {manifest.name} by "
            f"{', '.join(manifest.labels)}.",
            Remedy("Name a bundle with the same labels, or leave it out", option="against"),
        )
    found = evaluate_bundle(bundle, cohort, **given)
    alone = {**given, "precisions": ["fp32"]}
    decision = decision_for(manifest)
    choosing = found if chosen_on is None else evaluate_bundle(bundle, chosen_on, **alone)
    scores = choosing.outcome.scores["fp32"].probabilities
    source = choosing.accuracy.cohort.source
    found.chosen = tuple(
        choose(rule, choosing.outcome.labels, scores, decision, source) for rule in further.operating_points
    )
    found.subgroups = subgroups(further.groupings(), cohort, found.outcome, decision)
    if other is not None:
        found.against = evaluate_bundle(other, cohort, **alone)
    asked = {
        "subgroups": ", ".join(further.subgroups),
        "operating_points": ", ".join(further.operating_points),
        "choose_on": "" if chosen_on is None else chosen_on.source,
    }
    found.options = {**found.options, **{name: text for name, text in asked.items() if text}}
    return found
