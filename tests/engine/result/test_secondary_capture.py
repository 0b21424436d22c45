"""The picture of an answer as a DICOM object: its pixels, its study, the same bytes again, and what dciodvfy says."""

import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from counterparts import need
from mmcaf_engine.result.result import Result
from mmcaf_engine.result.writers.dicom import dicom_files
from tiny_result import CAPTURE, PICTURE, UID, picture, source, sources, tiny_result

SECONDS = 60


def capture_of(result: Result, header: Dataset | None = None) -> Dataset:
    return dcmread(BytesIO(dicom_files(result, sources(result, header or source()), picture, "sc")[CAPTURE]))


def test_the_picture_is_read_back() -> None:
    capture = capture_of(tiny_result())
    np.testing.assert_array_equal(capture.pixel_array, PICTURE)
    assert (capture.PhotometricInterpretation, capture.BurnedInAnnotation) == ("RGB", "YES")
    assert "RESEARCH" in capture.SeriesDescription


def test_patient_and_study_are_those_of_the_images() -> None:
    capture = capture_of(tiny_result())
    assert (capture.PatientID, capture.IssuerOfPatientID, capture.StudyInstanceUID) == ("PID 7", "Hospital", UID)
    assert (capture.AccessionNumber, capture.StudyDate) == ("A1", "20260102")
    assert (capture.ContentTime, capture.TimeOfSecondaryCapture) == ("100848", "100848")  # 9:08:48 UTC, at +0100


def test_names_of_any_script() -> None:
    assert capture_of(tiny_result(), source(PatientName="山田^太郎")).PatientName == "山田^太郎"


def test_the_same_answer_gives_the_same_bytes_in_a_series_of_its_own() -> None:
    once, again = (dicom_files(tiny_result(), sources(tiny_result()), picture) for _ in range(2))
    assert once == again
    objects = [dcmread(BytesIO(data)) for data in once.values()]
    assert len({one.SOPInstanceUID for one in objects}) == len({one.SeriesInstanceUID for one in objects}) == 2
    other = capture_of(replace(tiny_result(), probability=0.71))
    assert other.SOPInstanceUID != capture_of(tiny_result()).SOPInstanceUID


@pytest.mark.parametrize("lacking", ["", "PatientSex", "StudyDate", "StudyTime", "PatientName"])
def test_dciodvfy_finds_no_error(lacking: str, tmp_path: Path) -> None:
    dciodvfy, header = need("dciodvfy"), source()
    if lacking:
        delattr(header, lacking)
    (tmp_path / CAPTURE).write_bytes(dicom_files(tiny_result(), sources(tiny_result(), header), picture)[CAPTURE])
    ran = subprocess.run(
        [dciodvfy, "-new", str(tmp_path / CAPTURE)], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert "SCImage" in ran.stderr + ran.stdout and "Error" not in ran.stderr + ran.stdout
