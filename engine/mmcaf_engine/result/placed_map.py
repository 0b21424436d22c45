"""Heat maps where they lie: over the pixels of the study's own images, and in the patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.extent import Edges, Extent, part_of, window_extent
from ..inputs.prepare import Prepared, PreparedSeries
from ..manifest import Manifest
from ..volume import Placement, Vector
from .explain import ExplanationMap


@dataclass(frozen=True)
class PlacedMap:
    """A heat map over a volume.

    extent: what it covers of the volume. placement: where that lies.
    """

    map: ExplanationMap
    extent: Extent
    placement: Placement

    def highest(self, number: int) -> tuple[Edges, Edges] | None:
        """Rows and columns of the part with the highest value in a slice of the volume, counted from 0; None if nothing
        there is above the map's floor.
        """
        at = _parts(np.array([number + 0.5]), self.extent.slices, len(self.map.values))[0]
        if not 0 <= at < len(self.map.values):
            return None
        plane = self.map.values[at]
        row, column = np.unravel_index(int(np.argmax(plane)), plane.shape)
        if plane[row, column] <= self.map.floor:
            return None
        rows = part_of(self.extent.rows, float(row), float(row + 1), plane.shape[0])
        return rows, part_of(self.extent.columns, float(column), float(column + 1), plane.shape[1])

    def place(self, slice_: float, row: float, column: float) -> Vector:
        """Of a point of the volume, in mm (LPS); 0.5 is the middle of the first slice, row or column."""
        along = np.array([slice_, row, column]) - 0.5
        steps = along * np.array(self.placement.spacing_mm)
        x, y, z = np.array(self.placement.origin_mm) + steps @ np.array(self.placement.direction)
        return float(x), float(y), float(z)


@dataclass(frozen=True)
class Sampled:
    """A heat map in slices of the volume.

    values: float32 [S, R, C]. slices: the volume's, from 0. positions_mm: of each one's first pixel.
    spacing_mm: between rows and between columns.
    """

    values: NDArray[np.float32]
    slices: tuple[int, ...]
    positions_mm: tuple[Vector, ...]
    spacing_mm: tuple[float, float]


def placed_maps(prepared: Prepared, manifest: Manifest, maps: Sequence[ExplanationMap]) -> tuple[PlacedMap, ...]:
    """Those that lie over a volume whose place is known."""
    by_input = {entry.input: entry for entry in prepared.series}
    return tuple(
        PlacedMap(one, _extent(one, by_input[one.input], manifest), placement)
        for one in maps
        if one.input in by_input and (placement := by_input[one.input].placement) is not None
    )


def sampled(placed: PlacedMap, most_bytes: int) -> Sampled:
    """The slices of the volume whose middle the map covers, with its value at the middle of each pixel.

    A pixel is that of the study, or as many of its rows and columns together as it takes for no more than `most_bytes`
    of float32.
    """
    extent, values = placed.extent, placed.map.values
    inside = [at for at in range(placed.placement.shape[0]) if extent.slices[0] <= at + 0.5 < extent.slices[1]]
    tall, wide = (high - low for low, high in (extent.rows, extent.columns))
    factor = 1
    while len(inside) * _pixels(tall, factor) * _pixels(wide, factor) * 4 > most_bytes:
        factor += 1
    rows = extent.rows[0] + (np.arange(_pixels(tall, factor)) + 0.5) * factor
    columns = extent.columns[0] + (np.arange(_pixels(wide, factor)) + 0.5) * factor
    parts = (
        _parts(np.array(inside) + 0.5, extent.slices, values.shape[0]),
        np.minimum(_parts(rows, extent.rows, values.shape[1]), values.shape[1] - 1),
        np.minimum(_parts(columns, extent.columns, values.shape[2]), values.shape[2] - 1),
    )
    _, between_rows, between_columns = placed.placement.spacing_mm
    return Sampled(
        values=np.ascontiguousarray(values[np.ix_(*parts)], np.float32),
        slices=tuple(inside),
        positions_mm=tuple(placed.place(at + 0.5, float(rows[0]), float(columns[0])) for at in inside),
        spacing_mm=(between_rows * factor, between_columns * factor),
    )


def _pixels(length: float, factor: int) -> int:
    return max(int(np.ceil(length / factor - 1e-9)), 1)


def _parts(points: NDArray[np.floating[Any]], edges: Edges, count: int) -> NDArray[np.intp]:
    """In which of so many equal parts each point lies."""
    low, high = edges
    found: NDArray[np.intp] = np.floor((points - low) / (high - low) * count).astype(np.intp)
    return found


def _extent(one: ExplanationMap, entry: PreparedSeries, manifest: Manifest) -> Extent:
    shape = (entry.facts.slices, 0, 0) if entry.placement is None else entry.placement.shape
    whole = window_extent(shape, manifest.of_volumes, entry.windows, one.window)
    slices = part_of(whole.slices, *one.slices, entry.windows.depth)
    return Extent(slices, whole.rows, whole.columns)
