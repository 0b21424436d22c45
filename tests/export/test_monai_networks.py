"""MONAI's own networks as plug-ins: exported at the first try, the same on every backend, quantised and built."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from command import Command
from export.monai_bundles import monai
from export.own_cohorts import own_cohort
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.checkup.verify import verify_bundle
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.registry import GROUP
from mmcaf_export.report import ExportReport

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


def exported(name: str, folder: Path) -> ExportReport:
    """A bundle of the network with random weights."""
    from export import monai_networks

    entry = getattr(monai_networks, NETWORKS[name])()
    torch.manual_seed(0)
    network = entry.build(monai_networks.EncoderConfig())
    torch.save(network.state_dict(), folder / "weights.pth")
    report = export_bundle(folder / "weights.pth", folder / "b.mmcaf", explain=False)
    dead = tuple(key for key in network.state_dict() if key.endswith("num_batches_tracked"))
    assert report.network == name and report.ignored == dead
    return report


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_monais_is_exported_at_the_first_try_quantised_and_built(
    name: str, tmp_path: Path, installed: None, run: Command
) -> None:
    made = exported(name, tmp_path).output
    bundle = load_bundle(made)
    verified = verify_bundle(bundle)
    verified.require_passed()
    errors = {one.backend: one.self_test.max_abs_error for one in verified.verified if one.self_test}
    assert set(errors) >= {"onnxruntime", "openvino", "torch"} and max(errors.values()) <= 1e-4

    small = str(tmp_path / "small.mmcaf")
    cohort = str(own_cohort(bundle.manifest, tmp_path))
    precisions = ("--precision", "int8", "--precision", "fp16")
    done = run("mmcaf", "quantize", str(made), "-o", small, *precisions, "--calibration", cohort)
    assert done.code == 0, done.err
    assert set(load_bundle(small).manifest.models) == {"fp32", "int8", "fp16"}
    done = run("mmcaf", "evaluate", cohort, "--bundle", small, "--json")
    assert done.code == 0 and {"int8"} <= set(json.loads(done.out)["accuracy"]["precisions"]), done.err
    for precision in ("fp32", "fp16", "int8"):
        done = run("mmcaf", "build", small, "--target", "sm_89", "--precision", precision)
        assert done.code == 0, done.err
