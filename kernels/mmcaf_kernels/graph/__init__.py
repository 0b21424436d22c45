"""ONNX networks as PyTorch programs, with this package's kernels in the place of the blocks that they compute."""

from .graph import UnsupportedGraphError
from .program import Network, Program

__all__ = ["Network", "Program", "UnsupportedGraphError"]
