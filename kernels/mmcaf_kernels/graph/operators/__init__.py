"""What each ONNX operator computes, as one call of PyTorch (onnx.ai/onnx/operators), and what a kernel's node calls."""

from . import elementwise, kernels, layers, loops, places, shapes  # noqa: F401  (each fills the table)
from .registry import OPERATIONS, Arguments, Function, check_supported, function_of

__all__ = ["OPERATIONS", "Arguments", "Function", "check_supported", "function_of"]
