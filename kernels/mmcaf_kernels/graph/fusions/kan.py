"""kan: SiLU and cubic splines of every input, the splines as polynomials of the distance from the knot below."""

import numpy as np

from ..fuse import Call
from ..graph import Array
from ..pattern import Made, Value, View, Weight

POWERS = 4
CLOSE = 1e-5
"""Largest difference, relative to the largest coefficient, of the polynomials from those of the splines found."""


def find(view: View, name: str) -> Call | None:
    x, lower, upper, zero, base, pieces = Value(), Weight(), Weight(), Weight(), Weight(), Weight()
    column = Made("Unsqueeze", x)
    inside = Made("And", Made("GreaterOrEqual", column, lower), Made("Less", column, upper))
    step = Made("Where", inside, Made("Sub", column, lower), zero)
    square = Made("Mul", step, step)
    terms = (Made("Cast", inside), step, square, Made("Mul", square, step))
    powers = Made("Concat", *(Made("Unsqueeze", term) for term in terms), axis=-1)
    smooth = Made("MatMul", Made("Mul", x, Made("Sigmoid", x)), base)
    match = view.match(Made("Add", smooth, Made("MatMul", Made("Reshape", powers), pieces)), name)
    if match is None or match.weight(zero).any():
        return None
    below, above = match.weight(lower), match.weight(upper)
    if below.ndim != 2 or below.shape != above.shape or not np.array_equal(below[:, 1:], above[:, :-1]):
        return None
    knots = np.concatenate([below, above[:, -1:]], axis=1)
    coefficients = spline_coefficients(knots, match.weight(pieces))
    if coefficients is None:
        return None
    return Call("kan", [match[x]], [knots, match.weight(base), coefficients], precise=True)


def spline_coefficients(knots: Array, pieces: Array) -> Array | None:
    """The splines that are these polynomials; None if there are none.

    knots [inputs, K], pieces [inputs * (K - 1) * 4, outputs] -> [inputs, outputs, K - 4], float32.
    """
    inputs, count = knots.shape
    if count < POWERS + 1 or pieces.shape[0] != inputs * (count - 1) * POWERS or (np.diff(knots, axis=1) < 0).any():
        return None
    wanted = pieces.astype(np.float64).reshape(inputs, -1, pieces.shape[1])  # [inputs, pieces * powers, outputs]
    basis = _polynomials(knots.astype(np.float64)).transpose(0, 1, 3, 2)
    basis = basis.reshape(inputs, -1, basis.shape[-1])  # [inputs, pieces * powers, bases]
    solved = np.linalg.pinv(basis) @ wanted
    if np.abs(basis @ solved - wanted).max() > CLOSE * np.abs(wanted).max():
        return None
    return np.ascontiguousarray(solved.transpose(0, 2, 1), np.float32)


def _polynomials(knots: Array) -> Array:
    """Of every basis on every piece, by Cox and de Boor: [inputs, K - 1 pieces, K - 4 bases, powers]."""
    inputs, count = knots.shape
    bases = np.zeros((inputs, count - 1, count - 1, POWERS), knots.dtype)
    bases[:, range(count - 1), range(count - 1), 0] = 1
    start = knots[:, :-1, None]
    for order in range(1, POWERS):
        span = knots[:, order:] - knots[:, :-order]
        inverse = np.divide(1, span, out=np.zeros_like(span), where=span > 0)[:, None, :]
        rise, fall = inverse[:, :, :-1], inverse[:, :, 1:]
        left, right = knots[:, None, : -order - 1], knots[:, None, order + 1 :]
        rising = _times(bases[:, :, :-1], (start - left) * rise, rise)
        bases = rising + _times(bases[:, :, 1:], (right - start) * fall, -fall)
    return bases


def _times(polynomial: Array, constant: Array, slope: Array) -> Array:
    """The product with constant + slope * distance; the highest power stays zero."""
    raised = np.pad(polynomial[..., :-1], [(0, 0)] * 3 + [(1, 0)])
    return polynomial * constant[..., None] + raised * slope[..., None]
