"""Where what the network saw lies in the volume or image that it was made from."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..manifest import CenterCropStep, PreprocessingSpec, ResizeStep, ResizeVolumeStep
from .windows import Windows

Edges = tuple[float, float]


@dataclass(frozen=True)
class Extent:
    """A box, by its edges: the first slice, row or column reaches from 0 to 1."""

    slices: Edges
    rows: Edges
    columns: Edges


def window_extent(shape: Sequence[int], spec: PreprocessingSpec, windows: Windows, window: int) -> Extent:
    """Of one window; where it was padded, it ends behind the last slice, or begins before the first.

    Args:
        shape: slices, rows and columns of the volume.
    """
    _, rows, columns = shape
    thick = 1.0 if windows.resized_from is None else windows.resized_from / len(windows.slices)
    first = windows.starts[window] - windows.before
    found: list[Edges] = []
    for axis, whole in enumerate((rows, columns)):
        low, high, size = 0.0, float(whole), whole
        for step in spec.steps:
            if isinstance(step, ResizeStep):
                size = (step.rows, step.columns)[axis]
            elif isinstance(step, CenterCropStep):
                kept = (step.rows, step.columns)[axis]
                pixel, cut = (high - low) / size, (size - kept) // 2
                low, high, size = low + cut * pixel, low + (cut + kept) * pixel, kept
            elif isinstance(step, ResizeVolumeStep):
                size = windows.slices.shape[1 + axis]
        found.append((low, high))
    return Extent((first * thick, (first + windows.depth) * thick), found[0], found[1])


def part_of(edges: Edges, first: float, end: float, of: float) -> Edges:
    """The edges of some of equal parts: from the start of part `first` to that of part `end`, of so many."""
    low, high = edges
    width = (high - low) / of
    return low + first * width, low + end * width
