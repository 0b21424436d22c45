"""MedFusionNet: findings of a radiograph, clinical values and a report, each with its own probability."""

from .config import MedFusionConfig
from .network import MedFusionNet

__all__ = ["MedFusionConfig", "MedFusionNet"]
