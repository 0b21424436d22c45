"""Studies of a cohort by what a column of its table says of them."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..errors import UsageError, printable
from ..result.decisions import Decision
from .analysis import QuestionAnalysis, analyse
from .cases import Cohort
from .cohort_table import COLUMNS
from .compare import CohortScores

MOST = 50
"""Subgroups of one column; with more, it tells studies and not groups apart."""
UNKNOWN = "not known"


@dataclass(frozen=True)
class Grouping:
    """How studies are grouped: by the cells of a column as they are; or as numbers, between these cut points."""

    column: str
    cuts: tuple[float, ...] = ()

    def group_of(self, cell: str) -> str:
        """The group that a cell puts its study in.

        Raises:
            UsageError: there are cut points, and it is no number.
        """
        if not cell:
            return UNKNOWN
        if not self.cuts:
            return cell
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UsageError(
                f"subgroup: the column {self.column} holds {printable(cell, 40)!r}; numbers were expected, since cut "
                "points are named.",
                "Correct the table, or leave the cut points out.",
            )
        at = bisect_right(self.cuts, value)
        return self._names()[at]

    def order(self, found: set[str]) -> list[str]:
        """Groups in the order that a reader expects, those of unknown studies last."""
        known = [name for name in self._names() if name in found] if self.cuts else sorted(found - {UNKNOWN})
        return [*known, *([UNKNOWN] if UNKNOWN in found else [])]

    def _names(self) -> list[str]:
        edges = [f"{cut:.15g}" for cut in self.cuts]
        between = [f"{low} to below {high}" for low, high in pairwise(edges)]
        return [f"below {edges[0]}", *between, f"{edges[-1]} and above"]


@dataclass(frozen=True)
class Subgroup:
    """The studies of one group, and what FP32 says of those whose label is known."""

    name: str
    studies: int
    questions: tuple[QuestionAnalysis, ...]


@dataclass(frozen=True)
class Subgroups:
    """All groups of one column."""

    column: str
    groups: tuple[Subgroup, ...]


def read_grouping(text: str) -> Grouping:
    """A column's name, or with cut points: age:50,70.

    Raises:
        UsageError: cut points that are no rising numbers.
    """
    column, given, cuts = text.partition(":")
    try:
        numbers = tuple(float(one) for one in cuts.split(",")) if given else ()
    except ValueError:
        numbers = (math.nan,)
    if column in COLUMNS:
        raise UsageError(f"subgroup: the column {column} says which study it is.", "Name another column.")
    rising = all(map(math.isfinite, numbers)) and all(low < high for low, high in pairwise(numbers))
    if not column or not rising:
        raise UsageError(
            f"subgroup: {printable(text, 80)!r} is no column with rising cut points.", "Write COLUMN, or age:50,70."
        )
    return Grouping(column, numbers)


def grouped(grouping: Grouping, cohort: Cohort) -> dict[str, str]:
    """The group of each study of a cohort, by its id.

    Raises:
        UsageError: a cell that should be a number is none, or there are more than MOST groups.
    """
    found = {case.id: grouping.group_of(getattr(case, "columns", {}).get(grouping.column, "")) for case in cohort}
    if (count := len({*found.values()})) > MOST:
        raise UsageError(
            f"subgroup: the column {grouping.column} makes {count} groups; at most {MOST} were expected.",
            f"Name cut points, as in {grouping.column}:50,70, or another column.",
        )
    return found


def subgroups(
    groupings: Sequence[Grouping], cohort: Cohort, outcome: CohortScores, decision: Decision
) -> tuple[Subgroups, ...]:
    """Analyse each group of each column by itself.

    Raises:
        UsageError: as `grouped`.
    """
    found = []
    for grouping in groupings:
        of_cases = grouped(grouping, cohort)
        of_studies = [of_cases[name] for name in outcome.ids]
        groups = []
        for name in grouping.order({*of_studies}):
            at = [position for position, own in enumerate(of_studies) if own == name]
            labels = [outcome.labels[position] for position in at]
            probabilities = outcome.scores["fp32"].probabilities[at]
            groups.append(Subgroup(name, len(at), analyse(labels, probabilities, decision)))
        found.append(Subgroups(grouping.column, tuple(groups)))
    return tuple(found)
