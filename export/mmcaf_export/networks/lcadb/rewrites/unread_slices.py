"""Slices of the image branch's last layer that conv5 steps over are not computed."""

from collections.abc import Mapping

from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import with_stride

from ..network import LcadbNet
from ..resnet import BasicBlock, Bottleneck


class EverySlice(nn.Module):
    """The skip of a block that makes every `step`-th slice only: [N, C, D, H, W] -> [N, C, D / step, H, W]."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.step]


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Give conv5's step in depth to the block before it."""
    if not isinstance(network, LcadbNet):
        return False
    step, block = network.conv5.stride[0], network.layer4_compose[-1]
    made = -(-network.config.slices // 8)  # slices, each layer but the first having halved them
    if step == 1 or made == 1 or not isinstance(block, BasicBlock | Bottleneck):
        return False
    block.conv2 = _deeper(block.conv2, step)  # a bottleneck's conv3 is pointwise and follows
    if block.downsample is None:
        block.downsample = nn.Sequential(EverySlice(step))
    else:
        block.downsample.set_submodule("0", _deeper(block.downsample.get_submodule("0"), step))
    network.conv5 = with_stride(network.conv5, (1, *network.conv5.stride[1:]))
    return True


def _deeper(conv: nn.Module, step: int) -> nn.Conv3d:
    """The convolution with `step` times its step in depth."""
    if not isinstance(conv, nn.Conv3d):
        raise TypeError(f"a {type(conv).__name__} stands where a convolution was expected")
    return with_stride(conv, (step * conv.stride[0], *conv.stride[1:]))


REWRITE = Rewrite(
    "unread_slices",
    "The last block of the image branch computes those slices only that conv5, which steps over three of four, reads.",
    apply,
)
