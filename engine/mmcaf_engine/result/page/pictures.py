"""The slices that a page holds, as the network saw them, and the heat maps over them, as PNG files.

A map is a picture of its own, which lies over the slice, so that each slice is held once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...inputs.prepare import Prepared, PreparedImage, PreparedSeries
from ..drawing import grey_of, overlay, png
from ..explain import ExplanationMap
from ..heatmap import PADDING, over_slice, slice_names
from ..key_slices import key_slices

MOST_PICTURES = 160
"""Slices that a page holds, those of all inputs together."""
MOST_PIXELS = 6_000_000
"""Of all slices together; at one byte each, a page has at most 8 MB of them."""
LEAST_FRAMES = 4
"""Positions that are held however large the slices are."""
MOST_MAPS = 8
LARGEST_SIDE = 1024
"""Pixels; what is larger is reduced by a whole number."""


@dataclass(frozen=True)
class Tile:
    """One slice of one input.

    name: in the study's own numbers; empty of an image. grey: a PNG file. maps: number of a map that covers it -> a PNG
    file of the same size, transparent where the map shows nothing.
    """

    input: str
    name: str
    grey: bytes = field(repr=False)
    maps: dict[int, bytes] = field(repr=False)


@dataclass(frozen=True)
class Pictures:
    """What a page shows of a study.

    frames: position among the slices, from the feet upwards -> the slice of every input there; rising.
    keys: what the answer is shown by, in few pictures: position, input.
    positions: how many there are; those that are not among `frames` are left out.
    of_window: how many of the deciding window are left out.
    reduced: whether slices are shown smaller than the network saw them.
    """

    frames: dict[int, tuple[Tile, ...]]
    keys: tuple[tuple[int, str], ...]
    positions: int
    of_window: int
    reduced: bool


def draw_pictures(prepared: Prepared, deciding: int, maps: Sequence[ExplanationMap]) -> Pictures | None:
    """The pictures of an answer; None where the network read no study.

    Args:
        deciding: the window that the answer rests on most.
        maps: at most `MOST_MAPS`.
    """
    if prepared.image is not None:
        return _of_image(prepared.image, maps)
    if not prepared.series:
        return None
    names = [_names(entry) for entry in prepared.series]
    positions = sorted({at for entry in names for at in entry})
    start, depth = prepared.starts[deciding], prepared.series[0].windows.depth
    window = [at for at in positions if start <= at < start + depth]
    found = key_slices(prepared, deciding, maps, series=len(prepared.series))
    keys = tuple((start + key.at, key.input) for key in found)
    pixels = sum(_size(*entry.windows.slices.shape[1:]) for entry in prepared.series)
    most = max(min(MOST_PICTURES // len(prepared.series), MOST_PIXELS // pixels), LEAST_FRAMES)
    shown = _chosen(positions, window, {at for at, _ in keys}, most)
    frames: dict[int, tuple[Tile, ...]] = dict.fromkeys(shown, ())
    for entry, named in zip(prepared.series, names, strict=True):
        held = [at for at in shown if at in named]
        for at, plane in zip(held, grey_of(entry.windows.slices[held]), strict=True):
            frames[at] += (_tile(entry.input, named[at], plane, maps, at - start),)
    left_out = sum(at not in frames for at in window)
    reduced = any(_factor(*entry.windows.slices.shape[1:]) > 1 for entry in prepared.series)
    return Pictures(frames, keys, len(positions), left_out, reduced)


def _of_image(image: PreparedImage, maps: Sequence[ExplanationMap]) -> Pictures:
    plane = image.values[0, 0]
    tile = _tile(image.input, "", grey_of(plane), maps, 0)
    return Pictures({0: (tile,)}, ((0, image.input),), 1, 0, _factor(*plane.shape) > 1)


def _names(entry: PreparedSeries) -> dict[int, str]:
    """Position -> name of each slice, without what a short study was padded with."""
    found = {
        start + at: name
        for window, start in enumerate(entry.windows.starts)
        for at, name in enumerate(slice_names(entry, window))
    }
    return {at: name for at, name in found.items() if name != PADDING}


def _chosen(positions: Sequence[int], window: Sequence[int], keys: set[int], most: int) -> list[int]:
    """All positions, or so many: the window's, if they leave half the room, and evenly spread ones of the others."""
    if len(positions) <= most:
        return list(positions)
    chosen = keys | set(_spread(window, max(most // 2, len(keys))))
    others = [at for at in positions if at not in chosen]
    return sorted(chosen | set(_spread(others, most - len(chosen))))


def _spread(positions: Sequence[int], count: int) -> Iterator[int]:
    count = min(max(count, 0), len(positions))
    return (positions[int((part + 0.5) * len(positions) / count)] for part in range(count))


def _over(maps: Sequence[ExplanationMap], name: str, at: int, shape: tuple[int, int]) -> dict[int, bytes]:
    """Number of each map of an input that covers a slice of its window -> what lies over the slice, as PNG."""
    found = {number: over_slice(one, at, shape) for number, one in enumerate(maps) if one.input == name}
    return {number: png(overlay(strength)) for number, strength in found.items() if strength is not None}


def _tile(name: str, title: str, grey: NDArray[np.float64], maps: Sequence[ExplanationMap], at: int) -> Tile:
    """at: place of the slice in the window that the maps are of."""
    plane = _reduced(grey)
    height, width = plane.shape
    return Tile(name, title, png(plane), _over(maps, name, at, (height, width)))


def _factor(height: int, width: int) -> int:
    return -(-max(height, width) // LARGEST_SIDE)


def _size(height: int, width: int) -> int:
    factor = _factor(height, width)
    return -(-height // factor) * -(-width // factor)


def _reduced(grey: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A plane of grey values, no side longer than a page shows."""
    from PIL import Image

    plane = grey.round().astype(np.uint8)
    factor = _factor(*plane.shape)
    return plane if factor == 1 else np.asarray(Image.fromarray(plane).reduce(factor))
