"""ONNX networks as PyTorch programs, with this package's kernels in the place of the blocks that they compute."""

from .graph import UnsupportedGraphError
from .program import Program

__all__ = ["Program", "UnsupportedGraphError"]
