"""Names of GPUs to build for."""

import pytest

from mmcaf_engine.errors import UsageError
from mmcaf_engine.machine.compute_capability import BF16_FROM, TURING, Target


@pytest.mark.parametrize(
    ("text", "major", "minor"),
    [("sm_75", 7, 5), ("sm_86", 8, 6), (" SM_90\n", 9, 0), ("sm_100", 10, 0), ("sm_121", 12, 1)],
)
def test_the_last_digit_is_the_minor(text: str, major: int, minor: int) -> None:
    assert Target.parse(text) == Target(major, minor)
    assert Target.parse(str(Target(major, minor))) == Target(major, minor)


@pytest.mark.parametrize(
    "text", ["", "86", "8.6", "sm_8", "sm_05", "sm_86a", "sm86", "sm_86 sm_90", "sm_٨٦", "sm_12345"]
)
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(UsageError):
        Target.parse(text)


def test_targets_are_ordered_by_major_then_minor() -> None:
    named = ["sm_61", "sm_75", "sm_80", "sm_89", "sm_90", "sm_100"]
    assert sorted(map(Target.parse, reversed(named))) == [Target.parse(one) for one in named]
    assert Target.parse("sm_75") == TURING < BF16_FROM == Target.parse("sm_80")
