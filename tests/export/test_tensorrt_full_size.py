"""Engines of the full-size network, and of a narrow LCA-DB, for several generations of GPUs, without a GPU."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from all_precisions import write_precision
from mmcaf_engine import load_bundle
from mmcaf_engine.backends.tensorrt.builder import build_engine
from mmcaf_engine.backends.tensorrt.conv_precision import share_in
from mmcaf_engine.backends.tensorrt.flavour import find_flavour
from mmcaf_engine.machine.compute_capability import TURING, Target
from mmcaf_engine.manifest import Precision, TensorSpec
from mmcaf_export.networks.mmcaf import MmcafNet
from mmcaf_export.onnx_export import export_onnx
from mmcaf_export.report import ExportReport

pytest.importorskip("tensorrt_rtx")

log = logging.getLogger(__name__)
INPUTS = tuple(
    TensorSpec.model_validate(spec)
    for spec in (
        {"name": "image", "kind": "volume", "shape": ["N", 1, 12, 192, 192]},
        {"name": "table", "kind": "table", "shape": ["N", 7]},
    )
)
OUTPUTS = (TensorSpec.model_validate({"name": "logit", "kind": "score", "shape": ["N", 1]}),)


@pytest.fixture(scope="module")
def model(full_network: MmcafNet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("full")
    example = {"image": torch.zeros(1, 1, 12, 192, 192), "table": torch.zeros(1, 7)}
    export_onnx(full_network, example, folder / "model.onnx")
    yield folder / "model.onnx"
    shutil.rmtree(folder)


@pytest.mark.full
@pytest.mark.parametrize("targets", [(Target(8, 9), Target(12, 0)), (TURING,)], ids=lambda one: "+".join(map(str, one)))
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_engines(precision: Precision, targets: tuple[Target, ...], model: Path) -> None:
    lowered = model.with_name(f"model.{precision}.onnx")
    if not lowered.exists():
        write_precision(model, lowered, precision)
    engine = build_engine(find_flavour("tensorrt_rtx"), lowered, INPUTS, OUTPUTS, precision=precision, targets=targets)
    log.info("%s: %.0f MiB in %.1f s", precision, len(engine.plan) / 2**20, engine.seconds)
    assert engine.targets == targets and len(engine.plan) > lowered.with_name(f"{lowered.name}.data").stat().st_size / 2
    assert share_in(engine.products, precision) >= 0.9
    assert (engine.edit is not None) is (targets == (TURING,))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lcadb_engines_for_turing(precision: Precision, lcadb_export: ExportReport, tmp_path: Path) -> None:
    manifest = load_bundle(lcadb_export.output).manifest
    lowered = tmp_path / f"model.{precision}.onnx"
    write_precision(lcadb_export.output / "model.onnx", lowered, precision)
    engine = build_engine(
        find_flavour("tensorrt_rtx"), lowered, manifest.inputs, manifest.outputs, precision=precision, targets=(TURING,)
    )
    assert len(engine.plan) > 0 and share_in(engine.products, precision) == 1.0
    assert engine.edit is not None and engine.edit.summed == 5
