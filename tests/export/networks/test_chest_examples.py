"""The committed slim CMASG-Bi-LSTM and MedFusionNet: exported, they answer on both runtimes, and well."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from example_exports import EXAMPLES, script
from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.demo import CHEST_FINDINGS, CHEST_LABELS, chest_patient, chest_study
from mmcaf_engine.demo.report import chest_report
from mmcaf_engine.demo.write_dx import write_chest
from mmcaf_engine.evaluation.cohort import open_cohort
from mmcaf_engine.evaluation.compare import score_cohort
from mmcaf_engine.evaluation.metrics import auroc
from mmcaf_engine.evaluation.synthetic import ChestCase
from mmcaf_engine.inputs.prepare import prepare
from mmcaf_engine.pipeline import infer
from mmcaf_engine.profile.subject import synthetic_study
from mmcaf_engine.record.tokenizer import open_tokenizer
from mmcaf_engine.result.decisions import decision_for
from mmcaf_engine.session.session import open_session
from mmcaf_export.report import ExportReport

pytestmark = pytest.mark.full  # Their export takes half a minute, that of the other two examples ten seconds.

NETWORKS = ("cmasg", "medfusionnet")
Bundles = Callable[[str], Bundle]
SIZE_LIMIT = 3_000_000
COHORT = "demo:60000-60059"
"""The first of the held-out studies that the examples' figures are of."""

FLOOR = {"cmasg": 0.90, "medfusionnet": 0.86}
"""AUROC, of several findings their mean; the examples' figures are of ten times as many studies, and higher."""


@pytest.fixture(scope="module")
def bundles(example: Callable[[str], ExportReport]) -> Bundles:
    """Opens each network once."""
    return cache(lambda name: load_bundle(example(name).output))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Image, record and report of one patient with two findings."""
    return write_chest(chest_study(8), tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize("name", NETWORKS)
def test_small_and_labelled_a_demonstration(bundles: Bundles, name: str) -> None:
    assert script("export.py").checkpoint(name).stat().st_size < SIZE_LIMIT
    manifest = bundles(name).manifest
    assert manifest.demonstration and "synthetic" in manifest.intended_use
    vocabulary = bundles(name).folder / manifest.text.vocabulary
    assert vocabulary.read_bytes() == (EXAMPLES / "chest_studies" / "vocabulary.txt").read_bytes()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_synthetic_reports_need_no_unknown_piece(bundles: Bundles, name: str) -> None:
    tokenizer = open_tokenizer(bundles(name))
    assert tokenizer is not None
    texts = [tokenizer.tokenise(chest_report(chest_patient(seed)).text) for seed in range(70_000, 70_060)]
    assert sum(text.unknown for text in texts) == 0
    assert len({text.ids.shape[1] for text in texts}) > 1


@pytest.mark.parametrize("name", NETWORKS)
def test_both_runtimes_answer_alike(bundles: Bundles, study: tuple[Path, Path, Path], name: str) -> None:
    image, record, report = study
    given = {"record": report} if name == "cmasg" else {"record": record, "report": report}
    results = [
        infer(image, given["record"], report=given.get("report"), bundle=bundles(name), backend=backend)
        for backend in ("onnxruntime", "openvino")
    ]
    first, second = (np.array(list(result.probabilities.values())) for result in results)
    np.testing.assert_allclose(first, second, atol=1e-4)
    assert results[0].label == results[1].label


def test_cmasg_lost_about_half_of_its_units(bundles: Bundles) -> None:
    from safetensors import safe_open

    checkpoint = EXAMPLES / "cmasg_model" / "weights.safetensors"
    with safe_open(checkpoint, "pt") as file:
        kept = [file.get_tensor(f"sparse_gate.keep_l0{ending}") for ending in ("", "_reverse")]
    shares = [float(bits.float().mean()) for bits in kept]
    assert 0.3 < np.mean(shares) < 0.7, shares
    assert bundles("cmasg").manifest.labels == CHEST_LABELS


def test_medfusionnet_has_what_training_chose(bundles: Bundles, study: tuple[Path, Path, Path]) -> None:
    manifest = bundles("medfusionnet").manifest
    assert manifest.labels == CHEST_FINDINGS and manifest.activation == "independent"
    assert all(0.02 < threshold < 0.9 and threshold != 0.5 for threshold in manifest.thresholds)
    table = manifest.table
    assert [field.name for field in table.fields] == ["age", "view_position", "follow_up_number"]
    assert table.ignored == ("sex",)
    assert {field.cut.label for field in table.fields} <= set(CHEST_FINDINGS)
    image, record, report = study
    result = infer(image, record, report=report, bundle=bundles("medfusionnet"), backend="onnxruntime")
    assert [finding.label for finding in result.findings] == list(CHEST_FINDINGS)
    assert "Mass" in result.label


@pytest.mark.parametrize("name", NETWORKS)
def test_a_case_in_memory_equals_its_files(bundles: Bundles, study: tuple[Path, Path, Path], name: str) -> None:
    manifest, tokenizer = bundles(name).manifest, open_tokenizer(bundles(name))
    case = ChestCase(8, decision_for(manifest)).load(manifest, tokenizer)
    image, record, report = study
    files = (report, None) if name == "cmasg" else (record, report)
    read = prepare(image, files[0], manifest, report=files[1], tokenizer=tokenizer)
    rendered, decoded = case.inputs(0, manifest), read.inputs(0, manifest)
    assert rendered.keys() == decoded.keys()
    for tensor in ("image", "metadata"):
        if tensor in rendered:
            np.testing.assert_allclose(rendered[tensor], decoded[tensor], atol=2e-6)
    # A record has no headings.
    assert 0 <= decoded["attention_mask"].sum() - rendered["attention_mask"].sum() <= 6


@pytest.mark.parametrize("name", NETWORKS)
def test_a_profile_measures_a_study_from_end_to_end(bundles: Bundles, tmp_path: Path, name: str) -> None:
    measured = synthetic_study(bundles(name), tmp_path)
    assert measured.is_study and not measured.note and measured.facts.kind == "synthetic study"
    assert infer(measured.study, measured.record, bundle=bundles(name), backend="onnxruntime").warnings == ()


@pytest.mark.parametrize("name", NETWORKS)
def test_right_on_held_out_studies(bundles: Bundles, name: str) -> None:
    bundle = bundles(name)
    with open_session(bundle, backend="onnxruntime") as session:
        outcome = score_cohort(open_cohort(COHORT, bundle.manifest), {"fp32": session})
    probabilities = outcome.scores["fp32"].probabilities
    assert len(outcome.ids) == 60 and not outcome.refused
    if name == "cmasg":
        area = auroc(list(outcome.labels), probabilities[:, 1])
    else:
        present = np.array([[at in label for at in range(len(CHEST_FINDINGS))] for label in outcome.labels])
        assert present.any(axis=0).all()
        area = float(np.mean([auroc(present[:, at], probabilities[:, at]) for at in range(len(CHEST_FINDINGS))]))
    assert area > FLOOR[name], area
