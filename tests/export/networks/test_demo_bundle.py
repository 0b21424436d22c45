"""The bundle that ships with the engine is the committed checkpoint's network."""

from collections.abc import Callable

import numpy as np
import pytest
from pydicom.sr.codedict import codes

from example_exports import EXAMPLES, script
from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.bundle.hashing import file_sha256
from mmcaf_engine.checkup.raw_case import check_raw_case
from mmcaf_engine.manifest import BodyPartRule
from mmcaf_engine.session.session import open_session
from mmcaf_export.report import ExportReport

OWN = script("demo_model/export.py")
SIZE_LIMIT = 10_000_000


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return load_bundle(demo_bundle())


def test_labelled_a_demonstration(shipped: Bundle) -> None:
    manifest = shipped.manifest
    assert manifest.demonstration and "demo" in manifest.name
    assert "synthetic" in manifest.intended_use and "patients" in manifest.intended_use


def test_what_version_2_has(shipped: Bundle) -> None:
    manifest = shipped.manifest
    assert (manifest.format_version, manifest.release) == (2, 1)
    assert {label: (code.scheme, code.meaning) for label, code in manifest.label_codes.items()} == {
        "adenocarcinoma": ("SCT", "Adenocarcinoma of lung"),
        "squamous-cell carcinoma": ("SCT", "Squamous cell carcinoma of lung"),
    }
    for code in manifest.label_codes.values():
        known = getattr(codes.SCT, code.meaning.title().replace(" Of ", "Of").replace(" ", ""))
        assert (known.value, known.meaning) == (code.value, code.meaning)
    assert manifest.module_titles["image_encoder.dcfb2"] == "E3D-MSCA stage 2"
    raw = check_raw_case(shipped)
    assert raw is not None and max(raw.windows, raw.features) <= 1e-6
    assert manifest.files["golden.npz"].size < 1_000_000


def test_it_is_for_chests(shipped: Bundle) -> None:
    rule = shipped.manifest.body_part
    assert rule is not None and rule == BodyPartRule.model_validate_json(OWN.SETTINGS["body_part"])
    said = {part: rule.verdict(part) for part in ("CHEST", "CHESTABDPELVIS", "ABDOMEN", "HEAD", "KNEE")}
    assert list(said.values()) == ["accepted", "accepted", "warned", "refused", "refused"]


def test_pages_quote_it(shipped: Bundle) -> None:
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert f"{shipped.manifest.name}, bundle {shipped.sha256[:12]}" in readme


def test_small_enough(shipped: Bundle) -> None:
    bundle = sum(entry.size for entry in shipped.manifest.files.values())
    assert OWN.CHECKPOINT.stat().st_size + bundle <= SIZE_LIMIT


def test_made_from_the_committed_checkpoint(shipped: Bundle) -> None:
    assert shipped.manifest.provenance.checkpoint_sha256 == file_sha256(OWN.CHECKPOINT)


@pytest.mark.full
def test_exported_again_it_is_the_same_network(shipped: Bundle, example: Callable[[str], ExportReport]) -> None:
    report = example("demo")
    assert report.notes == ()
    again = load_bundle(report.output)
    varying = {"files", "provenance"}
    assert again.manifest.model_dump(exclude=varying) == shipped.manifest.model_dump(exclude=varying)
    with np.load(shipped.folder / "golden.npz") as cases, open_session(again, backend="onnxruntime") as session:
        logits = session.run({"image": cases["image"], "table": cases["table"]})["logit"]
        np.testing.assert_allclose(logits, cases["logit"], atol=1e-4, rtol=0)
