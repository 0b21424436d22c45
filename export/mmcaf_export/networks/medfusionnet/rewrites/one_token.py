"""The profile release becomes what it computes: one Linear over pooled channels and clinical values."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import bias_of, frozen

from ..metadata import MetadataAttention
from ..pyramid import LastLevel


class ChannelMeans(nn.Module):
    """[N, C, H, W] -> [N, C]."""

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        return coarse.mean(dim=(2, 3))


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Merge norm5, the lateral convolution, the attention's value and the fusion."""
    pyramid, attention = getattr(network, "feature_pyramid", None), getattr(network, "metadata_attention", None)
    if not isinstance(pyramid, LastLevel) or not isinstance(attention, MetadataAttention):
        return False
    norm, lateral = network.get_submodule("image_encoder.features.norm5"), pyramid.lateral[0]
    fusion = network.get_submodule("fusion")
    if not isinstance(norm, nn.BatchNorm2d) or not isinstance(lateral, nn.Conv2d) or not isinstance(fusion, nn.Linear):
        raise TypeError("norm5, the lateral convolution or the fusion is none")
    network.set_submodule("fusion", _merged(norm, lateral, attention.value, fusion))
    network.set_submodule("image_encoder.features.norm5", nn.Identity())
    network.set_submodule("feature_pyramid", ChannelMeans())
    network.set_submodule("metadata_attention", nn.Identity())
    return True


def _merged(norm: nn.BatchNorm2d, lateral: nn.Conv2d, value: nn.Linear, fusion: nn.Linear) -> nn.Linear:
    """[N, C + F] -> [N, hidden]: all four, one after the other."""
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise ValueError("a batch norm without running statistics cannot be merged")
    scale = norm.weight.detach().double() / torch.sqrt(var.double() + norm.eps)
    shift = norm.bias.detach().double() - mean.double() * scale
    image, table = fusion.weight.detach().double().split([lateral.out_channels, value.out_features], dim=1)
    lateral_weight = lateral.weight.detach().double().flatten(1)
    weight = torch.cat([image @ lateral_weight * scale, table @ value.weight.detach().double()], dim=1)
    bias = image @ (lateral_weight @ shift + bias_of(lateral)) + table @ value.bias.detach().double()
    with torch.device("meta"):
        made = nn.Linear(weight.shape[1], weight.shape[0])
    made.weight = frozen(weight, fusion.weight)
    made.bias = frozen(bias + fusion.bias.detach().double(), fusion.weight)
    return made


REWRITE = Rewrite(
    "one_token",
    "The softmax over a single token is 1, so that the attention is its value's Linear; the lateral convolution and "
    "norm5 commute with the mean over the image: they and the fusion are one Linear.",
    apply,
)
