"""The stem reads the grey volume once instead of as three equal channels."""

from collections.abc import Mapping

from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import convolution_like

STEM = "image_encoder.encoder.in_conv.0"


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Sum the stem's kernel over its input channels."""
    stem = network.get_submodule(STEM)
    if not isinstance(stem, nn.Conv3d) or stem.in_channels == 1 or inputs["image"].shape[1] != 1:
        return False
    summed = stem.weight.detach().double().sum(dim=1, keepdim=True)
    network.set_submodule(STEM, convolution_like(stem, summed, None))
    return True


REWRITE = Rewrite(
    "one_channel_stem",
    "The stem's kernel is summed over its three input channels, which all show the same grey volume.",
    apply,
)
