"""What tests have another process do: a module of its own, since a fresh process must be able to import it."""

from pathlib import Path

import numpy as np

from mmcaf_engine import open_session
from mmcaf_engine.bundle.bundle import Bundle
from tiny_bundle import SIZE, SLICES

INPUTS = {"image": np.ones((1, 1, SLICES, SIZE, SIZE), np.float32), "table": np.ones((1, 2), np.float32)}


def answered(bundle: Bundle) -> tuple[str, bytes]:
    """The hash of the bundle that came, and its network's answer."""
    with open_session(bundle, backend="onnxruntime", threads=1) as session:
        return bundle.sha256, session.run(INPUTS)["logit"].tobytes()


def refuse(bundle: Bundle) -> None:
    """Open a bundle whose model was damaged after it had been loaded here."""
    model = Path(bundle.folder / "model.onnx")
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    open_session(bundle, backend="onnxruntime")
