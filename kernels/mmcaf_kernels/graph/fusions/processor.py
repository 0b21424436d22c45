"""All blocks that kernels compute on the processor, in the order in which they are looked for."""

from ..fuse import Fusion
from . import grouped_convolution, groupnorm_act, max_pool, msdc, upsample_dw

FUSIONS: tuple[Fusion, ...] = (
    groupnorm_act.find,
    msdc.find_resized,
    msdc.find,
    upsample_dw.find,
    grouped_convolution.find,
    max_pool.find,
)
