"""The few slices that an answer is shown by: of the window that it rests on, or of each series one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..inputs.prepare import Prepared, PreparedImage, PreparedSeries
from ..volume import SourceImage
from .explain import ExplanationMap
from .heatmap import PADDING, over_slice, slice_names, slice_numbers

MOST = 4
"""Slices of one answer."""


@dataclass(frozen=True, eq=False)
class KeySlice:
    """One plane, as the network saw it.

    name: in the study's own numbers; of an image empty. values: [H, W]. at: its place in the window. number: its place
        in the volume, from 0.
    image: what it was made from; None where that is not known, or where it was interpolated.
    drawn: the heat map that covers it, if one does.
    """

    input: str
    name: str
    values: NDArray[np.float32]
    at: int
    number: int
    image: SourceImage | None
    drawn: ExplanationMap | None = None

    @property
    def part(self) -> NDArray[np.float32] | None:
        """Of the heat map, what lies over this plane, [R, C]."""
        if self.drawn is None:
            return None
        over: NDArray[np.float32] = self.drawn.values[self._plane]
        return over

    @property
    def _plane(self) -> int:
        """Of the map, counted along the slices."""
        first, end = (0, 1) if self.drawn is None else self.drawn.slices
        return 0 if self.drawn is None else (self.at - first) * len(self.drawn.values) // (end - first)

    @property
    def highest(self) -> float:
        """Of the heat map over this plane; below all values where there is none."""
        return float("-inf") if self.part is None else float(self.part.max())

    @property
    def strength(self) -> NDArray[np.float64]:
        """Of the heat map's colour over each pixel, [H, W], from 0 to 1 where the map is highest."""
        height, width = self.values.shape
        over = None if self.drawn is None else over_slice(self.drawn, self.at, (height, width))
        return np.zeros((height, width)) if over is None else over


def key_slices(
    prepared: Prepared, deciding: int, maps: Sequence[ExplanationMap] = (), *, series: int = MOST
) -> tuple[KeySlice, ...]:
    """The image; slices of the deciding window, evenly spread; or of several series the middle one of each.

    Of a series with a heat map that differs from slice to slice, the slice with its highest value takes the place of
    the nearest of these.

    Args:
        deciding: the window that the answer rests on.
        maps: of that window.
        series: so many at most.
    """
    if prepared.image is not None:
        return (_of_image(prepared.image, maps),)
    found: list[KeySlice] = []
    parts = MOST if len(prepared.series) == 1 else 1
    for entry in prepared.series[:series]:
        found += _of_series(entry, deciding, parts, maps)
    return tuple(found)


def _of_image(entry: PreparedImage, maps: Sequence[ExplanationMap]) -> KeySlice:
    drawn = next((one for one in maps if one.input == entry.input), None)
    image = entry.facts.images[0] if entry.facts.images else None
    return KeySlice(entry.input, "", entry.values[0, 0], 0, 0, image, drawn)


def _of_series(entry: PreparedSeries, deciding: int, parts: int, maps: Sequence[ExplanationMap]) -> Iterator[KeySlice]:
    windows = entry.windows
    start = windows.starts[deciding]
    numbers = slice_numbers(entry, deciding)
    names = slice_names(entry, deciding)
    own = [at for at, name in enumerate(names) if name != PADDING]  # without what a short study was padded with
    parts = min(parts, len(own))
    places = [own[int((part + 0.5) * len(own) / parts)] for part in range(parts)]
    drawn = next((one for one in maps if one.input == entry.input), None)
    if drawn is not None and (peak := min(max(_peak(drawn), own[0]), own[-1])) not in places and len(drawn.values) > 1:
        places[int(np.argmin([abs(place - peak) for place in places]))] = peak
    images = entry.facts.images
    for at in places:
        number = numbers[at] - 1
        image = images[number] if images else None
        over = drawn if drawn is not None and drawn.slices[0] <= at < drawn.slices[1] else None
        yield KeySlice(entry.input, names[at], windows.slices[start + at], at, number, image, over)


def _peak(drawn: ExplanationMap) -> int:
    """The slice of the window in the middle of the part with the highest value."""
    first, end = drawn.slices
    highest = int(np.argmax(drawn.values.reshape(len(drawn.values), -1).max(axis=1)))
    return first + int((highest + 0.5) * (end - first) / len(drawn.values))
