"""Kernel taps that only ever see zero padding are cut off."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .copies import meta_copy
from .rewrite import Rewrite
from .weights import bias_of, convolution_like

Size = tuple[int, int, int]


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Cut as many outer taps from both ends of each kernel axis as none of the convolution's inputs reach."""
    cut = False
    for path, sizes in input_sizes(network, inputs).items():
        conv = network.get_submodule(path)
        if not isinstance(conv, nn.Conv3d) or conv.dilation != (1, 1, 1):
            continue
        margins = [min(_dead(conv, axis, size[axis]) for size in sizes) for axis in range(3)]
        if any(margins):
            weight = conv.weight.detach().double()
            for axis, margin in enumerate(margins):
                weight = weight.narrow(axis + 2, margin, conv.kernel_size[axis] - 2 * margin)
            replacement = convolution_like(conv, weight, None if conv.bias is None else bias_of(conv))
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


def _dead(conv: nn.Conv3d, axis: int, size: int) -> int:
    """Number of outer taps that read padding alone, the same at either end."""
    kernel, stride, padding = conv.kernel_size[axis], conv.stride[axis], int(conv.padding[axis])
    starts = range(-padding, size + padding - kernel + 1, stride)
    live = [tap for tap in range(kernel) if any(0 <= start + tap < size for start in starts)]
    return min(live[0], kernel - 1 - live[-1])


REWRITE = Rewrite(
    "padding_taps",
    "Outer kernel taps that meet nothing but zero padding at the configured size are cut off; they add zero.",
    apply,
)
