"""Kolmogorov-Arnold layer: checks, launch, and the operator mmcaf::kan."""

from torch import Tensor

from ..checks import INPUTS, check_index, check_tensor
from ..launch import Launch, ceil_div, new, path, power_of_two, run
from ..operators import operator
from . import reference

MOST_OUTPUTS = 32
"""Of one program."""


def kan(x: Tensor, knots: Tensor, base: Tensor, coefficients: Tensor) -> Tensor:
    """y[n, o] = sum over i of base[i, o] silu(x[n, i]) + sum over j of coefficients[i, o, j] B_j(x[n, i]).

    Args:
        x: [N, inputs], float32, float16 or bfloat16, contiguous.
        knots: [inputs, K] float32, K at least 5, not decreasing along K (not checked); B_j are the
            cubic B-splines on them, zero outside [knots[0], knots[K - 1]).
        base: [inputs, outputs] float32 (see `fold`).
        coefficients: [inputs, outputs, K - 4] float32.

    Returns:
        [N, outputs] in the type of x. Knots are used as stored, equally spaced or not.

    Raises:
        TypeError: a wrong type.
        ValueError: a wrong shape or device, or a tensor that is not contiguous.
    """
    _check(x, knots, base, coefficients)
    result: Tensor = _call(x, knots, base, coefficients)
    return result


def launches(x: Tensor, knots: Tensor, base: Tensor, coefficients: Tensor, out: Tensor) -> list[Launch]:
    """What computes `out`; the tensors may be on the meta device."""
    from .kernel import kan_kernel

    samples, inputs = x.shape
    outputs = base.shape[1]
    block, block_outputs = power_of_two(samples, 1, 16), power_of_two(outputs, 1, MOST_OUTPUTS)
    tiles = ceil_div(outputs, block_outputs)
    arguments = {
        "x": x,
        "knots": knots,
        "base": base,
        "coefficients": coefficients,
        "out": out,
        "samples": samples,
        "inputs": inputs,
        "outputs": outputs,
        "count": knots.shape[1],
        "tiles": tiles,
    }
    grid = (ceil_div(samples, block) * tiles,)
    warps = power_of_two(block * block_outputs // 32, 1, 4)
    return [Launch(kan_kernel, grid, arguments, {"block": block, "block_outputs": block_outputs}, warps)]


def _compute(x: Tensor, knots: Tensor, base: Tensor, coefficients: Tensor) -> Tensor:
    _check(x, knots, base, coefficients)
    if not path(x).runs_kernel:
        return reference.kan(x, knots, base, coefficients)
    out = new(x, (x.shape[0], base.shape[1]))
    if out.numel():
        run(launches(x, knots, base, coefficients, out), x)
    return out


def _fake(x: Tensor, knots: Tensor, base: Tensor, coefficients: Tensor) -> Tensor:
    _check(x, knots, base, coefficients)
    return new(x, (x.shape[0], base.shape[1]))


def _check(x: Tensor, knots: Tensor, base: Tensor, coefficients: Tensor) -> None:
    check_tensor("kan", "x", x, ("N", "inputs"), dtypes=INPUTS)
    inputs = x.shape[1]
    check_tensor("kan", "knots", knots, (inputs, "K"), beside=x)
    count = knots.shape[1]
    if count < reference.ORDER + 2:
        raise ValueError(f"kan: knots is {list(knots.shape)}; a cubic spline needs at least 5 knots")
    check_tensor("kan", "base", base, (inputs, "outputs"), beside=x)
    check_tensor("kan", "coefficients", coefficients, (inputs, base.shape[1], count - 4), beside=x)
    check_index("kan", "coefficients", coefficients, (inputs * base.shape[1] + MOST_OUTPUTS) * count)


_compute.__name__ = "kan"
_call = operator(_compute, _fake, autocast="float32", activations=("x",))
