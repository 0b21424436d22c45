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
from .subgroups import Grouping, grouped, read_grouping, subgroups


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


@dataclass(frozen=True)
class FurtherInputs:
    """What a further question needs: the cohort that chooses thresholds, and the other bundle."""

    asked: Further
    choosing: Cohort | None
    other: Bundle | None

    @property
    def files(self) -> tuple[Path, ...]:
        """What lies on disk of the other cohort's studies, records and reports."""
        return () if self.choosing is None else self.choosing.files


def open_further(bundle: Bundle, cohort: Cohort, further: Further) -> FurtherInputs:
    """Read and check all that is asked beside the precisions, before a study is read.

    Args:
        cohort: whose cases keep the cells of the columns that studies are grouped by.

    Raises:
        UsageError: an unknown rule or cohort, cells that cannot be grouped, or a bundle with other labels.
        BundleError: the other bundle is refused.
    """
    manifest = bundle.manifest
    for rule in further.operating_points:
        check_rule(rule)
    if further.choose_on is not None and not further.operating_points:
        raise UsageError(
            "No operating point is asked for that the second cohort could choose.",
            Remedy("Say by which rule", option="operating_point", value="youden"),
        )
    for grouping in further.groupings():
        grouped(grouping, cohort)
    choosing = None if further.choose_on is None else open_cohort(further.choose_on, manifest, others=True)
    other = None if further.against is None else load_bundle(further.against)
    if other is not None:
        mine, theirs = decision_for(manifest), decision_for(other.manifest)
        if mine.labels != theirs.labels or type(mine) is not type(theirs):
            raise UsageError(
                f"{other.manifest.name} answers by {', '.join(theirs.labels)} ({theirs.names[0]}); {manifest.name} by "
                f"{', '.join(mine.labels)} ({mine.names[0]}).",
                Remedy("Name a bundle with the same labels and decision, or leave it out", option="against"),
            )
    return FurtherInputs(further, choosing, other)


def evaluate_further(bundle: Bundle, cohort: Cohort, inputs: FurtherInputs, **given: Any) -> Evaluation:
    """Evaluate a bundle on a cohort, and what is asked beside it, which comes first, so that no failure costs more.

    Args:
        inputs: of `open_further`, for this bundle and cohort. given: as for `evaluate_bundle`.

    Raises:
        As `evaluate_bundle`.
    """
    asked, decision = inputs.asked, decision_for(bundle.manifest)
    alone = {**given, "precisions": ["fp32"]}
    choosing = None if inputs.choosing is None else evaluate_bundle(bundle, inputs.choosing, **alone)
    against = None if inputs.other is None else evaluate_bundle(inputs.other, cohort, **alone)
    found = evaluate_bundle(bundle, cohort, **given)
    chooser = choosing or found
    scores = chooser.outcome.scores["fp32"].probabilities
    found.chosen = tuple(
        choose(rule, chooser.outcome.labels, scores, decision, chooser.accuracy.cohort.source)
        for rule in asked.operating_points
    )
    found.subgroups = subgroups(asked.groupings(), cohort, found.outcome, decision)
    found.against, found.choosing = against, choosing
    said = {
        "subgroups": ", ".join(asked.subgroups),
        "operating_points": ", ".join(asked.operating_points),
        "choose_on": "" if choosing is None else choosing.accuracy.cohort.source,
        "against": "" if against is None else against.bundle.manifest.name,
    }
    found.options = {**found.options, **{name: text for name, text in said.items() if text}}
    return found
