"""How the axes of a volume lie in the patient: three letters, each the direction in which an index increases."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

HEAD_BACK_LEFT = "SPL"
"""The orientation that a study is read in: slices to the head, rows to the back, columns to the left."""

AXIS_OF = {"S": 0, "I": 0, "P": 1, "A": 1, "L": 2, "R": 2}
"""Which axis of [D, H, W], toward head, back and left, a letter is about."""


def oriented(volume: NDArray[Number], axes: str) -> NDArray[Number]:
    """A view of [D, H, W], toward head, back and left, with axes that rise as these three letters say."""
    order = [AXIS_OF[letter] for letter in axes]
    return volume.transpose(order)[tuple(slice(None, None, -1 if letter in "RAI" else 1) for letter in axes)]


def canonical(volume: NDArray[Number], axes: str) -> NDArray[Number]:
    """A view of a volume with such axes as [D, H, W] toward head, back and left: the way back from `oriented`."""
    turned = volume[tuple(slice(None, None, -1 if letter in "RAI" else 1) for letter in axes)]
    return turned.transpose(np.argsort([AXIS_OF[letter] for letter in axes]))
