"""3D residual layers of LCA-DB, at the depths 10 to 200.

Parameter names are those of the published LCA-DB (model/crossatten.py).
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
"""Depth -> blocks in each of the four layers."""

WIDTHS = (64, 128, 256, 512)  # of the four layers, before the bottlenecks' expansion


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions around a skip: [N, inputs, D, H, W] -> [N, width, D / stride, ...], rounded up."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.downsample = projection(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = relu(self.bn1(self.conv1(x)))
        return relu(self.bn2(self.conv2(x)) + skip)


class Bottleneck(nn.Module):
    """1x1x1, 3x3x3, 1x1x1 around a skip: [N, inputs, D, H, W] -> [N, 4 * width, D / stride, ...], rounded up."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = self.expansion * width
        self.conv1 = nn.Conv3d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(outputs)
        self.downsample = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = relu(self.bn1(self.conv1(x)))
        x = relu(self.bn2(self.conv2(x)))
        return relu(self.bn3(self.conv3(x)) + skip)


def relu(x: Tensor) -> Tensor:
    """Sets negative values to zero, in place: every one of these maps is read in no other form."""
    return F.relu(x, inplace=True)


Block = BasicBlock | Bottleneck


def block_of(depth: int) -> type[Block]:
    """The kind of block that a network of this depth is made of."""
    return BasicBlock if depth < 50 else Bottleneck


def projection(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """The skip where a block changes size or channels; None where it passes its input on."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm3d(outputs))


def residual_layers(depth: int, inputs: int, widths: tuple[int, int, int, int]) -> list[nn.Sequential]:
    """The four layers of one branch; the first keeps the size, every other halves it.

    Args:
        depth: one of BLOCKS.
        inputs: channels that the first layer reads.
        widths: of the four layers, before the bottlenecks' expansion.
    """
    kind = block_of(depth)
    layers = []
    for level, (count, width) in enumerate(zip(BLOCKS[depth], widths, strict=True)):
        blocks = []
        for index in range(count):
            blocks.append(kind(inputs, width, 2 if level and not index else 1))
            inputs = kind.expansion * width
        layers.append(nn.Sequential(*blocks))
    return layers
