"""An axis: where a value lies on it, and which round values are marked."""

import math
from dataclasses import dataclass

LOGARITHMIC_FROM = 6.0
"""The largest value over the smallest from which an axis is logarithmic."""


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high`, drawn from `left` to `right`."""

    low: float
    high: float
    left: float
    right: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: list[float], left: float, right: float) -> "Scale":
        """An axis with a margin around positive values; logarithmic where they are far apart."""
        low, high = min(values), max(values)
        if low > 0 and high / low >= LOGARITHMIC_FROM:
            return cls(low / 1.15, high * 1.15, left, right, True)
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        return cls(max(0.0, low - margin), high + margin, left, right)

    def at(self, value: float) -> float:
        """Where a value is drawn."""
        low, high, value = (math.log(one) if self.logarithmic else one for one in (self.low, self.high, value))
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def ticks(self) -> list[float]:
        """Round values within the axis, about six."""
        if not self.logarithmic:
            step = round_up((self.high - self.low) / 6)
            first = math.ceil(self.low / step)
            return [index * step for index in range(first, math.floor(self.high / step) + 1)]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        marks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        return [mark for mark in marks if self.low <= mark <= self.high]


def round_up(value: float) -> float:
    """The next number of the form 1, 2 or 5 times a power of ten; 1 for what is not positive."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((digit * power for digit in (1, 2, 5) if digit * power >= value * (1 - 1e-9)), 10 * power)
