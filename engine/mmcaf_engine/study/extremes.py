"""What the values of a series tell of it, slice by slice: whether there is anything to be seen, and of one volume."""

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyError
from ..volume import Intensity

SIDE = 32
"""Samples along each side of a slice, by which slices are compared."""
HIGHEST_AIR_HU = -500
"""A patient in a scanner has air around or within; a volume that is all above holds no Hounsfield units."""
MOST_VOLUMES = 4
UNLIKE = 1.2
"""Slices of volumes that lie within each other differ so many times more from their neighbours than from the next of
their own volume; those of one volume differ less, or by their noise alike."""
STRAY = 3.0
"""As `UNLIKE`, of a single slice; an organ that moves for one slice changes a part of it."""
NEARLY_ALL = 0.9
FEWEST_OF_EACH = 3


class Extremes:
    """Looks at the slices of one series in any order, from any thread.

    Args:
        shape: slices, rows and columns.
        name: what messages call the series.
    """

    def __init__(self, shape: tuple[int, int, int], name: str) -> None:
        self._shape, self._name = shape, name
        self._ends = np.zeros((shape[0], 2))
        self._steps = [max(side // SIDE, 1) for side in shape[1:]]
        sampled = [len(range(step // 2, side, step)) for step, side in zip(self._steps, shape[1:], strict=True)]
        self._samples = np.zeros((shape[0], math.prod(sampled)), np.float32)

    def look(self, index: int, values: NDArray[np.integer] | NDArray[np.floating]) -> None:
        """Look at slice `index`, intensities [H, W].

        Raises:
            StudyError: a value is NaN or infinite.
        """
        self._ends[index] = values.min(), values.max()
        if not np.isfinite(self._ends[index]).all():
            broken = int(np.count_nonzero(~np.isfinite(values)))
            raise StudyError(
                f"{self._name}: slice {index + 1} of {self._shape[0]}: {broken} of {values.size} pixels are NaN or "
                "infinite; finite intensities were expected.",
                "Export the series again.",
            )
        rows, columns = self._steps
        self._samples[index] = values[rows // 2 :: rows, columns // 2 :: columns].ravel()

    def refuse_one_value(self) -> None:
        """Once every slice was looked at.

        Raises:
            StudyError: every voxel has the same value.
        """
        low, high = float(self._ends[:, 0].min()), float(self._ends[:, 1].max())
        if low == high:
            raise StudyError(
                f"{self._name}: each of its {math.prod(self._shape)} voxels has the value {low:g}; there is nothing to "
                "be seen in it.",
                "Send the series again from its source.",
            )

    def warnings(self, intensity: Intensity) -> tuple[str, ...]:
        """What is irregular, once every slice was looked at."""
        found = [self._without_air() if intensity == "hounsfield" else "", self._blank(), self._repeated()]
        found.append(self._within_each_other() or self._strays())
        return tuple(f"{self._name}: {text}" for text in found if text)

    def _without_air(self) -> str:
        low = float(self._ends[:, 0].min())
        if low <= HIGHEST_AIR_HU:
            return ""
        return (
            f"its lowest value is {low:g} HU, where air, at -1000 HU, was expected around or within a patient; its "
            "rescale may be wrong, or the values are no Hounsfield units."
        )

    def _blank(self) -> str:
        blank = np.flatnonzero(self._ends[:, 0] == self._ends[:, 1])
        if not blank.size:
            return ""
        return (
            f"{blank.size} of {self._shape[0]} slices have one value each, first slice {blank[0] + 1}; there is "
            "nothing to be seen in them."
        )

    def _repeated(self) -> str:
        """Two images of one patient are never equal, for their noise; a program may have written one twice."""
        same = (self._samples[1:] == self._samples[:-1]).all(axis=1) & (self._ends[1:] == self._ends[:-1]).all(axis=1)
        same &= self._ends[1:, 0] < self._ends[1:, 1]
        pairs = np.flatnonzero(same)
        if not pairs.size:
            return ""
        return f"{pairs.size} slices hold the same values as the one before them, first slice {pairs[0] + 2}."

    def _within_each_other(self) -> str:
        """Slices that resemble the second next, or one further, more than their neighbours."""
        for volumes in range(2, MOST_VOLUMES + 1):
            if self._shape[0] < FEWEST_OF_EACH * volumes:
                break
            near, far = self._differences(1)[: 1 - volumes], self._differences(volumes)
            if np.count_nonzero(near > UNLIKE * far) >= NEARLY_ALL * len(far):
                return (
                    f"each slice resembles the one {volumes} slices further more than its neighbour, so that slices of "
                    f"{volumes} volumes may lie within each other; they were read as one volume."
                )
        return ""

    def _strays(self) -> str:
        """A slice of another volume, or of another rescale, among the others; of the first and last nobody can tell."""
        if self._shape[0] < FEWEST_OF_EACH:
            return ""
        near, across = self._differences(1), self._differences(2)
        stray = np.minimum(near[:-1], near[1:]) > STRAY * across
        stray &= self._ends[1:-1, 0] < self._ends[1:-1, 1]
        at = np.flatnonzero(stray)
        if not at.size:
            return ""
        return (
            f"{at.size} of {self._shape[0]} slices differ much more from both of their neighbours than these from each "
            f"other, first slice {at[0] + 2}; they may be of another volume."
        )

    def _differences(self, apart: int) -> NDArray[np.floating]:
        """Between slices so far apart, by their samples [S - apart]."""
        apart_by: NDArray[np.floating] = np.abs(self._samples[apart:] - self._samples[:-apart]).mean(axis=1)
        return apart_by
