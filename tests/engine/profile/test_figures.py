"""How figures are written and put in order."""

from dataclasses import replace

import pytest

import profile_reports
from mmcaf_engine.page.tables import bar
from mmcaf_engine.profile.figures import amount, measured, milliseconds, percent, signed_percent, title


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0 ms"),
        (0.0999, "0.100 ms"),
        (0.05, "0.050 ms"),
        (9.994, "9.99 ms"),
        (99.94, "99.9 ms"),
        (9_999, "9999 ms"),
        (9_999.5, "10.0 s"),
        (12_340, "12.3 s"),
    ],
)
def test_milliseconds(value: float | None, shown: str) -> None:
    assert milliseconds(value) == shown


def test_shares_and_amounts() -> None:
    assert [percent(share) for share in (None, 0.05, 0.0994, 0.0996, 1)] == ["-", "5.0%", "9.9%", "10%", "100%"]
    assert [signed_percent(change) for change in (0.031, -0.2, 0)] == ["+3.1%", "-20.0%", "+0.0%"]
    assert [amount(value, "J") for value in (None, 1234, 1.5)] == ["-", "1,234 J", "1.50 J"]


def test_the_fastest_study_comes_first_and_without_all_studies_the_fastest_window() -> None:
    report = profile_reports.report()
    by_study = measured(report)
    walls = [one.answer.wall.p50 for one in by_study if one.answer]
    assert len(walls) == len(by_study) > 1 and walls == sorted(walls)
    slow = replace(by_study[-1], answer=None)
    assert slow.steady is not None
    quick = replace(slow, steady=replace(slow.steady, per_window_ms=0.001))
    others = [one for one in report.configurations if title(one) != title(slow)]
    assert measured(replace(report, configurations=(*others, quick)))[0] == quick


@pytest.mark.parametrize(("share", "width"), [(0.25, "250"), (1.5, "1000"), (-0.5, "0")])
def test_a_bar_stays_within_its_cell(share: float, width: str) -> None:
    assert f'width="{width}"' in bar(share)


@pytest.mark.parametrize(("part", "width"), [(0.5, "250"), (3.0, "500"), (-1.0, "0")])
def test_the_stressed_part_of_a_bar_stays_within_it(part: float, width: str) -> None:
    pale, solid = bar(0.5, part=part).split("<rect")[1:]
    assert 'width="500"' in pale and f'width="{width}"' in solid
