"""Constants of a manifest that cannot be meant: what is computed with them is not finite, or tells nothing apart.

Networks see single precision, so that is what is looked at. A standard deviation of 1e-320 is a valid number, and
everything divided by it is infinite; with a mean of 1e30, every value becomes the same.
"""

import struct
from collections.abc import Callable, Collection
from math import inf, isfinite


def single(value: float) -> float:
    """The nearest number of single precision; infinite beyond these."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return inf


def check_arithmetic(what: str, compute: Callable[[float], float], values: Collection[float]) -> None:
    """Refuse constants that make of these values, which differ, ones that are not finite or do not differ.

    Args:
        what: the constants, as the message names them.
        compute: with them, in double precision or single.

    Raises:
        ValueError: they do.
    """
    found = {}
    for value in values:
        try:
            found[value] = single(compute(value))
        except (OverflowError, ZeroDivisionError):
            found[value] = inf
        if not isfinite(found[value]):
            raise ValueError(f"{what} cannot be meant: of {value:g} they make a number that is not finite")
    if len(set(found.values())) < len(found):
        shown = " and ".join(f"{value:g}" for value in sorted(found)[:2])
        raise ValueError(f"{what} cannot be meant: values that differ, such as {shown}, become one")
