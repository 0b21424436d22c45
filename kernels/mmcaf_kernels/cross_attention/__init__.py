"""Bidirectional cross-attention between image and table tokens."""

from .operator import cross_attention
from .plan import launches

__all__ = ["cross_attention", "launches"]
