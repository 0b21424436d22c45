"""Slices of BFPU1's result that BFPU2 never reads are not computed."""

from collections.abc import Mapping

from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite

from ..network import MmcafNet
from .merged_key import MergedBottomUpFusion


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Skip slices where BFPU2's resampling over depth, corners aligned, falls on whole slices."""
    if not isinstance(network, MmcafNet):
        return False
    depth = network.config.skip_size[0]
    kept = -(-depth // 2)
    block = network.image_encoder.get_submodule("bfpu1")
    if not isinstance(block, MergedBottomUpFusion) or kept < 2 or (depth - 1) % (kept - 1):
        return False
    step = (depth - 1) // (kept - 1)
    if step == block.depth_step:
        return False
    block.depth_step = step
    return True


REWRITE = Rewrite(
    "unread_slices",
    "BFPU1 mixes its maps on those slices only that the resampling in BFPU2 reads: the first and the last of three.",
    apply,
)
