"""Multi-scale depthwise 3D convolution (MSDC) of the E3D-MSCA blocks."""

from .operator import launches, msdc
from .reference import even_then_odd, fold

__all__ = ["msdc", "fold", "even_then_odd", "launches"]
