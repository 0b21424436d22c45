"""The published size, end to end: exact on both backends, within the memory of a workstation."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from export.fill import image, table
from export.mmcaf_networks import PEAK, FullSize, fresh, full_export
from export.test_export import TOLERANCE
from mmcaf_engine.backends.openvino.operators import kernels_missing
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.manifest import Precision
from mmcaf_engine.session.session import open_session
from mmcaf_export.explain import write
from mmcaf_export.networks.mmcaf import MmcafNet
from mmcaf_export.onnx_files import load_model, save_model
from mmcaf_export.precision.typed import lower_precision
from shared import Shared

EXPORT_BYTES = 3.0e9  # peak resident memory of an export, verification included
INFERENCE_BYTES = 1.2e9  # of one window in FP32
SHAPE = (1, 12, 192, 192)
log = logging.getLogger(__name__)

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its peak memory from /proc"),
]

INFER = f"""
import json, sys
import numpy as np
from mmcaf_engine.bundle import load_bundle
from mmcaf_engine.backends.registry import backend_class
{PEAK}
bundle = load_bundle(sys.argv[1])
manifest = bundle.manifest
with backend_class(sys.argv[2])(bundle.folder / "model.onnx", manifest.inputs, manifest.outputs, 2) as backend:
    for _ in range(3):
        backend.infer({{"image": np.zeros((1, 1, 12, 192, 192), np.float32), "table": np.zeros((1, 7), np.float32)}})
print(json.dumps(peak()))
"""


@pytest.fixture(scope="module")
def exported(shared: Shared) -> FullSize:
    return full_export(shared)


@pytest.fixture(scope="module")
def bundle(exported: FullSize) -> Path:
    return exported[0]


def test_the_export_is_exact_and_fits_in_memory(exported: FullSize) -> None:
    _, peak, errors, maps = exported
    log.info("export: peak %.2f GB; errors %s, of heat maps %s", peak / 1e9, errors, maps)
    assert maps.keys() == {"onnxruntime", "openvino"} and max(maps.values()) <= write.TOLERANCE
    assert errors.keys() == {"onnxruntime", "openvino"}
    assert max(errors.values()) <= TOLERANCE
    assert peak <= EXPORT_BYTES


def test_weights_lie_beside_the_model(bundle: Path) -> None:
    files = load_bundle(bundle).manifest.files
    maps = {"explain.onnx", "explain.onnx.data"}
    assert set(files) == {"golden.npz", "model.onnx", "model.onnx.data"} | maps
    assert files["model.onnx"].size < 1_000_000
    assert files["golden.npz"].size < 1_000_000
    assert 315e6 < files["model.onnx.data"].size < 325e6


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_backends_answer_as_the_source(backend: str, bundle: Path, full_network: MmcafNet) -> None:
    with open_session(load_bundle(bundle), backend=backend) as session:
        for batch in (1, 3):
            pixels, rows = image(batch, (batch, *SHAPE)), table(*range(batch))
            with torch.inference_mode():
                expected = full_network(torch.from_numpy(pixels), torch.from_numpy(rows)).numpy()
            error = float(np.abs(session.run({"image": pixels, "table": rows})["logit"] - expected).max())
            log.info("%s, batch of %d: error %.2e", backend, batch, error)
            assert error <= TOLERANCE


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_one_window_fits_in_memory(backend: str, bundle: Path) -> None:
    peak = fresh(INFER, bundle, backend)
    log.info("%s: peak %.2f GB", backend, peak / 1e9)
    assert peak <= INFERENCE_BYTES


PLACED = {
    "fp32": {"groupnorm_act": 43, "grouped_convolution": 3, "max_pool": 1, "msdc": 3, "upsample_dw": 2},
    "bf16": {"groupnorm_act": 43, "grouped_convolution": 3, "max_pool": 1, "msdc": 3, "upsample_dw": 2},
}
BOUNDS = {"fp32": 1e-4, "bf16": 5e-2}


@pytest.mark.skipif(kernels_missing() is not None, reason=f"{kernels_missing()}")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_kernels_take_their_places_and_keep_the_answer(precision: Precision, bundle: Path, tmp_path: Path) -> None:
    kind, manifest = backend_class("openvino"), load_bundle(bundle).manifest
    if not (answer := kind.can_run(precision)).available:
        pytest.skip(answer.reason)
    model = bundle / "model.onnx"
    if precision == "bf16":
        network = load_model(model)
        lower_precision(network, "bf16", {})
        save_model(network, model := tmp_path / "model.bf16.onnx")
    window = {"image": image(7, (1, *SHAPE)), "table": table(7)}
    logits = []
    for own_kernels, threads in ((True, 2), (True, 1), (False, 2)):
        backend = kind(model, manifest.inputs, manifest.outputs, threads, precision)
        backend.own_kernels = own_kernels
        with backend:
            assert backend.describe()["kernels"] == (PLACED[precision] if own_kernels else {})
            logits.append(backend.infer(window)["logit"])
    assert logits[0].tobytes() == logits[1].tobytes()
    error = float(np.abs(logits[0] - logits[2]).max())
    log.info("%s, kernels on and off: %.2e apart", precision, error)
    assert error <= BOUNDS[precision]
