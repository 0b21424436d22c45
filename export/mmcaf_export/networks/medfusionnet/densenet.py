"""DenseNet (Huang et al., 2017) as the image encoder, under torchvision's parameter names."""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import MedFusionConfig

_OLD = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)")
_WRAPPERS = ("module.", "densenet121.")


def densenet_names(state: Mapping[str, Tensor], prefix: str = "image_encoder.") -> dict[str, Tensor]:
    """A DenseNet checkpoint with the names that torchvision writes today, behind `prefix`.

    The first weights that torchvision published say norm.1 and conv.2; CheXNet-type files put densenet121. before all.
    Its classifier is dropped: the answer comes from another head.

    Args:
        state: a DenseNet's own, or a larger network's with its DenseNet behind `prefix`; what belongs to no DenseNet
            is left as it is.
    """
    own = {key: _unwrapped(key.removeprefix(prefix)) for key in state}
    bare = any(name.startswith("features.") and not key.startswith(prefix) for key, name in own.items())
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = own[key]
        if name.startswith("features."):
            renamed[prefix + _OLD.sub(r"\1\2", name)] = tensor
        elif not (name.startswith("classifier.") and (bare or key.startswith(prefix))):
            renamed[key] = tensor
    return renamed


def _unwrapped(name: str) -> str:
    while wrapper := next((part for part in _WRAPPERS if name.startswith(part)), None):
        name = name.removeprefix(wrapper)
    return name


class DenseLayer(nn.Module):
    """The channels that one layer adds: [N, inputs, H, W] -> [N, growth, H, W]."""

    def __init__(self, inputs: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        between = bottleneck * growth
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, between, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(between)
        self.conv2 = nn.Conv2d(between, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(F.relu(self.norm1(x)))
        return self.conv2(F.relu(self.norm2(x)))


class DenseBlock(nn.Module):
    """Layers that each read all channels before them: [N, inputs, H, W] -> [N, inputs + layers * growth, H, W]."""

    def __init__(self, layers: int, inputs: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        for index in range(layers):
            self.add_module(f"denselayer{index + 1}", DenseLayer(inputs + index * growth, growth, bottleneck))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class Transition(nn.Module):
    """Half the channels, half the size: [N, C, H, W] -> [N, C / 2, H / 2, W / 2]."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2)


class DenseFeatures(nn.Module):
    """Image [N, 3, S, S] -> the maps that the pyramid reads: S/8, S/16 and S/32 rows and columns.

    The last of the stages' maps has passed norm5 but no ReLU, as the layers called features have it in torchvision.
    What lies behind the last map that is read is not built.
    """

    def __init__(self, config: MedFusionConfig) -> None:
        super().__init__()
        self.of_transitions = config.fpn_taps == "transitions"
        self.conv0 = nn.Conv2d(3, config.stem, 7, stride=2, padding=3, bias=False)
        self.norm0 = nn.BatchNorm2d(config.stem)
        inputs = config.stem
        for index, (layers, made) in enumerate(zip(config.layers, config.block_channels, strict=True), start=1):
            self.add_module(f"denseblock{index}", DenseBlock(layers, inputs, config.growth, config.bottleneck))
            if index < 4:
                self.add_module(f"transition{index}", Transition(made))
                inputs = made // 2
        if not self.of_transitions:
            self.norm5 = nn.BatchNorm2d(made)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.max_pool2d(F.relu(self.norm0(self.conv0(image))), 3, stride=2, padding=1)
        stages, reduced = [], []
        for index in range(1, 4):
            stages.append(self.get_submodule(f"denseblock{index}")(x))
            x = self.get_submodule(f"transition{index}")(stages[-1])
            reduced.append(x)
        if self.of_transitions:
            return reduced[0], reduced[1], reduced[2]
        return stages[1], stages[2], self.norm5(self.get_submodule("denseblock4")(x))


class ImageEncoder(nn.Module):
    """DenseNet without its classifier; see DenseFeatures.

    In the profile full the ReLU that torchvision has behind its features follows norm5; the authors' class has none.
    """

    def __init__(self, config: MedFusionConfig) -> None:
        super().__init__()
        self.features = DenseFeatures(config)
        self.rectified = config.profile == "full" and config.fpn_taps == "stages"

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = self.features(image)
        return fine, middle, F.relu(coarse) if self.rectified else coarse
