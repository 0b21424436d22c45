"""ResNet-50 without its pooling and classifier (He et al., 2016), under torchvision's parameter names."""

import torch.nn.functional as F
from torch import Tensor, nn

from .config import STEM

BLOCKS = (3, 4, 6, 3)
"""Bottlenecks in each of the four layers."""

EXPANSION = 4


class ResNet50(nn.Module):
    """[N, 3, H, W] -> [N, 2048 * width, H / 32, W / 32]."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        stem = int(STEM * width)
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        inputs = stem
        layers = []
        for level, count in enumerate(BLOCKS):
            blocks = []
            for index in range(count):
                blocks.append(Bottleneck(inputs, stem << level, 2 if level and not index else 1))
                inputs = EXPANSION * (stem << level)
            layers.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.channels = inputs

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a skip: [N, inputs, H, W] -> [N, 4 * width, H / stride, W / stride].

    The 3x3 takes the stride, as torchvision's blocks have it.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + skip)
