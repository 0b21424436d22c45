"""From stored values to grey values: the modality's rescale, the values of interest, and which end is bright."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
"""VOILUTFunction (0028,1056)."""

WHITE = 255.0
"""Grey values run from 0, black, to this."""


@dataclass(frozen=True)
class Table:
    """A lookup table (PS3.3 C.11.1.1.1): `entries` are for the input `first` and those after it, up to `top`.

    Inputs below the first take its entry, inputs beyond the last one the last.

    remark: on what its header says of it, if that is not so.
    """

    first: int
    entries: Values
    top: float
    remark: str = ""

    def __call__(self, values: Values) -> Values:
        at = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        looked_up: Values = self.entries[at]
        return looked_up


@dataclass(frozen=True)
class Rescale:
    """A linear modality transformation (PS3.3 C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, values: Values) -> Values:
        return values * self.slope + self.intercept


@dataclass(frozen=True)
class Window:
    """Values of interest around a centre (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

    centre: float
    width: float
    function: Function = "LINEAR"

    def shares(self, values: Values) -> Values:
        """Where each value lies from black, 0, to white, 1."""
        centre, width = self.centre, self.width
        if self.function == "SIGMOID":
            # From 60 on nothing is left of the difference from 0 or 1, and exp does not overflow.
            return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -60.0, 60.0)))
        if self.function == "LINEAR":
            centre, width = centre - 0.5, width - 1.0
        if width <= 0:  # of LINEAR with a width of 1
            return (values > centre).astype(np.float64)
        return np.clip((values - centre) / width + 0.5, 0.0, 1.0)


@dataclass(frozen=True)
class Range:
    """All values from `low` to `high`, evenly: what remains where the header names no values of interest."""

    low: float
    high: float

    def shares(self, values: Values) -> Values:
        """Where each value lies from black, 0, to white, 1."""
        return np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)


@dataclass(frozen=True)
class OfInterest:
    """A VOI lookup table (PS3.3 C.11.2.1.1)."""

    table: Table

    def shares(self, values: Values) -> Values:
        """Where each value's entry lies from black, 0, to white, 1."""
        return np.clip(self.table(values) / self.table.top, 0.0, 1.0)


@dataclass(frozen=True)
class GreyScale:
    """All that leads from a stored value to its grey value."""

    modality: Rescale | Table
    interest: Window | Range | OfInterest
    inverted: bool

    def __call__(self, stored: NDArray[np.integer]) -> NDArray[np.float32]:
        """The grey value of each stored value, float32 from 0 to 255; computed once for each that occurs."""
        low, high = int(stored.min()), int(stored.max())
        scale = self.of(np.arange(low, high + 1, dtype=np.float64)).astype(np.float32)
        grey: NDArray[np.float32] = scale[np.subtract(stored, low, dtype=np.int32)]
        return grey

    def of(self, stored: Values) -> Values:
        """The same in double precision, value by value."""
        shares = self.interest.shares(self.modality(stored))
        return WHITE * (1.0 - shares if self.inverted else shares)
