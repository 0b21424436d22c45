"""All blocks that kernels compute as PyTorch's operators, in the order in which they are looked for."""

from ..fuse import Fusion
from . import cross_attention, fusion_head, groupnorm_act, kan, msca_attention, msdc, upsample_dw

FUSIONS: tuple[Fusion, ...] = (
    groupnorm_act.find,
    msca_attention.find,
    msdc.find,
    upsample_dw.find,
    kan.find,
    fusion_head.find,
    cross_attention.find,
)
