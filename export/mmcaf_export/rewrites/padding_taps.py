"""Kernel taps that only ever see zero padding are cut off."""

from torch import nn

from .observed import Observed
from .rewrite import Sites, by_pattern
from .sites import convolutions, replacing
from .weights import bias_of, convolution_like, padding_of


def find(observed: Observed) -> Sites:
    """Convolutions with outer taps, at both ends of a kernel axis, that none of their inputs reach."""
    found = {}
    for path, conv in convolutions(observed):
        padding, sizes = padding_of(conv), observed.sizes(path)
        if padding is None or not sizes or conv.dilation != (1, 1, 1) or conv.padding_mode != "zeros":
            continue
        margins = [_margins(conv, padding[axis], axis, {size[axis] for size in sizes}) for axis in range(3)]
        if any(map(any, margins)):
            weight = conv.weight.detach().double()
            for axis, (front, back) in enumerate(margins):
                weight = weight.narrow(axis + 2, front, conv.kernel_size[axis] - front - back)
            first, second, third = (padding[axis] - front for axis, (front, _back) in enumerate(margins))
            bias = None if conv.bias is None else bias_of(conv)
            found[path] = conv, convolution_like(conv, weight, bias, padding=(first, second, third))
    return replacing(observed, found)


def _margins(conv: nn.Conv3d, padding: int, axis: int, lengths: set[int]) -> tuple[int, int]:
    """Numbers of taps to cut from the front and from the back of a kernel's axis.

    Where cutting different numbers would change the output's length, as many are cut from both ends.
    """
    kernel, stride = conv.kernel_size[axis], conv.stride[axis]
    live = {tap for length in lengths for tap in _live(kernel, stride, padding, length)}
    front, back = min(live), kernel - 1 - max(live)
    same = all(
        (length + 2 * padding - kernel) // stride
        == (length + 2 * (padding - front) - (kernel - front - back)) // stride
        for length in lengths
    )
    if front <= padding and same:
        return front, back
    least = min(front, back)
    return least, least


def _live(kernel: int, stride: int, padding: int, length: int) -> list[int]:
    """The taps that ever read something else than padding."""
    starts = range(-padding, length + padding - kernel + 1, stride)
    return [tap for tap in range(kernel) if any(0 <= start + tap < length for start in starts)]


REWRITE = by_pattern(
    "padding_taps",
    "Outer kernel taps that meet nothing but zero padding at the configured size are cut off; they add zero.",
    find,
    lambda module: type(module) is nn.Conv3d,
)
