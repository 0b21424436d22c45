"""MMCAF-Net: lung cancer subtype from a CT window and seven clinical values."""

from .network import INTERMEDIATES, TABLE_VALUES, MmcafConfig, MmcafNet

__all__ = ["MmcafConfig", "MmcafNet", "INTERMEDIATES", "TABLE_VALUES"]
