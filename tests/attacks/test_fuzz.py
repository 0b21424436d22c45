"""Damage of every kind, drawn from a fixed seed: only errors of ours come out, none takes long, and none is silent."""

from pathlib import Path

import pytest

import fuzzing

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # as at import, which pytest undoes

CASES = 600
"""In the ordinary suite; the full 20 000 run by `python benchmarks/fuzz.py --cases 20000`."""
MAX_SECONDS = 10
"""Of one case, most of which take milliseconds: a bound on hanging, not a measurement."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, tiny_bundle_source: Path) -> fuzzing.Outcome:
    return fuzzing.run(CASES, tmp_path_factory.mktemp("fuzz"), tiny_bundle_source)


def test_nothing_is_found(outcome: fuzzing.Outcome) -> None:
    assert not outcome.findings, outcome.findings[0]
    assert sum(outcome.cases.values()) == CASES


def test_no_case_hangs(outcome: fuzzing.Outcome) -> None:
    assert outcome.slowest_s < MAX_SECONDS, f"case {outcome.slowest_case}"


@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_some_damage_gets_past_every_check(kind: str, outcome: fuzzing.Outcome) -> None:
    """If all were refused, or none, the draw would be too coarse or too fine to find anything."""
    counts = fuzzing.shares(outcome.cases, kind)
    assert counts.get("accepted", 0) > 0
    assert len(counts) > 1


def test_a_case_is_the_same_for_the_same_seed(tmp_path: Path, tiny_bundle_source: Path) -> None:
    kinds = ("study", "codestream", "NIfTI", "FHIR grammar")
    one, other = (
        [fuzzing.Cases(tmp_path / name, tiny_bundle_source, seed=7, kinds=kinds).make(number) for number in range(30)]
        for name in ("one", "other")
    )
    assert [(kind, case.what, case.data) for kind, case in one] == [
        (kind, case.what, case.data) for kind, case in other
    ]
