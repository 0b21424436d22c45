"""Networks as ONNX files for the tests: MMCAF-Net as it is exported, with golden weights, in every precision."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from export.mmcaf_networks import filled
from mmcaf_export.networks.mmcaf import MmcafConfig
from mmcaf_export.networks.registry import BUILT_IN
from mmcaf_export.onnx_export import export_onnx
from mmcaf_export.onnx_files import load_model, save_model
from mmcaf_export.precision.typed import Low, lower_precision
from mmcaf_export.rewrites.rewrite import rewritten

Feed = dict[str, NDArray[np.float32]]
MEAN = MmcafConfig(slices=4, size=32, width=0.125, fusion="mean")


def exported(config: MmcafConfig, path: Path) -> Path:
    """The network as it lies in a bundle: rewritten, in FP32."""
    entry = next(entry for entry in BUILT_IN if entry.name == "mmcaf")
    inputs = entry.example_inputs(config, 1, seed=0)
    export_onnx(rewritten(filled(config), entry.rewrites, inputs), inputs, path)
    return path


def lowered(source: Path, precision: Low, folder: Path) -> Path:
    """The network in FP16 or BF16, in a folder."""
    path = folder / f"{source.stem}.{precision}.onnx"
    model = load_model(source)
    lower_precision(model, precision)
    save_model(model, path)
    return path


def change(source: Path, path: Path, edit: Callable[[onnx.GraphProto], None]) -> Path:
    """A copy of a network with one thing changed."""
    model = onnx.load(source)
    edit(model.graph)
    onnx.save(model, path)
    return path


def window(network: Path, seed: int) -> Feed:
    """One window of noise for each input."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(seed)
    return {entry.name: draw.normal(0, 0.3, (1, *entry.shape[1:])).astype(np.float32) for entry in session.get_inputs()}


def shapes(feed: Feed) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in feed.items()}


def answer(network: Path, feed: Feed) -> NDArray[np.float32]:
    """ONNX Runtime's first output."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed)[0])
