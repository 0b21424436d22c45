"""Cohorts of synthetic radiographs: rendered in memory as the files that a demonstration writes, and labelled."""

from pathlib import Path

import numpy as np
import pytest

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.demo import CHEST_FINDINGS, CHEST_LABELS, LIVER_LABELS, chest_patient, chest_study
from mmcaf_engine.demo.write_dx import write_chest
from mmcaf_engine.errors import StudyError
from mmcaf_engine.evaluation.cohort import open_cohort
from mmcaf_engine.evaluation.synthetic import ChestCase, demo_cohort
from mmcaf_engine.inputs.prepare import prepare
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.result.decisions import MulticlassDecision, MultilabelDecision
from refusals import refused
from tiny_image import make_tiny_image

SEEDS = range(6, 12)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return load_bundle(make_tiny_image(tmp_path_factory.mktemp("image") / "tiny.mmcaf")).manifest


@pytest.fixture(scope="module")
def with_table(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return load_bundle(make_tiny_image(tmp_path_factory.mktemp("table") / "tiny.mmcaf", table=True)).manifest


@pytest.mark.parametrize("seed", SEEDS)
def test_a_radiograph_in_memory_equals_its_file(manifest: Manifest, tmp_path: Path, seed: int) -> None:
    study, _, _ = write_chest(chest_study(seed), tmp_path)
    read, rendered = prepare(study, None, manifest), ChestCase(seed).load(manifest)
    assert read.image is not None and rendered.image is not None
    np.testing.assert_allclose(rendered.image.values, read.image.values, atol=2e-6)
    assert np.ptp(rendered.image.values) > 1
    assert rendered.image.facts.spacing_mm == pytest.approx(read.image.facts.spacing_mm)
    assert read.study_warnings == rendered.study_warnings == ()


def test_the_record_is_that_of_the_file(with_table: Manifest, tmp_path: Path) -> None:
    study, record, _ = write_chest(chest_study(7, size=64), tmp_path)
    from_file = prepare(study, record, with_table)
    rendered = ChestCase(7).load(with_table)
    assert rendered.record is not None and from_file.record is not None
    assert rendered.record.features == from_file.record.features == {"age": (chest_patient(7).age - 20) / 100}


def each_of(labels: tuple[str, ...]) -> MultilabelDecision:
    return MultilabelDecision(labels, (0.5,) * len(labels))


def test_labels_follow_the_network() -> None:
    patients = [chest_patient(seed) for seed in SEEDS]
    findings = demo_cohort(SEEDS.start, len(SEEDS), each_of(CHEST_FINDINGS), kind="chest")
    assert [case.label for case in findings] == [
        tuple(at for at, name in enumerate(CHEST_FINDINGS) if name in patient.names) for patient in patients
    ]
    backwards = demo_cohort(SEEDS.start, len(SEEDS), each_of(("Hernia", *CHEST_FINDINGS[::-1])), kind="chest")
    for case, patient in zip(backwards, patients, strict=True):
        assert {("Hernia", *CHEST_FINDINGS[::-1])[at] for at in case.label} == set(patient.names)
        assert list(case.label) == sorted(case.label)
    two = demo_cohort(SEEDS.start, len(SEEDS), MulticlassDecision(CHEST_LABELS[::-1]), kind="chest")
    assert [case.label for case in two] == [int(not patient.names) for patient in patients]
    for others in (MulticlassDecision(LIVER_LABELS), each_of(LIVER_LABELS), MulticlassDecision(CHEST_FINDINGS)):
        cohort = demo_cohort(SEEDS.start, len(SEEDS), others, kind="chest")
        assert {case.label for case in cohort} == {None}


def test_a_network_of_radiographs_gets_radiographs(manifest: Manifest, tmp_path: Path) -> None:
    assert [type(case) for case in open_cohort("demo:3-5", manifest)] == [ChestCase] * 3
    spec = manifest.image.model_copy(update={"view": "lateral"})
    lateral = manifest.model_copy(update={"image": spec})
    with refused(StudyError, "demo:3", "radiograph", "tiny image", "DX", "CR", "image"):
        ChestCase(3).load(lateral)
