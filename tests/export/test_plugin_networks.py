"""Five networks as other packages write them: each exports at the first try and answers as its source everywhere."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from command import Command
from export import plugins
from export.own_cohorts import own_cohort
from export.plugins.two_heads import RiskEntry, TwoHeadsEntry
from mmcaf_engine.backends.factory import Network, make_backend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import ExportError
from mmcaf_engine.manifest import TensorSpec
from mmcaf_export.calls import adapted
from mmcaf_export.export import export_bundle
from refusals import refused


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path


@pytest.mark.full
@pytest.mark.parametrize("name", plugins.ENTRIES)
def test_each_is_exported_and_answers_as_its_source(name: str, site: Path) -> None:
    plugins.install(site)
    report = export_bundle(plugins.checkpoint(name, site), site / "made.mmcaf")
    assert report.network == name
    assert [(one.backend, one.batches) for one in report.verifications] == [
        ("onnxruntime", (1, 3)),
        ("openvino", (1, 3)),
    ]
    bundle = load_bundle(report.output)
    assert bundle.manifest.network.batch == (1 if name == "hypernetwork" else None)

    entry, config = plugins.entry_of(name), plugins.config_of(name)
    outputs = entry.tensors(config)[1]
    source = adapted(plugins.source(name), entry.example_inputs(config, 1, 0), outputs, entry.unused_outputs)
    drawn = entry.example_inputs(config, 3, seed=11)
    with torch.no_grad():
        expected = source(*drawn.values())
    expected = expected if isinstance(expected, tuple) else (expected,)
    feed = {key: tensor.numpy() for key, tensor in drawn.items()}
    for backend in ("onnxruntime", "openvino", "torch"):
        network = Network.of(bundle.manifest, bundle.folder, "fp32")
        with make_backend(backend_class(backend), network, 1) as opened:
            found = opened.infer(feed)
        for spec, tensor in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(found[spec.name], tensor.numpy(), rtol=0, atol=1e-4, err_msg=backend)


def test_an_output_that_there_is_none_of_is_refused_before_the_work(site: Path) -> None:
    plugins.install(site, "two_heads:TwoHeadsEntry")
    facts = ("heads.hazards [1, 5]", "heads.risk [1, 1]", "event missing", "heads.hazards, heads.risk not declared")
    with refused(ExportError, *facts):
        export_bundle(plugins.checkpoint("survival", site), site / "made.mmcaf")
    assert not (site / "made.mmcaf").exists()


def test_a_second_score_is_refused_by_name(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def both(self: RiskEntry, config: object) -> object:
        inputs, _outputs = TwoHeadsEntry.tensors(self, config)  # type: ignore[arg-type]
        hazards = TensorSpec(name="hazards", kind="score", shape=("N", 5))
        return inputs, (TensorSpec(name="risk", kind="score", shape=("N", 1)), hazards)

    monkeypatch.setattr(RiskEntry, "tensors", both)
    monkeypatch.setattr(RiskEntry, "unused_outputs", ())
    plugins.install(site)
    with refused(ExportError, "hazards", "one score"):
        export_bundle(plugins.checkpoint("survival", site), site / "made.mmcaf")


@pytest.mark.full
@pytest.mark.parametrize("name", plugins.ENTRIES)
def test_each_is_quantized_on_studies_of_its_own_evaluated_and_built(name: str, site: Path, run: Command) -> None:
    plugins.install(site)
    made = str(site / "made.mmcaf")
    manifest = load_bundle(export_bundle(plugins.checkpoint(name, site), made).output).manifest
    done = run("mmcaf", "quantize", made, "-o", str(site / "small.mmcaf"), "--precision", "int8")
    assert done.code == 2 and "--calibration=COHORT.csv" in done.err
    cohort = str(own_cohort(manifest, site))
    small = str(site / "small.mmcaf")
    precisions = ("--precision", "int8", "--precision", "fp16")
    done = run("mmcaf", "quantize", made, "-o", small, *precisions, "--calibration", cohort)
    assert done.code == 0, done.err
    assert set(load_bundle(small).manifest.models) == {"fp32", "int8", "fp16"}
    done = run("mmcaf", "evaluate", cohort, "--bundle", small, "--json")
    assert done.code == 0 and {"int8"} <= set(json.loads(done.out)["accuracy"]["precisions"]), done.err
    done = run("mmcaf", "build", small, "--target", "sm_89")
    assert done.code == 0, done.err
