"""A bundle with its network in every precision, without calibration: to build engines from, not to be answered by."""

import json
import shutil
from pathlib import Path
from typing import Any

from mmcaf_engine.bundle.bundle import MANIFEST_NAME, write_bundle
from mmcaf_export.onnx_files import load_model, save_model
from mmcaf_export.precision.int8 import write_int8
from mmcaf_export.precision.layers import candidates
from mmcaf_export.precision.typed import lower_precision

LARGEST = 8.0
"""Every activation is taken to stay below; good enough for a network that never runs."""


def add_all_precisions(source: Path, output: Path, *, int8_share: float = 1.0) -> Path:
    """Copy a bundle and add FP16, BF16 and INT8 with this share of its layers, the first in order."""
    draft = Path(shutil.copytree(source, output.with_name(f"{output.name}.draft")))
    manifest: dict[str, Any] = json.loads((draft / MANIFEST_NAME).read_text(encoding="utf-8"))
    del manifest["files"]
    (draft / MANIFEST_NAME).unlink()
    for precision in ("fp16", "bf16", "int8"):
        write_precision(draft / "model.onnx", draft / f"model.{precision}.onnx", precision, int8_share)
        manifest["models"][precision] = f"model.{precision}.onnx"
    return write_bundle(draft, manifest, output).folder


def write_precision(model: Path, output: Path, precision: str, int8_share: float = 1.0) -> None:
    """Write a model in another precision."""
    network = load_model(model)
    if precision == "int8":
        layers = candidates(network, grouped=True)
        chosen = layers[: round(int8_share * len(layers))]
        write_int8(model, output, [layer.node for layer in chosen], {layer.input: LARGEST for layer in chosen})
    else:
        lower_precision(network, "fp16" if precision == "fp16" else "bf16")
        save_model(network, output)
