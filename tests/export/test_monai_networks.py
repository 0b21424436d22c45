"""MONAI's own networks as plug-ins: exported at the first try, and the same on every backend of this machine."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from export.monai_bundles import monai
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.checkup.verify import verify_bundle
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.registry import GROUP

pytestmark = pytest.mark.full
MODULE = "export.monai_networks"
NETWORKS = {"monai-densenet121": "DenseNetEntry", "monai-vit": "ViTEntry", "monai-swin": "SwinEntry"}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package whose entry points are the three, as pip would have left it."""
    monai(monkeypatch)
    metadata = tmp_path / "site" / "monai_plugins-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: monai-plugins\nVersion: 1.0\n", encoding="utf-8")
    points = "".join(f"{name} = {MODULE}:{kind}\n" for name, kind in NETWORKS.items())
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{points}", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield
    sys.modules.pop(MODULE, None)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_monais_is_exported_at_the_first_try(name: str, tmp_path: Path, installed: None) -> None:
    from export import monai_networks

    entry = getattr(monai_networks, NETWORKS[name])()
    torch.manual_seed(0)
    network = entry.build(monai_networks.EncoderConfig())
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    report = export_bundle(tmp_path / "weights.pth", tmp_path / "b.mmcaf", explain=False)
    assert report.network == name and report.ignored == tuple(
        key for key in network.state_dict() if key.endswith("num_batches_tracked")
    )
    verified = verify_bundle(load_bundle(tmp_path / "b.mmcaf"))
    verified.require_passed()
    errors = {one.backend: one.self_test.max_abs_error for one in verified.verified if one.self_test}
    assert set(errors) >= {"onnxruntime", "openvino", "torch"} and max(errors.values()) <= 1e-4
