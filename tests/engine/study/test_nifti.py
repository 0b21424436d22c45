"""NIfTI files: every orientation gives the same volume, and what a file cannot be trusted with is refused."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.demo.liver import liver_study
from mmcaf_engine.demo.write_mr import write_mr_series, write_nifti
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import nifti, open_study, read_study
from mmcaf_engine.volume import Intensity
from refusals import Fact, refused

VALUES = np.random.default_rng(2).integers(0, 2000, (4, 5, 6)).astype(np.int16)
"""[D, H, W] to the head, back and left."""
SPACING = (7.5, 1.25, 1.5)


def image(values: NDArray[Any] = VALUES, axes: str = "LAS", kind: type = nib.Nifti1Image) -> Any:
    """The volume as nibabel writes it with its array in this orientation."""
    dz, dy, dx = SPACING
    to_ras = np.diag([-dz, -dy, -dx, 1.0])[[2, 1, 0, 3]]
    to_ras[2, 0] = dz  # index (slice, row, column) to x, y, z: left, back and head
    to_ras[:3, 3] = (40.0, 30.0, -20.0)
    made = kind(values, to_ras)
    turned = made.as_reoriented(
        nib.orientations.ornt_transform(nib.orientations.io_orientation(to_ras), nib.orientations.axcodes2ornt(axes))
    )
    turned.set_sform(turned.affine, 1)
    turned.set_qform(turned.affine, 1)
    turned.header.set_xyzt_units("mm")
    turned.header["vox_offset"] = 352 if kind is nib.Nifti1Image else 544
    return turned


def raw(made: Any) -> bytes:
    """The file's bytes, whatever the header says."""
    return bytes(made.header.binaryblock) + bytes(4) + made.get_fdata().astype("<i2").tobytes(order="F")


def save(made: Any, folder: Path, name: str = "t2.nii.gz") -> Path:
    folder.mkdir(exist_ok=True)
    nib.save(made, folder / name)
    return folder / name


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image], ids=["nifti-1", "nifti-2"])
@pytest.mark.parametrize("axes", ["LAS", "RAS", "LPS", "RPI", "SPL", "AIR"])
@pytest.mark.parametrize("name", ["t2.nii", "t2.nii.gz"])
def test_every_orientation_gives_the_same_volume(tmp_path: Path, axes: str, kind: type, name: str) -> None:
    study = read_study(save(image(axes=axes, kind=kind), tmp_path, name), intensity="rescaled", modality="MR")
    volume = study.volume
    assert volume.values.dtype == np.int16 and np.array_equal(volume.values, VALUES)
    assert volume.spacing_mm == pytest.approx(SPACING, rel=1e-6)
    assert np.allclose(volume.direction, ((0, 0, 1), (0, 1, 0), (1, 0, 0)), atol=1e-6)
    assert volume.origin_mm == pytest.approx((-40.0, -30.0, -20.0), abs=1e-4)
    assert study.modality == "NIfTI" and study.uids == {} and study.patient.patient_id is None


def test_equals_the_dicom_series_of_the_same_voxels(tmp_path: Path) -> None:
    study = liver_study(4, slices=16, size=24)
    write_nifti(study, tmp_path / "nifti")
    first = read_study(write_mr_series(study, tmp_path / "dicom")[0], intensity="rescaled", modality="MR")
    other = read_study(tmp_path / "nifti" / "t2.nii.gz", intensity="rescaled", modality="MR")
    assert np.array_equal(first.volume.values, study.volumes["t2"])
    assert np.array_equal(first.volume.values, other.volume.values)
    assert other.volume.spacing_mm == pytest.approx(first.volume.spacing_mm, rel=1e-5)
    assert other.volume.origin_mm == pytest.approx(first.volume.origin_mm, abs=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.float32, np.float64, ">i2", ">f4"])
def test_number_types(tmp_path: Path, dtype: Any) -> None:
    values = (VALUES % 100).astype(dtype)
    volume = read_study(save(image(values), tmp_path), intensity="rescaled").volume
    assert np.array_equal(volume.values, values) and volume.values.dtype in (np.int16, np.float32)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 40000], np.uint16),
        ([-40000, 0], np.int32),
        ([0, 32768], np.int32),
        ([-1, 127], np.int8),
        ([0.5, 2], np.float32),
    ],
    ids=["uint16", "below-int16", "above-int16", "int8", "fractions"],
)
def test_no_value_is_wrapped_or_rounded(tmp_path: Path, values: list[float], dtype: Any) -> None:
    stored = np.resize(np.array(values, dtype), VALUES.shape)
    for intensity in ("rescaled", "stored"):
        read = read_study(save(image(stored), tmp_path), intensity=intensity).volume.values
        assert np.array_equal(read, stored)


@pytest.mark.parametrize(
    ("units", "read"), [(0, True), (2, True), (10, True), (18, True), (1, False), (3, False), (11, False)]
)
def test_lengths_are_in_millimetres_whatever_the_times_are_in(tmp_path: Path, units: int, read: bool) -> None:
    made = image()
    made.header["xyzt_units"] = units
    if read:
        assert np.array_equal(read_study(save(made, tmp_path), intensity="rescaled").volume.values, VALUES)
    else:
        with pytest.raises(StudyError):
            read_study(save(made, tmp_path), intensity="rescaled")


def test_the_rescale_is_applied_or_not(tmp_path: Path) -> None:
    made = image()
    made.header.set_slope_inter(0.5, 3.0)
    path = tmp_path / "t2.nii"
    path.write_bytes(raw(made))
    kinds: tuple[Intensity, ...] = ("hounsfield", "rescaled", "stored")
    read = {kind: read_study(path, intensity=kind).volume.values for kind in kinds}
    assert np.array_equal(read["stored"], VALUES)
    for kind in ("hounsfield", "rescaled"):
        assert np.allclose(read[kind], VALUES * 0.5 + 3), kind


@pytest.mark.parametrize("shape", [(4097, 2, 2), (2, 4097, 2), (2, 2, 4097)])
def test_a_small_volume_with_too_long_an_axis(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    with pytest.raises(StudyError):
        read_study(save(image(np.zeros(shape, np.int16)), tmp_path), intensity="rescaled")


def test_the_largest_volume_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((10, 20, 30), np.int16)
    path = save(image(values), tmp_path)
    monkeypatch.setattr(nifti, "MAX_MEMBER_BYTES", values.nbytes)
    read_study(path, intensity="rescaled")
    monkeypatch.setattr(nifti, "MAX_MEMBER_BYTES", values.nbytes - 1)
    with pytest.raises(StudyError):
        read_study(path, intensity="rescaled")


def test_trailing_axes_of_one_are_no_series(tmp_path: Path) -> None:
    made = nib.Nifti1Image(image().get_fdata()[..., np.newaxis].astype(np.int16), image().affine)
    assert np.array_equal(read_study(save(made, tmp_path), intensity="rescaled").volume.values, VALUES)


def affine(change: Callable[[NDArray[np.float64]], Any]) -> Callable[[Any], None]:
    def edit(made: Any) -> None:
        matrix = made.affine.copy()
        change(matrix)
        made.header["srow_x"], made.header["srow_y"], made.header["srow_z"] = matrix[:3]

    return edit


def put(**fields: Any) -> Callable[[Any], None]:
    def edit(made: Any) -> None:
        for name, value in fields.items():
            made.header[name] = value

    return edit


def shear(matrix: NDArray[np.float64]) -> None:
    matrix[0, 1] = 0.2


def turn(matrix: NDArray[np.float64]) -> None:
    c, s = np.cos(np.radians(12)), np.sin(np.radians(12))
    matrix[:3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ matrix[:3]


BAD_HEADERS: dict[str, tuple[Callable[[Any], None], tuple[Fact, ...]]] = {
    "not finite": (affine(lambda m: m.__setitem__((0, 3), np.nan)), ("affine", "finite")),
    "far away": (affine(lambda m: m.__setitem__((0, 3), 1e7)), ("affine", "100000 mm")),
    "singular": (affine(lambda m: m.__setitem__((slice(0, 3), 1), m[:3, 0])), ("affine", "singular")),
    "an axis of length 0": (affine(lambda m: m.__setitem__((slice(0, 3), 2), 0)), ("affine", "singular")),
    "sheared": (affine(shear), ("affine", "9.1 degrees", 0.5)),
    "oblique": (affine(turn), ("12.0 degrees", 5)),
    "another spacing than pixdim": (put(pixdim=[1, 1.5, 1.25, 9, 1, 1, 1, 1]), ("pixdim", "9 mm", "7.5 mm")),
    "no orientation": (put(sform_code=0, qform_code=0), ("sform_code", "qform_code")),
    "metres": (put(xyzt_units=1), ("xyzt_units", 1, "mm")),
    "no axes": (put(dim=[0, 6, 5, 4, 1, 1, 1, 1]), ("0 axes", 6, 5, 4)),
    "negative axis": (put(dim=[3, 6, -5, 4, 1, 1, 1, 1]), ("3 axes", -5)),
    "two axes": (put(dim=[2, 6, 5, 1, 1, 1, 1, 1]), ("6 x 5", 2, 3)),
    "a single slice": (put(dim=[3, 6, 5, 1, 1, 1, 1, 1]), ("6 x 5 x 1", 2, 3)),
    "a time series": (put(dim=[4, 6, 5, 2, 2, 1, 1, 1]), ("4 axes", "6 x 5 x 2 x 2", 3)),
    "huge": (put(dim=[3, 4096, 4096, 4096, 1, 1, 1, 1]), ("4096 x 4096 x 4096", 2 * 4096**3, "bytes")),
    "colour": (put(datatype=128, bitpix=24), ("voxels", "u1")),
    "two files": (put(magic=b"ni1"), ("NIfTI", 348, "n+1")),
    "voxels before the header's end": (put(vox_offset=100), ("byte 100",)),
    "voxels right behind the header": (put(vox_offset=350), ("byte 350",)),
    "voxels at a part of a byte": (put(vox_offset=352.5), ("byte 352.5",)),
    "voxels that begin later": (put(vox_offset=362), ("bytes before its voxels", "vox_offset", "extension")),
    "voxels far away": (put(vox_offset=2.0**27), (2**27 - 348, 2**26)),
    "too few voxels": (
        put(dim=[3, 6, 5, 40, 1, 1, 1, 1], pixdim=[-1, 1.5, 1.25, 7.5, 1, 1, 1, 1]),
        ("240 bytes", 2400, "6 x 5 x 40"),
    ),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_bad_header_is_refused_in_words(tmp_path: Path, name: str, packed: bool) -> None:
    edit, facts = BAD_HEADERS[name]
    made = image()
    data = raw(made)
    edit(made)
    data = bytes(made.header.binaryblock) + data[348:]
    path = tmp_path / ("t2.nii.gz" if packed else "t2.nii")
    path.write_bytes(gzip.compress(data) if packed else data)
    with refused(StudyError, path.name, *facts) as caught:
        read_study(path, intensity="rescaled", modality="MR")
    assert caught.value.remedy


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image], ids=["nifti-1", "nifti-2"])
@pytest.mark.parametrize("text", [b"short", b"x" * 1000], ids=len)
@pytest.mark.parametrize("name", ["t2.nii", "t2.nii.gz"])
def test_extensions_of_the_header_are_passed_over(name: str, text: bytes, kind: type, tmp_path: Path) -> None:
    made = image(kind=kind)
    made.header["vox_offset"] = 0
    made.header.extensions.extend([nib.nifti1.Nifti1Extension(6, text), nib.nifti1.Nifti1Extension(4, text)])
    path = save(made, tmp_path, name)
    assert np.array_equal(read_study(path, intensity="rescaled").volume.values, VALUES)
    data = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    begin = 348 if kind is nib.Nifti1Image else 540
    spoilt = data[:begin] + bytes(4) + data[begin + 4 :]  # says that there are none
    for changed in (spoilt, data[: begin + 4] + b"\1\0\0\0" + data[begin + 8 :]):
        path.write_bytes(gzip.compress(changed) if name.endswith("gz") else changed)
        with refused(StudyError, name, "extension", "vox_offset"):
            read_study(path, intensity="rescaled")


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (b"", "n+1"),
        (b"nonsense", "n+1"),
        (bytes(400), "n+1"),
        (gzip.compress(b"nonsense"), "n+1"),
        (b"\x1f\x8bnonsense", "BadGzipFile"),
    ],
    ids=["empty", "nonsense", "zeros", "packed nonsense", "cut gzip"],
)
def test_what_is_no_nifti_is_refused(tmp_path: Path, data: bytes, fact: str) -> None:
    path = tmp_path / "t2.nii.gz"
    path.write_bytes(data)
    with refused(StudyError, "t2.nii.gz", fact):
        read_study(path, intensity="rescaled")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = save(image(), tmp_path, "t2.nii")
    path.write_bytes(path.read_bytes()[:-10])
    with refused(StudyError, "t2.nii", "230 bytes", 240, "6 x 5 x 4", "2 bytes"):
        read_study(path, intensity="rescaled")
    packed = save(image(), tmp_path, "other.nii.gz")
    packed.write_bytes(packed.read_bytes()[:-30])
    with refused(StudyError, "other.nii.gz", "damaged"):
        read_study(packed, intensity="rescaled")


def test_a_ct_network_reads_no_nifti(tmp_path: Path) -> None:
    with refused(StudyError, "NIfTI", "CT"):
        read_study(save(image(), tmp_path), modality="CT")


def test_a_damaged_file_beside_a_good_one_is_not_taken(tmp_path: Path) -> None:
    save(image(), tmp_path)
    (tmp_path / "zzz.nii").write_bytes(b"nonsense")
    with open_study(tmp_path, intensity="rescaled", modality="MR", series="1") as opened:
        assert opened.read().slices == 4
    with refused(StudyError, "zzz.nii", "NIfTI", "n+1"), open_study(tmp_path, modality="MR", series="zzz.nii"):
        pass
