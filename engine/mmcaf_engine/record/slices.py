"""The slices that somebody names, such as those of a lesion: by their numbers, or by the images that they are.

Slices are numbered from 1 at the feet, in the order of the volume, as the pictures and texts of this program name them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .encode import UnusableValueError, json_type

Slices = str | tuple[int, int] | list[int]
"""The first and the last slice: "40-52", or both numbers."""

_SPAN = re.compile(r"\s*(\d{1,9})\s*-\s*(\d{1,9})\s*", re.ASCII)
_UID = re.compile(r"\d+(?:\.\d+){2,}", re.ASCII)
_BETWEEN = re.compile(r"[\s,;]+")
_LONGEST_UID = 64
_OR_UIDS = "or the SOPInstanceUIDs of the slices"
_EXPECTED = "the numbers of the first and the last slice were expected, such as 40-52"


@dataclass(frozen=True)
class SliceSpan:
    """Slices by their numbers, from 1, the last one included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True)
class SliceImages:
    """Slices by the images that they are, in any order: each its SOPInstanceUID."""

    uids: tuple[str, ...] = field(repr=False)


NamedSlices = SliceSpan | SliceImages


def read_named(given: object) -> NamedSlices:
    """Slices as a record names them: as `read_span`, or SOPInstanceUIDs, in a list or parted by blanks, commas or ;.

    Raises:
        UnusableValueError: neither.
    """
    parts = given if isinstance(given, list) else _BETWEEN.split(given.strip()) if isinstance(given, str) else []
    if parts and all(isinstance(uid, str) and len(uid) <= _LONGEST_UID and _UID.fullmatch(uid) for uid in parts):
        return SliceImages(tuple(parts))
    try:
        return read_span(given)
    except UnusableValueError as reason:
        raise UnusableValueError(f"{reason}; {_OR_UIDS}", f"{reason.discreet}; {_OR_UIDS}") from None


def read_span(given: object) -> SliceSpan:
    """A span as it was written.

    Raises:
        UnusableValueError: not two numbers, or none of slices, or the second is below the first.
    """
    if isinstance(given, str):
        found = _SPAN.fullmatch(given)
        if found is None:
            raise UnusableValueError(f"{given[:40]!r} came; {_EXPECTED}", _EXPECTED)
        first, last = int(found[1]), int(found[2])
    elif isinstance(given, Sequence) and len(given) == 2 and all(type(number) is int for number in given):
        first, last = given
    else:
        what = f"{len(given)} values" if isinstance(given, Sequence) else f"a {json_type(given)}"
        raise UnusableValueError(f"{what} came; {_EXPECTED}")
    if first < 1:
        counted = f"slices are numbered from 1 at the feet; {_EXPECTED}"
        raise UnusableValueError(f"{first}-{last} came; {counted}", counted)
    if last < first:
        meant = f"was {last}-{first} meant?"
        raise UnusableValueError(
            f"{first}-{last} came, whose last slice is before its first ({meant}); {_EXPECTED}",
            f"the last slice is before the first; {_EXPECTED}",
        )
    return SliceSpan(first, last)
