"""ONNX models read and written: large weights in a file of their own, the same bytes every time."""

from pathlib import Path

import onnx_ir as ir

EXTERNAL_ABOVE = 64 * 1024 * 1024
"""Weights of more than this many bytes go to a file of their own beside the model."""


def load_model(path: Path) -> ir.Model:
    """The model, its weights left in their file until they are needed."""
    return ir.load(path)


def save_model(model: ir.Model, path: Path) -> tuple[Path, ...]:
    """Write the model to `path`, weights above EXTERNAL_ABOVE to `path` + ".data"; it may be what it was loaded from.

    Returns:
        The files written, the model first.
    """
    tensors = [value.const_value for value in model.graph.initializers.values() if value.const_value is not None]
    if sum(tensor.nbytes for tensor in tensors) <= EXTERNAL_ABOVE:
        ir.save(ir.external_data.load_to_model(model), path)
        return (path,)
    data = path.with_name(path.name + ".data")
    if any(isinstance(tensor, ir.ExternalTensor) and Path(tensor.path) == data for tensor in tensors):
        model = ir.external_data.load_to_model(model)  # Of the file that is written now, they would be gone.
    data.unlink(missing_ok=True)
    ir.save(model, path, external_data=data.name, size_threshold_bytes=1024)
    return path, data
