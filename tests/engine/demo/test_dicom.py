"""The demo's DICOM files: exact voxels, both forms alike, required tags, fixed bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmcaf_engine.demo import Phantom, make_phantom

pydicom = pytest.importorskip("pydicom")
write_dicom = pytest.importorskip("mmcaf_engine.demo.write_dicom")

SEED, SIZE = 5, 64
SINGLE = ("KVP", "WindowCenter", "WindowWidth", "SliceLocation", "RescaleType", "StudyDate", "Modality")
ENHANCED = (
    "NumberOfFrames",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
    "AcquisitionContextSequence",
    "ContentDate",
    "ContentTime",
    "PixelPresentation",
    "VolumetricProperties",
    "InstanceNumber",
    "Manufacturer",
)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(SEED, size=SIZE)


@pytest.fixture(scope="module")
def multiframe(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dicom.write_multiframe(phantom, tmp_path_factory.mktemp("enhanced") / "study.dcm")


@pytest.fixture(scope="module")
def series(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_dicom.write_series(phantom, tmp_path_factory.mktemp("series"))


def test_multiframe_holds_the_phantom(phantom: Phantom, multiframe: Path) -> None:
    ds = pydicom.dcmread(multiframe)
    value = ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    hu = ds.pixel_array.astype(np.int32) * int(value.RescaleSlope) + int(value.RescaleIntercept)
    np.testing.assert_array_equal(hu, phantom.hu)


def test_series_holds_the_phantom(phantom: Phantom, series: list[Path]) -> None:
    assert len(series) == phantom.hu.shape[0]
    for k, path in enumerate(series):
        ds = pydicom.dcmread(path)
        hu = ds.pixel_array.astype(np.int32) * int(ds.RescaleSlope) + int(ds.RescaleIntercept)
        np.testing.assert_array_equal(hu, phantom.hu[k])


def test_both_forms_agree_in_geometry_and_identity(multiframe: Path, series: list[Path]) -> None:
    whole = pydicom.dcmread(multiframe)
    shared = whole.SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0]
    for frame, path in zip(whole.PerFrameFunctionalGroupsSequence, series, strict=True):
        ds = pydicom.dcmread(path)
        assert ds.ImagePositionPatient == frame.PlanePositionSequence[0].ImagePositionPatient
        assert ds.ImageOrientationPatient == shared.PlaneOrientationSequence[0].ImageOrientationPatient
        assert ds.PixelSpacing == measures.PixelSpacing
        assert ds.SliceThickness == measures.SliceThickness
        for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientSex", "PatientAge"):
            assert ds[name].value == whole[name].value, name


def test_the_nodule_lies_where_the_header_has_it(phantom: Phantom, series: list[Path]) -> None:
    corner = np.array(pydicom.dcmread(series[0], stop_before_pixels=True).ImagePositionPatient, np.float64)
    place = corner + np.multiply(phantom.nodule_index, phantom.spacing_mm)[::-1]  # x, y, z
    np.testing.assert_allclose(place[::-1], phantom.patient.nodule.center_mm, atol=1e-3)  # mm, decimal text


def test_slices_ascend_by_the_spacing(phantom: Phantom, series: list[Path]) -> None:
    heights = [float(pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2]) for p in series]
    np.testing.assert_allclose(np.diff(heights), phantom.spacing_mm[0], atol=1e-3)  # mm, decimal text
    assert sum(heights) == pytest.approx(0.0, abs=1e-3)


def test_header_repeats_the_record(phantom: Phantom, multiframe: Path, series: list[Path]) -> None:
    patient = phantom.patient
    for path in (multiframe, series[0]):
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        assert ds.PatientID == patient.patient_id
        assert ds.PatientSex == patient.sex
        assert ds.PatientAge == f"{patient.age:03d}Y"
        assert float(ds.PatientWeight) == patient.weight
        assert ds.PatientName == "PHANTOM^DEMO"
        assert "ynthetic" in ds.SeriesDescription and "not a patient" in ds.ImageComments
        assert (int(ds.StudyDate) - int(ds.PatientBirthDate)) // 10000 == patient.age


def test_required_tags_are_present(multiframe: Path, series: list[Path]) -> None:
    whole = pydicom.dcmread(multiframe)
    assert whole.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2.1"
    assert whole.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    for name in ENHANCED:
        assert name in whole, name
    assert whole.NumberOfFrames == len(whole.PerFrameFunctionalGroupsSequence) == len(series)
    assert "CTImageFrameTypeSequence" in whole.SharedFunctionalGroupsSequence[0]
    indexes = [f.FrameContentSequence[0].DimensionIndexValues for f in whole.PerFrameFunctionalGroupsSequence]
    assert [int(np.ravel(i)[0]) for i in indexes] == list(range(1, len(series) + 1))
    single = pydicom.dcmread(series[0])
    assert single.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    for name in SINGLE:
        assert name in single, name
    assert (single.BitsStored, single.PixelRepresentation, single.RescaleIntercept) == (12, 0, -1024)


def test_instance_and_series_uids_are_unique(multiframe: Path, series: list[Path]) -> None:
    headers = [pydicom.dcmread(p, stop_before_pixels=True) for p in (multiframe, *series)]
    assert len({h.StudyInstanceUID for h in headers}) == 1
    assert len({h.SeriesInstanceUID for h in headers}) == 2
    uids = [h.SOPInstanceUID for h in headers]
    uids += list({h.SeriesInstanceUID for h in headers})
    uids += [headers[0].StudyInstanceUID, headers[0].FrameOfReferenceUID]
    uids += [headers[0].DimensionOrganizationSequence[0].DimensionOrganizationUID]
    assert len(set(uids)) == len(uids)
    assert all(h.file_meta.MediaStorageSOPInstanceUID == h.SOPInstanceUID for h in headers)


def test_other_seed_other_uids(phantom: Phantom, multiframe: Path, tmp_path: Path) -> None:
    other = write_dicom.write_multiframe(make_phantom(SEED + 1, size=SIZE), tmp_path / "other.dcm")
    first, second = pydicom.dcmread(multiframe), pydicom.dcmread(other)
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert first[name].value != second[name].value


def test_rewriting_gives_the_same_bytes(phantom: Phantom, multiframe: Path, series: list[Path], tmp_path: Path) -> None:
    again = write_dicom.write_multiframe(phantom, tmp_path / "again.dcm")
    assert again.read_bytes() == multiframe.read_bytes()
    for first, second in zip(series, write_dicom.write_series(phantom, tmp_path / "series"), strict=True):
        assert first.read_bytes() == second.read_bytes()
