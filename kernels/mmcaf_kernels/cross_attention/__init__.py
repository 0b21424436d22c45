"""Bidirectional cross-attention between image and table tokens."""

from .operator import cross_attention, launches

__all__ = ["cross_attention", "launches"]
