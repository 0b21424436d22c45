"""Depthwise 1x1x1 convolutions become one multiplication per element."""

from torch import Tensor, nn

from .observed import Observed
from .rewrite import Sites, by_pattern
from .sites import convolutions, replacing
from .weights import bias_of, frozen, padding_of


class ChannelScale(nn.Module):
    """Scales and shifts each channel of [N, C, D, H, W]."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.weight = frozen(conv.weight.double().reshape(-1, 1, 1, 1), conv.weight)
        self.bias = frozen(bias_of(conv).reshape(-1, 1, 1, 1), conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


def find(observed: Observed) -> Sites:
    """Every depthwise convolution whose kernel is a single tap and that keeps the size."""
    found = {path: conv for path, conv in convolutions(observed) if _scales(conv)}
    return replacing(observed, {path: (conv, ChannelScale(conv)) for path, conv in found.items()})


def _scales(conv: nn.Module) -> bool:
    if type(conv) is not nn.Conv3d:
        return False
    depthwise = conv.groups == conv.in_channels == conv.out_channels
    return depthwise and conv.kernel_size == conv.stride == (1, 1, 1) and padding_of(conv) == (0, 0, 0)


REWRITE = by_pattern(
    "channel_scale",
    "Depthwise convolutions with a single tap become a multiplication and an addition that runtimes fuse.",
    find,
    _scales,
    run=False,
)
