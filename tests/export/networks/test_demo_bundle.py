"""The bundle that ships with the engine is the committed checkpoint's network."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mmcaf_engine.bundle.bundle import Bundle, file_sha256, load_bundle
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.session.session import open_session
from mmcaf_export.export import export_bundle

FOLDER = Path(__file__).parents[3] / "examples" / "demo_model"
SIZE_LIMIT = 10_000_000


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_export", FOLDER / "export.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return load_bundle(demo_bundle())


def test_labelled_a_demonstration(shipped: Bundle) -> None:
    manifest = shipped.manifest
    assert manifest.demonstration and "demo" in manifest.name
    assert "synthetic" in manifest.intended_use and "patients" in manifest.intended_use


def test_small_enough(shipped: Bundle, script: ModuleType) -> None:
    bundle = sum(entry.size for entry in shipped.manifest.files.values())
    assert script.CHECKPOINT.stat().st_size + bundle <= SIZE_LIMIT


def test_made_from_the_committed_checkpoint(shipped: Bundle, script: ModuleType) -> None:
    assert shipped.manifest.provenance.checkpoint_sha256 == file_sha256(script.CHECKPOINT)


def test_exported_again_it_is_the_same_network(shipped: Bundle, script: ModuleType, tmp_path: Path) -> None:
    report = export_bundle(script.CHECKPOINT, tmp_path / "again.mmcaf", settings=script.SETTINGS)
    assert report.notes == ()
    again = load_bundle(tmp_path / "again.mmcaf")
    varying = {"files", "provenance"}
    assert again.manifest.model_dump(exclude=varying) == shipped.manifest.model_dump(exclude=varying)
    with np.load(shipped.file("golden.npz")) as cases, open_session(again, backend="onnxruntime") as session:
        logits = session.run({"image": cases["image"], "table": cases["table"]})["logit"]
        np.testing.assert_allclose(logits, cases["logit"], atol=1e-4, rtol=0)
