"""The demo's DICOM files as programs of others see them: dciodvfy, dcm2niix and dcmjs."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from counterparts import need, need_npm
from mmcaf_engine.demo import Phantom, make_phantom, write_dicom
from mmcaf_engine.study import read_study

SECONDS = 60
READ_BY_DCMJS = """
const { readFileSync } = require("fs");
const { data, log } = require("dcmjs");
log.setLevel("error");
const file = readFileSync(process.argv[1]);
const read = data.DicomMessage.readFile(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
const image = data.DicomMetaDictionary.naturalizeDataset(read.dict);
const pixels = new Int16Array(image.PixelData[0]);
process.stdout.write(JSON.stringify({
    place: image.ImagePositionPatient, rows: image.Rows, columns: image.Columns, patient: image.PatientID,
    hu: Array.from(pixels, (value) => value * image.RescaleSlope + image.RescaleIntercept),
}));
"""


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(5, size=64)


@pytest.fixture(scope="module")
def series(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_dicom.write_series(phantom, tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="module")
def multiframe(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dicom.write_multiframe(phantom, tmp_path_factory.mktemp("enhanced") / "study.dcm")


def output(*command: object) -> str:
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout + ran.stderr


def test_a_slice_is_a_standard_ct_image(series: list[Path]) -> None:
    dciodvfy = need("dciodvfy")
    for path in (series[0], series[-1]):
        said = output(dciodvfy, "-new", path)
        assert "CTImage" in said and "Error" not in said


def test_the_multi_frame_file_is_a_standard_enhanced_ct_image(multiframe: Path) -> None:
    said = output(need("dciodvfy"), "-new", multiframe)
    assert "EnhancedCTImage" in said and "Error" not in said


@pytest.mark.parametrize("form", ["series", "multiframe"])
def test_dcm2niix_makes_the_same_volume(form: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    dcm2niix = need("dcm2niix")
    written = request.getfixturevalue(form)
    folder = (written[0] if form == "series" else written).parent
    output(dcm2niix, "-b", "n", "-z", "n", "-f", "volume", "-o", tmp_path, folder)
    theirs, ours = read_study(tmp_path / "volume.nii").volume, read_study(folder).volume
    np.testing.assert_array_equal(theirs.values, ours.values)
    np.testing.assert_allclose(theirs.spacing_mm, ours.spacing_mm, rtol=1e-5)  # float32 in NIfTI
    np.testing.assert_allclose(theirs.origin_mm, ours.origin_mm, atol=1e-3)  # mm, decimal text in DICOM


def test_dcmjs_reads_the_same_slice(phantom: Phantom, series: list[Path]) -> None:
    folder = need_npm("dcmjs")
    ran = subprocess.run(
        [need("node"), "-e", READ_BY_DCMJS, str(series[3].resolve())],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    read = json.loads(ran.stdout)
    np.testing.assert_array_equal(np.reshape(read["hu"], (read["rows"], read["columns"])), phantom.hu[3])
    ours = read_study(series[3].parent)
    assert read["place"][2] == pytest.approx(ours.volume.origin_mm[2] + 3 * ours.volume.spacing_mm[0], abs=1e-3)  # mm
