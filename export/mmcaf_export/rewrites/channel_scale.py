"""Depthwise 1x1x1 convolutions become one multiplication per element."""

from collections.abc import Mapping

from torch import Tensor, nn

from .rewrite import Rewrite
from .weights import bias_of, frozen


class ChannelScale(nn.Module):
    """Scales and shifts each channel of [N, C, D, H, W]."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.weight = frozen(conv.weight.double().reshape(-1, 1, 1, 1), conv.weight)
        self.bias = frozen(bias_of(conv).reshape(-1, 1, 1, 1), conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Replace every depthwise convolution whose kernel is a single tap and that keeps the size."""
    found = {path: conv for path, conv in network.named_modules() if isinstance(conv, nn.Conv3d) and _scales(conv)}
    for path, conv in found.items():
        network.set_submodule(path, ChannelScale(conv))
    return bool(found)


def _scales(conv: nn.Conv3d) -> bool:
    depthwise = conv.groups == conv.in_channels == conv.out_channels
    return depthwise and conv.kernel_size == conv.stride == (1, 1, 1) and not any(map(int, conv.padding))


REWRITE = Rewrite(
    "channel_scale",
    "Depthwise convolutions with a single tap become a multiplication and an addition that runtimes fuse.",
    apply,
)
