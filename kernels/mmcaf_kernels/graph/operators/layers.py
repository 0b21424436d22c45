"""Convolutions, matrix products, norms, poolings, reductions and resampling."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import OPERATIONS, Arguments, Function, Operation, operation


@operation("Einsum")
def _einsum(given: Arguments) -> Function:
    equation = given("equation")
    return lambda *terms: torch.einsum(equation, *terms)


@operation("Conv")
def _convolution(given: Arguments) -> Function:
    given.expect("auto_pad", "NOTSET")
    group = given("group", 1)

    def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        axes = weight.ndim - 2
        stride, dilation = given("strides", [1] * axes), given("dilations", [1] * axes)
        pads = given("pads", [0] * 2 * axes)
        if group == 1 and set(weight.shape[2:]) == set(stride) == {1} and not any(pads):
            return pointwise(x, weight, bias)
        if pads[:axes] != pads[axes:]:
            sides = zip(pads[:axes], pads[axes:], strict=True)
            x, pads = F.pad(x, [side for pair in list(sides)[::-1] for side in pair]), [0] * 2 * axes
        return torch.convolution(x, weight, bias, stride, pads[:axes], dilation, False, [0] * axes, group)

    return convolve


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution of one tap as a matrix product, which reads and writes maps in the layout that the kernels read."""
    columns, matrix = x.flatten(2), weight.flatten(1).expand(x.shape[0], -1, -1)
    made = torch.bmm(matrix, columns) if bias is None else torch.baddbmm(bias[None, :, None], matrix, columns)
    return made.reshape(x.shape[0], -1, *x.shape[2:])


@operation("Gemm")
def _gemm(given: Arguments) -> Function:
    alpha, beta, turn_a, turn_b = given("alpha", 1.0), given("beta", 1.0), given("transA", 0), given("transB", 0)

    def multiply(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a, b = a.T if turn_a else a, b.T if turn_b else b
        return alpha * (a @ b) if c is None else torch.addmm(c, a, b, beta=beta, alpha=alpha)

    return multiply


@operation("BatchNormalization")
def _batch_norm(given: Arguments) -> Function:
    given.expect("training_mode", 0)
    eps = given("epsilon", 1e-5)

    def normalise(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    return normalise


@operation("LayerNormalization")
def _layer_norm(given: Arguments) -> Function:
    axis, eps = given("axis", -1), given("epsilon", 1e-5)

    def normalise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.layer_norm(x, x.shape[axis:], weight, bias, eps)

    return normalise


@operation("InstanceNormalization")
def _instance_norm(given: Arguments) -> Function:
    return lambda x, weight, bias: F.instance_norm(x, weight=weight, bias=bias, eps=given("epsilon", 1e-5))


def _pool(given: Arguments) -> dict[str, Any]:
    """Arguments that all poolings share; padding is the same at both ends."""
    given.expect("auto_pad", "NOTSET")
    kernel = given("kernel_shape")
    axes = len(kernel)
    pads = given("pads", [0] * 2 * axes)
    if pads[:axes] != pads[axes:]:
        raise given.unsupported(f"pads are {pads}; the same at both ends is known")
    return {
        "kernel_size": kernel,
        "stride": given("strides", [1] * axes),
        "padding": pads[:axes],
        "ceil_mode": bool(given("ceil_mode", 0)),
    }


@operation("MaxPool")
def _max_pool(given: Arguments) -> Function:
    if len(given.node.outputs) > 1:
        raise given.unsupported("positions of maxima are asked for")
    shared = _pool(given)
    axes = len(shared["kernel_size"])
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    return lambda x: pool(x, **shared, dilation=given("dilations", [1] * axes))


@operation("AveragePool")
def _average_pool(given: Arguments) -> Function:
    shared = _pool(given)
    given.expect("dilations", [1] * len(shared["kernel_size"]))
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(shared["kernel_size"]) - 1]
    return lambda x: pool(x, **shared, count_include_pad=bool(given("count_include_pad", 0)))


@operation("GlobalAveragePool")
def _global_average(_: Arguments) -> Function:
    return lambda x: x.mean(dim=list(range(2, x.ndim)), keepdim=True)


def _reduction(name: str, function: Callable[..., Any]) -> None:
    def make(given: Arguments) -> Function:
        axes = given.numbers(1) or given("axes")
        if axes is None and given("noop_with_empty_axes", 0):
            return lambda x: x
        keep = bool(given("keepdims", 1))
        return lambda x: function(x, dim=axes or list(range(x.ndim)), keepdim=keep)

    OPERATIONS[name] = Operation(make, settings=1)


_reduction("ReduceMean", torch.mean)
_reduction("ReduceSum", torch.sum)
_reduction("ReduceMax", torch.amax)
_reduction("ReduceMin", torch.amin)
_reduction("ReduceL2", torch.linalg.vector_norm)


@operation("Resize", settings=1)
def _resize(given: Arguments) -> Function:
    given.expect("mode", "linear", "nearest")
    given.expect("antialias", 0)
    given.expect("exclude_outside", 0)
    given.expect("keep_aspect_ratio_policy", "stretch")
    kind = given("coordinate_transformation_mode", "half_pixel")
    linear = given("mode", "nearest") == "linear"
    known = {True: ("align_corners", "half_pixel", "pytorch_half_pixel"), False: ("asymmetric",)}[linear]
    if kind not in known or (not linear and given("nearest_mode", "round_prefer_floor") != "floor"):
        raise given.unsupported(f"{given('mode')} with {kind}; known are {' and '.join(known)} (nearest: floor)")
    sizes, scales = given.numbers(3), given.numbers(2)

    def resize(x: Tensor) -> Tensor:
        wanted = sizes or [int(length * scale) for length, scale in zip(x.shape, scales or [], strict=True)]
        if list(wanted[:2]) != list(x.shape[:2]):
            raise given.unsupported(f"it resizes {list(x.shape)} to {wanted}; batch and channels must stay")
        if not linear:
            return F.interpolate(x, size=wanted[2:], mode="nearest")
        mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[x.ndim]
        return F.interpolate(x, size=wanted[2:], mode=mode, align_corners=kind == "align_corners")

    return resize
