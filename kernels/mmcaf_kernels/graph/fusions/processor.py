"""All blocks that kernels compute on the processor, in the order in which they are looked for."""

from ..fuse import Fusion
from . import groupnorm_act

FUSIONS: tuple[Fusion, ...] = (groupnorm_act.find,)
