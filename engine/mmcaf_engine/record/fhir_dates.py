"""When a resource of HL7 FHIR is of: instants with their zones, and dates that lack the day or the month.

FHIR R4 2.24.0.1 (date, dateTime, instant), 2.24.0.10 (Period), 2.24.0.13 (Timing).
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

EARLIEST_ZONE, LATEST_ZONE = timedelta(hours=14), timedelta(hours=12)
"""A clock is at most so far before UTC, and behind it."""

_DATE = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?(Z|[+-]\d{2}:\d{2})?)?)?)?",
    re.ASCII,
)
_EFFECTIVE = ("effectiveDateTime", "effectiveInstant")


@dataclass(frozen=True)
class Moment:
    """A stretch of time that something may have been in, as short as its date tells.

    begin, end: the first instant, and the first after it; in UTC where `zoned`, else by the clock of the place.
    first_day, last_day: by the clock of the place.
    """

    begin: datetime
    end: datetime
    zoned: bool
    first_day: date
    last_day: date

    def overlaps(self, other: "Moment") -> bool:
        """Whether the two may have been at once: then nothing tells which was first."""
        ours, theirs = self._in_utc(), other._in_utc()
        if self.zoned == other.zoned:
            ours, theirs = (self.begin, self.end), (other.begin, other.end)
        return ours[0] < theirs[1] and theirs[0] < ours[1]

    def _in_utc(self) -> tuple[datetime, datetime]:
        """Begin and end, of a clock of an unknown zone at the widest."""
        if self.zoned:
            return self.begin, self.end
        return _shifted(self.begin, -EARLIEST_ZONE), _shifted(self.end, LATEST_ZONE)

    def order(self) -> tuple[datetime, timedelta]:
        """The later begins later; of those that begin at once, the one whose date tells more."""
        return self.begin, self.begin - self.end


@dataclass(frozen=True)
class Dated:
    """When a resource is of. moment: None where not known. issued: by its date of issue alone. unreadable: a date is
    there that is none of FHIR.
    """

    moment: Moment | None = None
    issued: bool = False
    unreadable: bool = False


def when(resource: dict[str, Any]) -> Dated:
    """When an Observation or a DiagnosticReport is of: its effective[x], else its issued."""
    unreadable = False
    for given in _effective(resource):
        moment = given if isinstance(given, Moment) else read_moment(given)
        if moment is not None:
            return Dated(moment)
        unreadable = True
    if "issued" in resource:
        moment = read_moment(resource["issued"])
        return Dated(moment, issued=True, unreadable=unreadable or moment is None)
    return Dated(unreadable=unreadable)


def read_moment(text: Any) -> Moment | None:
    """A FHIR date, dateTime or instant; None where it is none."""
    found = _DATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        first = date(int(year), int(month or 1), int(day or 1))
        last_month = int(month or 12)
        last = date(int(year), last_month, int(day or monthrange(int(year), last_month)[1]))
        if hour is None:
            begin, end = datetime.combine(first, time()), datetime.combine(last, time())
            return Moment(begin, _shifted(end, timedelta(days=1)), False, first, last)
        # FHIR allows the second 60 of a leap second; its place among the others is that of 59.
        begin = datetime.combine(first, time(int(hour), int(minute), 59 if second == "60" else int(second or 0)))
    except ValueError:
        return None
    length = timedelta(minutes=1) if second is None else timedelta(seconds=1)
    if fraction is not None:
        begin, length = begin + timedelta(microseconds=int(fraction[:6].ljust(6, "0"))), timedelta(microseconds=1)
    offset = _offset(zone)
    if offset is None:
        return None if zone is not None else Moment(begin, _shifted(begin, length), False, first, last)
    return Moment(_shifted(begin, -offset), _shifted(begin, length - offset), True, first, last)


def _offset(zone: str | None) -> timedelta | None:
    """East of UTC."""
    if zone is None:
        return None
    if zone == "Z":
        return timedelta(0)
    hours, minutes = int(zone[1:3]), int(zone[4:])
    if hours > 14 or minutes > 59:
        return None
    return (-1 if zone[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes)


def _effective(resource: dict[str, Any]) -> list[Any]:
    """Every effective[x] that is there, as a text or a moment, the first that says when it began."""
    found: list[Any] = [resource[key] for key in _EFFECTIVE if resource.get(key) is not None]
    found += _of_period(resource.get("effectivePeriod"))
    timing = resource.get("effectiveTiming")
    if isinstance(timing, dict):
        events = timing.get("event")
        moments = [read_moment(text) for text in events] if isinstance(events, list) else []
        known = [moment for moment in moments if moment is not None]
        found += [max(known, key=Moment.order)] if known else []
        repeat = timing.get("repeat")
        found += _of_period(repeat.get("boundsPeriod")) if isinstance(repeat, dict) else []
    return found


def _of_period(period: Any) -> list[Any]:
    """A Period as a moment, from the begin of its start to the end of its end."""
    if not isinstance(period, dict):
        return []
    start, end = read_moment(period.get("start")), read_moment(period.get("end"))
    if start is None or end is None:
        given = [period[key] for key in ("start", "end") if period.get(key) is not None]
        return [start or end or (given or [None])[0]] if given else []
    if start.zoned != end.zoned or end.end <= start.begin:
        return [start]
    return [Moment(start.begin, end.end, start.zoned, start.first_day, end.last_day)]


def _shifted(at: datetime, by: timedelta) -> datetime:
    """As far as the calendar goes."""
    try:
        return at + by
    except OverflowError:
        return datetime.max if by > timedelta(0) else datetime.min
