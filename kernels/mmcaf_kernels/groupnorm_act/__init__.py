"""Group norm, leaky ReLU, squeeze-and-excite gate and residual of the PENet bottlenecks."""

from .operator import groupnorm_act, launches

__all__ = ["groupnorm_act", "launches"]
