"""`list_study`: series by a network's rules, images for one that reads an image, and all without a network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

import study_edits as forms
from dicom_factory import ct_series, raw, relay, save, write
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.demo.liver import liver_study
from mmcaf_engine.demo.write_mr import write_mr_series
from mmcaf_engine.errors import StudyError, UsageError
from mmcaf_engine.inputs.listing import list_study
from mmcaf_engine.inputs.prepare import prepare
from mmcaf_engine.manifest import BodyPartRule, CenterCropStep
from refusals import check_facts, refused
from tiny_bundle import make_tiny_bundle
from tiny_image import make_tiny_image, radiograph
from tiny_liver import make_tiny_liver

RECORD = {"sex": "F", "age": 63}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return save(ct_series(forms.REFERENCE), tmp_path / "study")


def test_with_and_without_a_network(study: Path, tiny_bundle: Path) -> None:
    (alone,) = list_study(study).series
    assert (alone.modality, alone.input, alone.slices) == ("CT", None, 12)
    (matched,) = list_study(study, manifest=load_bundle(tiny_bundle).manifest).series
    assert matched.chosen


def test_of_another_modality(study: Path, tiny_bundle: Path) -> None:
    manifest = load_bundle(tiny_bundle).manifest
    assert list_study(study, manifest=manifest, modality="MR").problem
    assert list_study(study, modality="MR").problem and not list_study(study, modality="CT").problem


def test_only_series_of_the_networks_modality_are_chosen(tmp_path: Path, tiny_bundle: Path) -> None:
    path = save(ct_series(forms.REFERENCE, Modality="MR"), tmp_path / "study")
    assert list_study(path).series[0].chosen
    found = list_study(path, manifest=load_bundle(tiny_bundle).manifest)
    assert found.problem and not found.series[0].chosen


def test_a_network_of_an_image_does_not_read_the_series(study: Path, tmp_path: Path) -> None:
    manifest = load_bundle(make_tiny_image(tmp_path / "image.mmcaf")).manifest
    found = list_study(study, manifest=manifest)
    assert found.problem and not any(entry.chosen for entry in found.series)


def test_refused(tmp_path: Path) -> None:
    manifest = load_bundle(make_tiny_bundle(tmp_path / "tiny.mmcaf")).manifest
    with refused(StudyError, "tiny.mmcaf", "DICOM", "3 files"):
        list_study(tmp_path / "tiny.mmcaf", manifest=manifest)
    table_alone = manifest.model_copy(update={"preprocessing": None})
    with refused(UsageError, "tiny", "study", option="bundle"):
        list_study(tmp_path, manifest=table_alone)


def test_what_is_told_of_a_series(study: Path) -> None:
    (found,) = list_study(study).series
    count, rows, columns = forms.REFERENCE.shape
    assert (found.slices, found.rows, found.columns) == (count, rows, columns)
    assert found.spacing_mm == pytest.approx((2.5, 0.7, 0.8))
    assert (found.number, found.series_number, found.plane, found.original) == (1, 2, "axial", True)


REFUSED: dict[str, tuple[dict[str, Any], forms.Edit]] = {
    "gap": ({}, forms.without(5)),
    "body-part": ({"body_part": BodyPartRule(refused=("HEAD",))}, forms.tagged(BodyPartExamined="HEAD")),
    "blank": ({}, forms.each(lambda image: relay(image, np.full_like(raw(image), 1000), 12))),
    "too-small-a-matrix": ({"crop": 40}, lambda images: images),
    "cut-short": ({}, lambda images: images),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_answer_refuses_is_said(name: str, tiny_bundle: Path, tmp_path: Path) -> None:
    changes, edit = REFUSED[name]
    manifest = load_bundle(tiny_bundle).manifest
    if "crop" in changes:
        steps = (CenterCropStep(rows=40, columns=40),)
        changes = {"preprocessing": manifest.of_volumes.model_copy(update={"steps": steps})}
    manifest = manifest.model_copy(update=changes)
    path = save(edit(ct_series(forms.REFERENCE)), tmp_path / "study")
    if name == "cut-short":
        last = path / "IM0011"
        last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(StudyError) as answer:
        prepare(path, RECORD, manifest)
    found = list_study(path, manifest=manifest)
    assert found.problem == answer.value.problem
    assert [(entry.chosen, entry.refused) for entry in found.series] == [(True, found.problem)]


def test_what_an_answer_from_an_image_refuses_is_said(tmp_path: Path) -> None:
    manifest = load_bundle(make_tiny_image(tmp_path / "image.mmcaf")).manifest
    manifest = manifest.model_copy(update={"body_part": BodyPartRule(refused=("HAND",))})
    hand = write(radiograph(BodyPartExamined="HAND"), tmp_path / "hand")
    blank = radiograph()
    blank.PixelData = bytes(len(blank.PixelData))
    for path in (hand, write(blank, tmp_path / "blank")):
        found = list_study(path, manifest=manifest)
        (entry,) = found.series
        assert entry.chosen and entry.refused == found.problem is not None


def test_series_of_two_places_are_refused_for_a_network_of_several(tmp_path: Path) -> None:
    manifest = load_bundle(make_tiny_liver(tmp_path / "liver.mmcaf")).manifest
    write_mr_series(liver_study(3, slices=16, size=16), tmp_path / "dicom")
    assert list_study(tmp_path / "dicom", manifest=manifest).problem is None
    for file in sorted((tmp_path / "dicom" / "03-dwi").iterdir()):
        image = dcmread(file)
        image.FrameOfReferenceUID = "1.2.3"
        image.save_as(file)
    problem = list_study(tmp_path / "dicom", manifest=manifest).problem
    assert problem is not None
    check_facts(problem, "(0020,0052)", "dwi")
