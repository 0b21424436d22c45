"""The lowest and highest value of each slice: what tells a series in which there is nothing to be seen."""

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyError


class Extremes:
    """Looks at the slices of one series in any order, from any thread.

    Args:
        shape: slices, rows and columns.
        name: what messages call the series.
    """

    def __init__(self, shape: tuple[int, int, int], name: str) -> None:
        self._shape, self._name = shape, name
        self._ends = np.zeros((shape[0], 2))

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
