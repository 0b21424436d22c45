"""Gradients of torch operators that ONNX has no operator for, written with operators that it has.

Core PyTorch decomposes norms, softmax and activations; here is the rest: convolutions, means over windows,
interpolations and maxima. All are exact: the transpose of the same linear map, or a choice of places.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

Decompositions = dict[Any, Callable[..., Any]]

_aten = torch.ops.aten


def decompositions() -> Decompositions:
    """Operator -> the function that is traced in its place."""
    from torch._decomp import core_aten_decompositions

    return {
        **core_aten_decompositions(),
        _aten.convolution_backward.default: _convolution,
        _aten.avg_pool2d_backward.default: _mean_of_windows,
        _aten.avg_pool3d_backward.default: _mean_of_windows,
        _aten._adaptive_avg_pool2d_backward.default: _adaptive_mean,
        _aten._adaptive_avg_pool3d_backward.default: _adaptive_mean,
        _aten.native_layer_norm_backward.default: _norm,
        _aten.slice_backward.default: _part,
        _aten.max_pool2d_with_indices_backward.default: _maximum,
        _aten.max_pool3d_with_indices_backward.default: _maximum,
        _aten.upsample_nearest1d_backward.default: _nearest,
        _aten.upsample_nearest2d_backward.default: _nearest,
        _aten.upsample_nearest3d_backward.default: _nearest,
        _aten.upsample_linear1d_backward.default: _linear,
        _aten.upsample_bilinear2d_backward.default: _linear,
        _aten.upsample_trilinear3d_backward.default: _linear,
    }


def _convolution(
    grad: Tensor,
    given: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """Of the input alone: the transposed convolution, or of such a one the convolution.

    Both factors are negated, so that the forward and the backward convolution share no constant: OpenVINO 2026 lays out
    a constant of a Conv and a ConvTranspose once, for whichever comes first, and the other then answers wrong.
    """
    if list(wanted)[1:] != [False, False]:
        raise NotImplementedError("the gradient of a convolution's weights")
    axes = range(weight.ndim - 2)
    negated = _negated(weight)
    if transposed:
        plain = [0 for _ in axes]
        return _aten.convolution(-grad, negated, None, stride, padding, dilation, False, plain, groups), None, None
    rest = [
        given.shape[2 + at]
        - ((grad.shape[2 + at] - 1) * stride[at] - 2 * padding[at] + dilation[at] * (weight.shape[2 + at] - 1) + 1)
        for at in axes
    ]
    return _aten.convolution(-grad, negated, None, stride, padding, dilation, True, rest, groups), None, None


def _negated(weight: Tensor) -> Tensor:
    """As a constant where the weight is one, and not made of another tensor on the way."""
    if isinstance(weight, FakeTensor):
        return -weight
    with _disable_current_modes():
        return -weight.detach()


def _mean_of_windows(
    grad: Tensor,
    given: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    if divisor_override is not None:
        raise NotImplementedError("the gradient of a mean over windows with a divisor of its own")
    along = [
        partial(
            F.avg_pool1d,
            kernel_size=kernel[at],
            stride=(stride or kernel)[at],
            padding=padding[at],
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
        )
        for at in range(given.ndim - 2)
    ]
    return _transposed(grad, given.shape[2:], along)


def _adaptive_mean(grad: Tensor, given: Tensor) -> Tensor:
    along = [partial(F.adaptive_avg_pool1d, output_size=size) for size in grad.shape[2:]]
    return _transposed(grad, given.shape[2:], along)


def _nearest(grad: Tensor, output_size: Sequence[int], input_size: Sequence[int], *scales: float | None) -> Tensor:
    return _interpolation(grad, _aten.upsample_nearest1d, output_size, input_size, (), scales)


def _linear(
    grad: Tensor, output_size: Sequence[int], input_size: Sequence[int], corners: bool, *scales: float | None
) -> Tensor:
    return _interpolation(grad, _aten.upsample_linear1d, output_size, input_size, (corners,), scales)


def _interpolation(
    grad: Tensor,
    operator: Callable[..., Tensor],
    output_size: Sequence[int],
    input_size: Sequence[int],
    options: tuple[bool, ...],
    scales: Sequence[float | None],
) -> Tensor:
    along = [
        _resized(operator, (*options, scale), to)
        for to, scale in zip(output_size, scales or [None] * len(output_size), strict=True)
    ]
    return _transposed(grad, input_size[2:], along)


def _resized(operator: Callable[..., Tensor], options: tuple[Any, ...], to: int) -> Callable[[Tensor], Tensor]:
    return lambda eye: operator(eye, [to], *options)


def _transposed(grad: Tensor, sizes: Sequence[int], along: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    """The gradient of a linear map that works along each axis of space for itself.

    Args:
        sizes: of the map's input in space. along: the map along each axis, [size, 1, size] -> [size, 1, made].
    """
    for at, (size, one) in enumerate(zip(sizes, along, strict=True)):
        with _disable_current_modes():  # The matrix is a constant, not arithmetic to trace.
            matrix = one(torch.eye(size)[:, None])[:, 0].T.contiguous()  # [made, size]
            nothing_to_do = matrix.shape == (size, size) and torch.equal(matrix, torch.eye(size))
        if not nothing_to_do:
            grad = torch.matmul(grad.transpose(2 + at, -1), matrix).transpose(2 + at, -1)
    return grad


def _norm(
    grad: Tensor,
    given: Tensor,
    shape: Sequence[int],
    mean: Tensor,
    scale: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    wanted: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """Of a layer norm's input, in fewer operators than core PyTorch's, which divides by the number of values last."""
    if list(wanted)[1:] != [False, False]:
        raise NotImplementedError("the gradient of a layer norm's weights")
    axes = list(range(-len(shape), 0))
    normed = (given - mean) * scale
    slopes = grad if weight is None else grad * weight
    rest = slopes - slopes.mean(axes, keepdim=True) - normed * (slopes * normed).mean(axes, keepdim=True)
    return rest * scale, None, None


def _part(grad: Tensor, input_sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> Tensor:
    """Of a part of an axis: with zeros around it, one operator where core PyTorch would scatter it into zeros."""
    if step != 1:
        return _aten.slice_scatter(grad.new_zeros(input_sizes), grad, dim, start, end, step)
    size, dim = input_sizes[dim], dim % grad.ndim
    before = max(start + size if start < 0 else start, 0)
    return F.pad(grad, [0, 0] * (grad.ndim - 1 - dim) + [before, size - before - grad.shape[dim]])


def _maximum(
    grad: Tensor,
    given: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """What came out of each window goes to the place that its maximum came from."""
    places = torch.zeros_like(given).flatten(2)
    return places.scatter_add(2, indices.flatten(2), grad.flatten(2)).view(given.shape)
