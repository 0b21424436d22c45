"""When an answer is made: now, or the moment that the caller fixes, so that the same answer can be written again."""

from datetime import UTC, datetime

from ..errors import Remedy, UsageError

Moment = datetime | str
"""A moment with its time zone; as a text in ISO 8601."""

FIRST_YEAR, END = 1900, 9999
_EXAMPLE = Remedy("For example", option="created", value="2026-11-30T09:08:48Z")


def creation_time(created: Moment | None) -> datetime:
    """The moment in UTC; without one, now in whole seconds.

    Raises:
        UsageError: no moment, one without a time zone, or of a year that is none of this or the next thousands.
    """
    if created is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(created) if isinstance(created, str) else created
        found = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"created: expected a date and time in ISO 8601, got {created!s:.60}.", _EXAMPLE) from None
    if moment.utcoffset() is None:
        raise UsageError(f"created: {created!s:.60} has no time zone; UTC, or an offset from it, is needed.", _EXAMPLE)
    if not FIRST_YEAR <= found.year < END:
        raise UsageError(
            f"created: the year {found.year} came; {FIRST_YEAR} to {END - 1} were expected, which every form of an "
            "answer can say in any time zone.",
            _EXAMPLE,
        )
    return found
