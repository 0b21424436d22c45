"""A figure with its 95 % interval, or in words why it has none."""

from dataclasses import dataclass

LEVEL = 0.95
"""Of every interval."""

Z = 1.959963984540054
"""The normal quantile of 0.975, for two-sided intervals of that level."""


@dataclass(frozen=True)
class Figure:
    """A figure with its interval.

    value: None where it is not defined. low, high: None where no interval can be given. note: in words, why not.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Proportion:
    """So many of so many, with Wilson's interval; all but the counts are None where there is nothing to count."""

    count: int
    of: int
    value: float | None
    low: float | None
    high: float | None


def wilson(count: int, of: int) -> Proportion:
    """The score interval of a proportion (Wilson, J Am Stat Assoc 22, 1927, 209-212), never outside 0 to 1.

    Args:
        count: 0 to `of`.
    """
    if not of:
        return Proportion(count, of, None, None, None)
    share, extra = count / of, Z * Z / of
    middle = (share + extra / 2) / (1 + extra)
    half = Z / (1 + extra) * (share * (1 - share) / of + extra / (4 * of)) ** 0.5
    return Proportion(
        count, of, share, 0.0 if count == 0 else middle - half, 1.0 if count == of else min(1.0, middle + half)
    )
