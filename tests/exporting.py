"""PyTorch's exporter to ONNX without what it needlessly repeats: call `describe_once` before a process exports."""

from functools import cache


def describe_once() -> None:
    """Let the process read the operators that PyTorch brings once, not for each export anew: half of a small one."""
    from torch.onnx._internal.exporter import _registration

    operators = _registration.onnxscript_apis
    if not hasattr(operators.get_torchlib_ops, "cache_info"):
        operators.get_torchlib_ops = cache(operators.get_torchlib_ops)
