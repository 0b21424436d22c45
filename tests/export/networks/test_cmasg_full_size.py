"""CMASG-Bi-LSTM at its published size, end to end: exact on both backends, within the memory of a workstation."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from export.cmasg_networks import vocabulary
from export.mmcaf_networks import PEAK, fresh
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_export.explain.write import TOLERANCE
from mmcaf_export.networks.cmasg import CmasgNet

EXPORT_BYTES = 4.5e9  # peak resident memory of an export, verification included
ABSOLUTE = 1e-4
log = logging.getLogger(__name__)

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its peak memory from /proc"),
]
EXPORT = f"""
import json, sys
from mmcaf_export.export import export_bundle
{PEAK}
report = export_bundle(sys.argv[1], sys.argv[2], settings={{"text.vocabulary": sys.argv[3]}})
maps = {{done.backend: done.max_relative_error for done in report.maps}}
print(json.dumps([peak(), {{done.backend: done.max_abs_error for done in report.verifications}}, maps]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cmasg-full")
    yield folder
    shutil.rmtree(folder)  # 1.6 GB that nobody needs to keep


def test_export(folder: Path) -> None:
    torch.manual_seed(0)
    network = CmasgNet()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim >= 2:
                weight.normal_(0, weight[0].numel() ** -0.5)
    for ending in ("", "_reverse"):
        network.get_buffer(f"sparse_gate.keep_l0{ending}")[:154] = False
    save_file(network.state_dict(), folder / "full.safetensors")
    (folder / "vocab.txt").write_text(vocabulary(30_522), encoding="utf-8")
    peak, errors, maps = fresh(EXPORT, folder / "full.safetensors", folder / "full.mmcaf", folder / "vocab.txt")
    log.info("export: peak %.2f GB; errors %s, of heat maps %s", peak / 1e9, json.dumps(errors), json.dumps(maps))
    assert maps.keys() == {"onnxruntime", "openvino"} and max(maps.values()) <= TOLERANCE
    assert errors.keys() == {"onnxruntime", "openvino"} and max(errors.values()) <= ABSOLUTE
    assert peak <= EXPORT_BYTES
    manifest = load_bundle(folder / "full.mmcaf").manifest
    assert manifest.network.parameters == 135_685_186
    assert manifest.provenance.flops is not None and manifest.text is not None
    assert manifest.text.max_tokens == 128 and manifest.text.buckets == (32, 64, 96, 128)
    assert manifest.files["golden.npz"].size < 200_000
