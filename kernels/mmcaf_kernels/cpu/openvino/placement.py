"""Where kernels go in a network, written down: what `place_kernels` did, for programs that do the same without Python.

A file is a .npz: "placement" is JSON in UTF-8, "constant.N" the array of each edit "constant", in int8 where that holds
its values. It serves the model that it was made from, read by one release of OpenVINO; where a program has another one,
or operators of another state, it leaves the network to OpenVINO's own.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...graph.graph import Array
from ..extension import placing
from .editing import Editor

FORMAT = 1
ENDING = ".placement.npz"
"""Of the name, after that of the model's file, beside which it lies."""


def write_placement(editor: Editor, model_sha256: str, openvino: str, file: Path) -> None:
    """Write down what an editor did to a network; the same edits give the same bytes.

    Args:
        model_sha256: of the model's file. openvino: the version that read it, with its build.

    Raises:
        KernelsMissingError: there are no operators here.
        OSError: it cannot be written.
    """
    document = {
        "format": FORMAT,
        "model": model_sha256,
        "openvino": openvino,
        "placing": placing(),
        "nodes": {str(place): list(named) for place, named in sorted(editor.nodes.items())},
        "edits": editor.edits,
    }
    text = json.dumps(document, separators=(",", ":"), default=_number).encode()
    arrays: dict[str, Any] = {"placement": np.frombuffer(text, np.uint8)}
    arrays |= {f"constant.{at}": _compact(array) for at, array in enumerate(editor.constants)}
    with file.open("xb") as stream:
        np.savez_compressed(stream, **arrays)


def _compact(array: Array) -> Array:
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int8)
    # Not where a zero is negative, which int8 does not tell.
    return whole if whole.astype(np.float32).tobytes() == array.tobytes() else array


def _number(value: Any) -> int | float | bool:
    """What NumPy's numbers are to JSON."""
    found: int | float | bool = value.item()
    return found
