"""Damage of every kind, drawn from a fixed seed: only errors of ours come out, and none takes long."""

from pathlib import Path

import pytest

import fuzzing

CASES = 1000
"""In the ordinary suite; the full 20 000 run by `python benchmarks/fuzz.py --cases 20000`."""
MAX_SECONDS = 10
"""Of one case, most of which take milliseconds: a bound on hanging, not a measurement."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, tiny_bundle_source: Path) -> fuzzing.Outcome:
    return fuzzing.run(CASES, tmp_path_factory.mktemp("fuzz"), tiny_bundle_source)


def test_only_our_errors_come_out(outcome: fuzzing.Outcome) -> None:
    assert not outcome.foreign, outcome.foreign[0][1]
    assert sum(outcome.cases.values()) == CASES


def test_no_case_hangs(outcome: fuzzing.Outcome) -> None:
    assert outcome.slowest_s < MAX_SECONDS, f"case {outcome.slowest_case}"


@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_some_damage_gets_past_every_check(kind: str, outcome: fuzzing.Outcome) -> None:
    """If all were refused, or none, the draw would be too coarse or too fine to find anything."""
    counts = {result: count for (found, result), count in outcome.cases.items() if found == kind}
    assert counts.get("accepted", 0) > 0
    assert len(counts) > 1
