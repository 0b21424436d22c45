"""A tiny bundle with further precisions: copies of its network, each off by a constant in logit."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mmcaf_engine.bundle.bundle import MANIFEST_NAME, write_bundle


def add_precisions(source: Path, output: Path, offsets: Mapping[str, float], **changes: Any) -> Path:
    """Copy `source` to `output` with one more network per precision; `changes` replace fields of the manifest."""
    draft = Path(shutil.copytree(source, output.with_name(f"{output.name}.draft")))
    manifest = json.loads((draft / MANIFEST_NAME).read_text(encoding="utf-8"))
    del manifest["files"]
    (draft / MANIFEST_NAME).unlink()
    for precision, offset in offsets.items():
        file = f"model.{precision}.onnx"
        onnx.save(_moved(onnx.load(draft / "model.onnx"), offset), draft / file)
        manifest["models"][precision] = file
    return write_bundle(draft, {**manifest, **changes}, output).folder


def _moved(model: onnx.ModelProto, offset: float) -> onnx.ModelProto:
    """The network with logit + offset."""
    graph = model.graph
    graph.node[-1].output[0] = "exact"
    graph.initializer.append(numpy_helper.from_array(np.array(offset, dtype=np.float32), "offset"))
    graph.node.append(helper.make_node("Add", ["exact", "offset"], ["logit"], name="moved"))
    return model
