"""The commands with networks that read a radiograph, or no study at all."""

from pathlib import Path

import pytest

from command import Command
from dicom_factory import save, write
from tiny_image import make_tiny_image, radiograph, stored
from tiny_pictures import png

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_image(tmp_path_factory.mktemp("image") / "tiny.mmcaf")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frontal and a lateral view."""
    lateral = radiograph(instance=2, ViewPosition="LL", PatientOrientation=None)
    return save([radiograph(), lateral], tmp_path_factory.mktemp("study") / "study")


def test_answer(bundle: Path, study: Path, run: Command) -> None:
    answered = run("mmcaf-infer", study, "--bundle", bundle, "--strict")
    assert answered.code == 0, answered.err
    assert "DX, one image, 0.143 x 0.139 mm" in answered.out
    assert "slices" not in answered.out


def test_a_picture_named_after_a_patient(bundle: Path, run: Command, tmp_path: Path) -> None:
    path = tmp_path / "DOE_JANE.png"
    path.write_bytes(png(stored(20, 30, 16)))
    named = run("mmcaf-infer", path, "--bundle", bundle, "--json")
    assert "DOE_JANE.png: its view is not known" in named.out
    hidden = run("mmcaf-infer", path, "--bundle", bundle, "--json", "--deidentify")
    assert hidden.code == 0, hidden.err
    assert "its view is not known" in hidden.out
    assert "DOE" not in hidden.out + hidden.err


def test_list(bundle: Path, study: Path, run: Command) -> None:
    listed = run("mmcaf", "studies", study, "--bundle", bundle)
    assert listed.code == 0, listed.err
    assert "read: the only one that fits" in listed.out
    assert "not read: lateral view" in listed.out
    listed = run("mmcaf", "studies", study / "IM0001", "--bundle", bundle)
    assert "refused: IM0001: a lateral view" in listed.out
    assert "--series" not in listed.out


def test_refusals(bundle: Path, study: Path, run: Command) -> None:
    lateral = run("mmcaf-infer", study / "IM0001", "--bundle", bundle)
    lateral.refused(3, "IM0001", "lateral", "(0018,5101) ViewPosition", "LL", "frontal")
    heatmap = run("mmcaf-infer", study, "--bundle", bundle, "--heatmap", "map.png")
    heatmap.refused(2, "tiny image", "attention", "--heatmap")
    stride = run("mmcaf-infer", study, "--bundle", bundle, "--stride", 2, "--gaps", "interpolate")
    stride.refused(2, "tiny image", "2D", "--gaps", "--stride")
    run("mmcaf-infer", study, "--bundle", bundle, "--slices", "1-2").refused(2, "tiny image", "2D", "--slices")


def test_inspect(bundle: Path, run: Command) -> None:
    shown = run("mmcaf", "inspect", bundle)
    assert shown.code == 0, shown.err
    assert "study         one radiograph: DX or CR, frontal view, or a PNG or JPEG file" in shown.out
    assert "step          resize: 12 x 16, bilinear, antialiased" in shown.out


def test_a_network_that_reads_no_study(run: Command, tmp_path: Path) -> None:
    bundle = make_tiny_image(tmp_path / "table.mmcaf", image=False, table=True)
    record = tmp_path / "record.json"
    record.write_text('{"age": 70}', encoding="utf-8")
    answered = run("mmcaf-infer", record, "--bundle", bundle)
    assert answered.code == 0, answered.err
    assert "study         none needed" in answered.out
    image = write(radiograph(), tmp_path / "image")
    run("mmcaf-infer", image, record, "--bundle", bundle).refused(2, "tiny image", "study")
    run("mmcaf", "studies", image, "--bundle", bundle).refused(2, "tiny image", "study", "--bundle")
