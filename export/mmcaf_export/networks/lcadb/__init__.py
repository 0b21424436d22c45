"""LCA-DB: class of a focal liver lesion from eight MR phases."""

from .network import LcadbConfig, LcadbNet

__all__ = ["LcadbConfig", "LcadbNet"]
