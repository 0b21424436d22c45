"""The slices that somebody names, such as those of a lesion: by their numbers, or by the images that they are.

Slices are numbered from 1 at the feet, in the order of the volume, as the pictures and texts of this program name them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .encode import UnusableValueError, json_type

Slices = str | tuple[int, int] | list[int]
"""The first and the last slice: "40-52", or both numbers."""

_SPAN = re.compile(r"\s*(\d{1,9})\s*-\s*(\d{1,9})\s*", re.ASCII)
_EXPECTED = "the numbers of the first and the last slice were expected, such as 40-52"


@dataclass(frozen=True)
class SliceSpan:
    """Slices by their numbers, from 1, the last one included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def read_span(given: object) -> SliceSpan:
    """A span as it was written.

    Raises:
        UnusableValueError: not two numbers, or none of slices, or the second is below the first.
    """
    if isinstance(given, str):
        found = _SPAN.fullmatch(given)
        if found is None:
            raise UnusableValueError(f"{given[:40]!r} came; {_EXPECTED}")
        first, last = int(found[1]), int(found[2])
    elif isinstance(given, Sequence) and len(given) == 2 and all(type(number) is int for number in given):
        first, last = given
    else:
        what = f"{len(given)} values" if isinstance(given, Sequence) else f"a {json_type(given)}"
        raise UnusableValueError(f"{what} came; {_EXPECTED}")
    if first < 1:
        raise UnusableValueError(f"{first}-{last} came; slices are numbered from 1, the one nearest to the feet")
    if last < first:
        raise UnusableValueError(
            f"{first}-{last} came, whose last slice lies before its first; was {last}-{first} meant?"
        )
    return SliceSpan(first, last)
