"""Bundles whose files are changed behind the back of those who read them."""

import hashlib
import json
from pathlib import Path

import onnx


def tampered(model: bytes) -> bytes:
    """A network of the same size and names that gives other answers."""
    changed = onnx.ModelProto.FromString(model)
    for initializer in changed.graph.initializer:
        if initializer.raw_data and initializer.data_type == onnx.TensorProto.FLOAT:
            initializer.raw_data = b"\0\0\x80\x3f" * (len(initializer.raw_data) // 4)
    data: bytes = changed.SerializeToString()
    assert len(data) == len(model) and data != model
    return data


def forge(folder: Path, name: str, data: bytes) -> None:
    """Put a file into a bundle together with its size and hash, as nobody who seals a bundle would."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def with_weights_beside(model: bytes, location: str) -> tuple[bytes, bytes]:
    """A network whose weights lie in a file that it gives this name; and what that file holds."""
    found, weights = onnx.ModelProto.FromString(model), b""
    for initializer in found.graph.initializer:
        if initializer.data_type != onnx.TensorProto.FLOAT:
            continue  # Such as axes, which a runtime wants to see while it reads the graph.
        data = onnx.numpy_helper.to_array(initializer).tobytes()
        initializer.ClearField("raw_data")
        initializer.ClearField("float_data")
        initializer.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", str(len(weights))), ("length", str(len(data)))):
            initializer.external_data.add(key=key, value=value)
        weights += data
    return found.SerializeToString(), weights
