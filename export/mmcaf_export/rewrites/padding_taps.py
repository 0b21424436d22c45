"""Kernel taps that only ever see zero padding are cut off."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .copies import meta_copy
from .rewrite import Rewrite
from .weights import bias_of, convolution_like

Size = tuple[int, int, int]


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Cut the outer taps at both ends of each kernel axis that none of the convolution's inputs reach."""
    cut = False
    for path, sizes in input_sizes(network, inputs).items():
        conv = network.get_submodule(path)
        if not isinstance(conv, nn.Conv3d) or conv.dilation != (1, 1, 1) or conv.padding_mode != "zeros":
            continue
        margins = [_margins(conv, axis, {size[axis] for size in sizes}) for axis in range(3)]
        if any(map(any, margins)):
            weight = conv.weight.detach().double()
            for axis, (front, back) in enumerate(margins):
                weight = weight.narrow(axis + 2, front, conv.kernel_size[axis] - front - back)
            first, second, third = (int(conv.padding[axis]) - front for axis, (front, _back) in enumerate(margins))
            bias = None if conv.bias is None else bias_of(conv)
            replacement = convolution_like(conv, weight, bias, padding=(first, second, third))
            network.set_submodule(path, replacement)
            cut = True
    return cut


def input_sizes(network: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, set[Size]]:
    """Path of every convolution that runs on these inputs -> the D, H, W of what it is given."""
    bare = meta_copy(network)
    found: dict[str, set[Size]] = {}

    def note(path: str, x: Tensor) -> None:
        found.setdefault(path, set()).add((x.shape[2], x.shape[3], x.shape[4]))

    for path, module in bare.named_modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_pre_hook(lambda _module, args, path=path: note(path, args[0]))
    with torch.no_grad():
        bare(*(torch.empty_like(tensor, device="meta") for tensor in inputs.values()))
    return found


def _margins(conv: nn.Conv3d, axis: int, lengths: set[int]) -> tuple[int, int]:
    """Numbers of taps to cut from the front and from the back of a kernel's axis.

    Where cutting different numbers would change the output's length, as many are cut from both ends.
    """
    kernel, stride, padding = conv.kernel_size[axis], conv.stride[axis], int(conv.padding[axis])
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


REWRITE = Rewrite(
    "padding_taps",
    "Outer kernel taps that meet nothing but zero padding at the configured size are cut off; they add zero.",
    apply,
)
