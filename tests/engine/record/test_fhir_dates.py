"""FHIR's dates as stretches of time, and which of several observations is the latest, against a brute-force oracle."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.record.test_fhir_lookup import STUDY, flat, weight
from mmcaf_engine.record.fhir_dates import read_moment, when

FEW = settings(max_examples=60, deadline=None, derandomize=True, database=None)
MANY = settings(FEW, max_examples=600)


@pytest.mark.parametrize(
    ("text", "begin", "end", "zoned"),
    [
        ("2024", "2024-01-01", "2025-01-01", False),
        ("2024-02", "2024-02-01", "2024-03-01", False),
        ("2024-02-29", "2024-02-29", "2024-03-01", False),
        ("9999-12-31", "9999-12-31", "9999-12-31T23:59:59.999999", False),
        ("2024-01-03T10:00", "2024-01-03T10:00", "2024-01-03T10:01", False),
        ("2024-01-03T10:00:00Z", "2024-01-03T10:00", "2024-01-03T10:00:01", True),
        ("2024-01-03T10:00:00.5Z", "2024-01-03T10:00:00.5", "2024-01-03T10:00:00.500001", True),
        ("2024-01-03T01:00:00+09:00", "2024-01-02T16:00", "2024-01-02T16:00:01", True),
        ("2024-01-02T23:30:00-05:00", "2024-01-03T04:30", "2024-01-03T04:30:01", True),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59", "2017-01-01T00:00", True),
        ("0001-01-01T00:00:00+14:00", "0001-01-01", "0001-01-01", True),
    ],
)
def test_a_date_is_as_long_as_it_tells(text: str, begin: str, end: str, zoned: bool) -> None:
    found = read_moment(text)
    assert found is not None
    expected = datetime.fromisoformat(begin), datetime.fromisoformat(end), zoned
    assert (found.begin, found.end, found.zoned) == expected


@pytest.mark.parametrize(
    "text",
    ["", "24", "2024-13", "2023-02-29", "2024-00-01", "2024-1-1", "2024-01-01T24:00:00Z", "2024-01-01T10:60Z"]
    + ["2024-01-01T10:00:61Z", "2024-01-01T10:00:00+15:00", "2024-01-01T10Z", "2024-01-01 10:00", "last spring"]
    + ["2024-01-01T10:00:00+0900", "0000-01-01", "\u0662024", 2024, None, ["2024"]],
)
def test_what_is_no_date_is_none(text: Any) -> None:
    assert read_moment(text) is None


@pytest.mark.parametrize(
    ("resource", "begin", "issued", "unreadable"),
    [
        ({"effectiveDateTime": "2024-01-01", "issued": "2024-02-01"}, "2024-01-01", False, False),
        ({"effectiveInstant": "2024-01-01T00:00:00Z"}, "2024-01-01", False, False),
        ({"effectivePeriod": {"start": "2024-01-01"}}, "2024-01-01", False, False),
        ({"effectivePeriod": {"end": "2024-01-01"}}, "2024-01-01", False, False),
        ({"effectivePeriod": {"start": "2024-01-01", "end": "2024-03-01"}}, "2024-01-01", False, False),
        ({"effectiveTiming": {"event": ["2023-01-01", "2024-01-01", "x"]}}, "2024-01-01", False, False),
        ({"effectiveTiming": {"repeat": {"boundsPeriod": {"start": "2024-01-01"}}}}, "2024-01-01", False, False),
        ({"issued": "2024-01-01T00:00:00Z"}, "2024-01-01", True, False),
        ({"effectiveDateTime": "spring", "issued": "2024-01-01T00:00:00Z"}, "2024-01-01", True, True),
        ({"effectiveDateTime": "spring"}, None, False, True),
        ({"effectivePeriod": {"start": 3}}, None, False, True),
        ({"effectiveTiming": {"event": "2024"}, "effectivePeriod": []}, None, False, False),
        ({}, None, False, False),
    ],
    ids=str,
)
def test_every_effective_and_then_issued(
    resource: dict[str, Any], begin: str | None, issued: bool, unreadable: bool
) -> None:
    found = when(resource)
    assert (found.issued, found.unreadable) == (issued, unreadable)
    assert (found.moment.begin if found.moment else None) == (None if begin is None else datetime.fromisoformat(begin))


@pytest.mark.parametrize(
    ("period", "begin", "end"),
    [
        ({"start": "2024-01-01", "end": "2024-03-01"}, "2024-01-01", "2024-03-02"),
        ({"start": "2024-01-01", "end": "2024-01-01"}, "2024-01-01", "2024-01-02"),
        ({"start": "2024-01-01T10:00:00Z", "end": "2024-01-01T11:00:00Z"}, "2024-01-01T10:00", "2024-01-01T11:00:01"),
        ({"start": "2024-01-01"}, "2024-01-01", "2024-01-02"),
        ({"end": "2024-03"}, "2024-03-01", "2024-04-01"),
        ({"start": "2024-03-01", "end": "2024-01-01"}, "2024-03-01", "2024-03-02"),
        ({"start": "2024-03-02", "end": "2024-03-01"}, "2024-03-02", "2024-03-03"),
        ({"start": "2024-01-01", "end": "2024-01-01T11:00:00Z"}, "2024-01-01", "2024-01-02"),
        ({"start": "2024-01-01", "end": "spring"}, "2024-01-01", "2024-01-02"),
    ],
    ids=lambda value: " to ".join(value.values()) if isinstance(value, dict) else None,
)
def test_a_period_is_from_its_start_to_its_end(period: dict[str, str], begin: str, end: str) -> None:
    """Of one that ends before it begins, or in another way of telling the time, the start alone."""
    for resource in ({"effectivePeriod": period}, {"effectiveTiming": {"repeat": {"boundsPeriod": period}}}):
        moment = when(resource).moment
        assert moment is not None
        assert (moment.begin, moment.end) == (datetime.fromisoformat(begin), datetime.fromisoformat(end))
        assert moment.first_day == moment.begin.date() and moment.first_day <= moment.last_day <= moment.end.date()


@pytest.mark.parametrize(
    ("one", "other", "at_once"),
    [
        ("2024-01-01", "2024-01-02", False),
        ("2024-01", "2024-01-02", True),
        ("2024", "2023-12-31T23:00", False),
        ("2024-01-01T10:00:00Z", "2024-01-01T11:00:00+01:00", True),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00+01:00", False),
        ("2024-01-02", "2024-01-01T11:00:00Z", True),
        ("2024-01-02", "2024-01-01T09:00:00Z", False),
        ("2024-01-02", "2024-01-03T11:00:00Z", True),
        ("2024-01-02", "2024-01-03T13:00:00Z", False),
    ],
)
def test_whether_two_dates_tell_which_is_first(one: str, other: str, at_once: bool) -> None:
    """A clock of an unknown zone is 14 hours before UTC to 12 hours behind it."""
    first, second = read_moment(one), read_moment(other)
    assert first is not None and second is not None
    assert first.overlaps(second) is second.overlaps(first) is at_once


Instants = list[tuple[datetime, str]]

HOURS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
"""Zones, to the minute."""


@st.composite
def instants(draw: st.DrawFn) -> Instants:
    """Two to six instants around the day of the study, each in a zone of its own and under some key."""
    found = {}
    for _ in range(draw(st.integers(2, 6))):
        at = datetime(2024, 3, 15, tzinfo=UTC) + timedelta(minutes=draw(st.integers(-6000, 3000)))
        found[at] = at.astimezone(draw(HOURS)).isoformat(timespec="seconds")
    return list(found.items())


def dated(draw_key: int, text: str) -> dict[str, Any]:
    return (
        {"effectiveDateTime": text},
        {"effectiveInstant": text},
        {"effectivePeriod": {"start": text}},
        {"issued": text},
        {"effectiveTiming": {"event": [text]}},
    )[draw_key]


def check_latest(found: Instants, keys: list[int]) -> None:
    """By instants, of those whose day, where they were made, is not after the study's."""
    values = {at: 50.0 + 10 * place for place, (at, _) in enumerate(found)}
    given = [weight(values[at], **dated(key, text)) for (at, text), key in zip(found, keys, strict=False)]
    own_day = {at: date.fromisoformat(text[:10]) for at, text in found}
    before = [at for at, _ in found if own_day[at] <= STUDY]
    days = {at: (own_day[at] - STUDY).days for at, _ in found}
    flattened = flat(*given)
    if before:
        assert flattened.values["weight"]["value"] == values[max(before)]
        assert not any("after the study" in text for text in flattened.notes.warnings)
    else:
        nearest = min(days.values())
        assert flattened.values["weight"]["value"] == values[min(at for at in days if days[at] == nearest)]
        assert any(f"{nearest} days after the study" in text for text in flattened.notes.warnings)
    assert any("left out" in text for text in flattened.notes.remarks) is (0 < len(before) < len(found))


KEYS = st.lists(st.integers(0, 4), min_size=6, max_size=6)


@FEW
@given(instants(), KEYS)
def test_the_latest_by_instants_with_their_zones(found: Instants, keys: list[int]) -> None:
    check_latest(found, keys)


@pytest.mark.full
@MANY
@given(instants(), KEYS)
def test_the_latest_by_many_instants_with_their_zones(found: Instants, keys: list[int]) -> None:
    check_latest(found, keys)


@pytest.mark.parametrize(
    ("dates", "value", "warnings", "remarks"),
    [
        ([(60, "2024-03-15"), (90, "2024-03-16")], 60, [], ["1 days"]),
        ([(60, "2024-03-14"), (90, "2024-03-20"), (95, "2024-04-15")], 60, [], ["first 5 days"]),
        ([(60, "2024-03-17"), (90, "2024-03-16")], 90, ["1 days after"], []),
        ([(60, "2024-03-15T23:00:00-05:00"), (90, "2024-03-10")], 60, [], []),
        ([(60, "2024-03"), (90, "2024-02-20")], 60, [], []),
        ([(60, "2024-03"), (90, "2024-03-10")], 90, ["do not tell"], []),
        ([(60, "2024-03"), (64, "2024-03-10")], 64, [], []),
        ([(60, None), (90, "2024-03-10")], 90, ["do not tell"], []),
        ([(60, "2024-03-10"), (90, "2024-03-10")], 90, ["do not tell"], []),
        ([(60, "spring")], 60, [], ["none of FHIR"]),
        ([(60, "2024-02-01")], 60, ["43 days before"], []),
    ],
)
def test_what_is_said_of_dates(
    dates: list[tuple[float, str | None]], value: float, warnings: list[str], remarks: list[str]
) -> None:
    found = flat(*(weight(kilograms, at) for kilograms, at in dates))
    assert found.values["weight"]["value"] == value
    for said, expected in ((found.notes.warnings, warnings), (found.notes.remarks, remarks)):
        assert len(said) == len(expected)
        assert all(part in text for part, text in zip(expected, said, strict=True))


def test_a_newer_observation_without_a_value_hides_no_older_one() -> None:
    empty = weight(None, "2024-03-14", dataAbsentReason={"text": "unknown"})
    found = flat(weight(70, "2024-03-01"), empty, weight(None, "2024-03-13"))
    assert found.values["weight"]["value"] == 70 and found.notes.warnings == []
    assert [text[:14] for text in found.notes.remarks] == ["2 observation("]


def report(text: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "DiagnosticReport", "conclusion": text, **more}


def test_a_report_of_after_the_study_is_left_out_but_not_one_issued_after_it() -> None:
    of_study = report("this", effectiveDateTime="2024-03-15", issued="2024-03-17T08:00:00Z")
    later = report("follow-up", effectiveDateTime="2024-09-15")
    found = flat(of_study, later)
    assert found.report == "this" and "1 report(s)" in found.notes.remarks[0]
    assert (
        flat(report("old", effectiveDateTime="2024-01-01"), report("new", issued="2024-03-17T08:00:00Z")).report
        == "new"
    )
    alone = flat(later)
    assert alone.report == "follow-up" and any("184 days after" in text for text in alone.notes.warnings)
    zones = flat(
        report("older", effectiveDateTime="2024-03-15T08:00:00+09:00"),
        report("newer", effectiveDateTime="2024-03-15T01:00:00Z"),
    )
    assert zones.report == "newer"


def test_of_two_that_begin_at_once_the_one_whose_date_tells_more_is_the_later() -> None:
    precise, day, month = weight(70, "2024-03-01T00:00"), weight(90, "2024-03-01"), weight(110, "2024-03")
    for first, second in ((precise, day), (precise, month), (day, month)):
        expected = first["valueQuantity"]["value"]
        for order in ((first, second), (second, first)):
            found = flat(*order)
            assert found.values["weight"]["value"] == expected
            assert "do not tell" in found.notes.warnings[0]
