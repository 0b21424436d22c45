"""Channel and spatial attention (CAB, SAB) of the E3D-MSCA blocks."""

from .operator import launches, msca_attention

__all__ = ["msca_attention", "launches"]
