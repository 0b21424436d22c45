"""Multi-scale cross-attention fusion with BSF and classifier."""

from .operator import fusion_head, launches
from .reference import pack

__all__ = ["fusion_head", "pack", "launches"]
