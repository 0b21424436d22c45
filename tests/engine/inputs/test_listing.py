"""`list_study`: series by a network's rules, images for one that reads an image, and all without a network."""

from pathlib import Path

import pytest

import study_edits as forms
from dicom_factory import ct_series, save
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import StudyError, UsageError
from mmcaf_engine.inputs.listing import list_study
from refusals import refused
from tiny_bundle import make_tiny_bundle
from tiny_image import make_tiny_image

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
