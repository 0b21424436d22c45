"""The kinds of damage, and a run over many cases of them."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .case import Case, Maker
from .codestreams import streams
from .commands import commands
from .files import any_study
from .judge import Verdict, judge
from .manifests import manifests
from .nested import odd_elements
from .pictures import chunks
from .records import fhir_records, flat_records, grammatical_records
from .volumes import headers

_OF_FOLDER: dict[str, tuple[float, Callable[[Path], Maker]]] = {
    "study": (0.14, any_study),
    "elements": (0.2, odd_elements),
    "codestream": (0.14, streams),
    "PNG": (0.08, chunks),
    "NIfTI": (0.14, headers),
    "flat record": (0.04, flat_records),
    "FHIR record": (0.05, fhir_records),
    "FHIR grammar": (0.13, grammatical_records),
}
_OF_BUNDLE: dict[str, tuple[float, Callable[[Path, Path], Maker]]] = {
    "manifest": (0.05, manifests),
    "command": (0.03, commands),
}
SHARES = {name: share for name, (share, _) in (_OF_FOLDER | _OF_BUNDLE).items()}
"""Kind -> its share of the cases."""
KINDS = tuple(SHARES)


@dataclass(frozen=True)
class Finding:
    """case: its number. kind and what: the damage. why: what is wrong with what came, and its trace."""

    case: int
    kind: str
    what: str
    why: str


@dataclass
class Outcome:
    """cases by (kind, class of error or "accepted"), and what was found."""

    cases: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest_case: int = -1


class Cases:
    """Every case by its number and a seed; the files of the last one lie in `folder`.

    Args:
        bundle: of a network that takes CT and a flat record.
        kinds: those that are made, each of the share that it has of all.
    """

    def __init__(self, folder: Path, bundle: Path, *, seed: int = 0, kinds: tuple[str, ...] = KINDS) -> None:
        self.seed = seed
        shares = np.array([SHARES[kind] for kind in kinds])
        self._kinds, self._shares = kinds, shares / shares.sum()
        self._makers: dict[str, Maker] = {}
        self._folder, self._bundle = folder, bundle

    def make(self, number: int) -> tuple[str, Case]:
        """Its kind, and the case."""
        draw = np.random.default_rng([self.seed, number])
        kind = self._kinds[int(draw.choice(len(self._kinds), p=self._shares))]
        return kind, self._maker(kind)(draw)

    def _maker(self, kind: str) -> Maker:
        if kind not in self._makers:
            folder = self._folder / kind.replace(" ", "-")
            folder.mkdir(parents=True, exist_ok=True)
            if kind in _OF_FOLDER:
                self._makers[kind] = _OF_FOLDER[kind][1](folder)
            else:
                self._makers[kind] = _OF_BUNDLE[kind][1](folder, self._bundle)
        return self._makers[kind]


def run(cases: int, folder: Path, bundle: Path, *, seed: int = 0, kinds: tuple[str, ...] = KINDS) -> Outcome:
    """Try so many cases in this process, without bounds on time and memory."""
    outcome, made = Outcome(), Cases(folder, bundle, seed=seed, kinds=kinds)
    for number in range(cases):
        kind, case = made.make(number)
        started = time.perf_counter()
        note(outcome, number, kind, case.what, judge(case), time.perf_counter() - started)
    return outcome


def note(outcome: Outcome, number: int, kind: str, what: str, verdict: Verdict, seconds: float) -> None:
    """Count one case."""
    outcome.cases[kind, verdict.result] += 1
    if verdict.finding:
        outcome.findings.append(Finding(number, kind, what, f"{verdict.finding}\n{verdict.trace}".strip()))
    if seconds > outcome.slowest_s:
        outcome.slowest_s, outcome.slowest_case = seconds, number


def shares(counts: Mapping[tuple[str, str], int], kind: str) -> dict[str, int]:
    """Result -> how many, of one kind."""
    return {result: count for (of, result), count in counts.items() if of == kind}
