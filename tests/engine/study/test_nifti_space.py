"""Where a NIfTI file says that its voxels lie, twice over; what its rescale may be; and volumes in two files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from mmcaf_engine.study.geometry.affine import check_affine
from mmcaf_engine.volume import Study
from refusals import Fact, check_facts, refused

VALUES = np.random.default_rng(2).integers(0, 2000, (20, 22, 18)).astype(np.int16)
AFFINE = np.array([[-2.0, 0, 0, 20], [0, 2, 0, -22], [0, 0, 3, -27], [0, 0, 0, 1]])

Matrix = NDArray[np.float64]


def made(sform: Matrix | None = AFFINE, qform: Matrix | None = AFFINE, codes: tuple[int, int] = (1, 1)) -> Any:
    """An image with these affines and codes (sform, qform)."""
    image = nib.Nifti1Image(VALUES, AFFINE)
    image.set_sform(sform, 1)
    image.set_qform(qform, 1)
    image.header["sform_code"], image.header["qform_code"] = (
        code if given is not None else 0 for code, given in zip(codes, (sform, qform), strict=True)
    )
    return image


def read(image: Any, folder: Path, **fields: Any) -> Study:
    """Of a plain file, whose header fields may be changed."""
    header = image.header.copy()
    for name, value in fields.items():
        header[name] = value
    header["vox_offset"] = 352
    path = folder / "t2.nii"
    path.write_bytes(bytes(header.binaryblock) + bytes(4) + VALUES.astype("<i2").tobytes(order="F"))
    return read_study(path, intensity="rescaled")


def changed(change: Callable[[Matrix], None]) -> Matrix:
    matrix = AFFINE.copy()
    change(matrix)
    return matrix


def mirrored(matrix: Matrix) -> None:
    matrix[0] *= -1


def upside_down(matrix: Matrix) -> None:
    matrix[2] *= -1


def swapped(matrix: Matrix) -> None:
    matrix[[0, 1]] = matrix[[1, 0]]


def shifted(mm: float) -> Callable[[Matrix], None]:
    return lambda matrix: matrix.__setitem__((2, 3), matrix[2, 3] + mm)


def turned(degrees: float) -> Callable[[Matrix], None]:
    def change(matrix: Matrix) -> None:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        matrix[:3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ matrix[:3]

    return change


@pytest.mark.parametrize("mm", [0.0, 0.01, 0.09])
def test_two_that_agree(mm: float, tmp_path: Path) -> None:
    study = read(made(qform=changed(shifted(mm))), tmp_path)
    assert study.warnings == () and np.array_equal(np.sort(study.volume.values, None), np.sort(VALUES, None))


@pytest.mark.parametrize(
    ("change", "axes"),
    [(mirrored, "RAS"), (upside_down, "LAI"), (swapped, "PRS"), (turned(180), "RPS")],
    ids=["left and right", "head and feet", "rows and columns", "a half turn"],
)
@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (4, 1)])
def test_two_that_exchange_axes(
    change: Callable[[Matrix], None], axes: str, codes: tuple[int, int], tmp_path: Path
) -> None:
    with refused(StudyError, "t2.nii", "sform", "qform", "LAS", axes):
        read(made(qform=changed(change), codes=codes), tmp_path)


@pytest.mark.parametrize(
    ("change", "apart"),
    [(shifted(60), 60.0), (shifted(-0.2), 0.2), (turned(3), 1.6)],
    ids=["far", "near", "turned"],
)
def test_two_that_lie_apart(change: Callable[[Matrix], None], apart: float, tmp_path: Path) -> None:
    study = read(made(qform=changed(change)), tmp_path)
    (warning,) = study.warnings
    check_facts(warning, "t2.nii", "sform", "qform", f"{apart} mm")
    expected = read(made(qform=None), tmp_path).volume
    assert np.array_equal(study.volume.values, expected.values)
    assert study.volume.origin_mm == expected.origin_mm


@pytest.mark.parametrize(("code", "space"), [(3, "Talairach"), (4, "MNI 152"), (5, "template"), (9, "standard")])
@pytest.mark.parametrize("field", ["sform", "qform"])
def test_a_space_that_is_not_the_scanners(field: str, code: int, space: str, tmp_path: Path) -> None:
    given = {"sform": None, "qform": None, field: AFFINE}
    (warning,) = read(made(**given, codes=(code, code)), tmp_path).warnings  # type: ignore[arg-type]
    check_facts(warning, "t2.nii", f"{field}_code", code, space)


def test_an_unset_quarter_is_one(tmp_path: Path) -> None:
    """pixdim[0] of 0 stands for 1."""
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    image = made(sform=None, qform=affine)
    expected = read(image, tmp_path)
    pixdim = image.header["pixdim"].copy()
    assert pixdim[0] == 1
    pixdim[0] = 0
    found = read(image, tmp_path, pixdim=pixdim)
    assert np.array_equal(found.volume.values, expected.volume.values)
    assert found.volume.origin_mm == expected.volume.origin_mm


@pytest.mark.parametrize("fields", [{"quatern_b": 3.0}, {"quatern_b": np.nan}, {"qoffset_x": np.inf}])
def test_a_qform_that_is_none_is_said_and_not_needed(fields: dict[str, float], tmp_path: Path) -> None:
    (warning,) = read(made(), tmp_path, **fields).warnings
    check_facts(warning, "t2.nii", "qform", "sform")


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("slope", "inter", "expected"),
    [
        (NAN, NAN, (1, 0)),
        (0.0, 5.0, (1, 0)),
        (0.0, NAN, (1, 0)),
        (NAN, 5.0, (1, 0)),
        (2.0, -10.0, (2, -10)),
        (-1.0, 0.0, (-1, 0)),
        (1.0, NAN, ("scl_inter", "nan")),
        (2.0, INF, ("scl_inter", "inf")),
        (2.0, -INF, ("scl_inter", "-inf")),
        (INF, 0.0, ("scl_slope", "inf")),
        (-INF, NAN, ("scl_slope", "-inf")),
    ],
)
def test_the_rescale_is_finite_or_none(slope: float, inter: float, expected: tuple[Fact, Fact], tmp_path: Path) -> None:
    stored = np.sort(read(made(), tmp_path).volume.values, axis=None).astype(float)
    if isinstance(expected[0], str):
        with refused(StudyError, "t2.nii", *expected):
            read(made(), tmp_path, scl_slope=slope, scl_inter=inter)
        return
    values = read(made(), tmp_path, scl_slope=slope, scl_inter=inter).volume.values
    assert np.array_equal(np.sort(values, axis=None), np.sort(stored * expected[0] + expected[1]))


@pytest.mark.parametrize("name", ["t2.hdr", "t2.img", "t2.HDR", "t2.img.gz"])
def test_one_of_two_files_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"nothing of DICOM" * 30)
    for path in (tmp_path / name, tmp_path):
        with refused(StudyError, name, ".hdr", ".img", ".nii"):
            read_study(path, intensity="rescaled")


def test_two_files_beside_a_series_are_told_of(tmp_path: Path) -> None:
    path = save(ct_series(hounsfield(3)), tmp_path / "study")
    nib.Nifti1Pair(VALUES, AFFINE).to_filename(path / "t2.hdr")
    study = read_study(path)
    (warning,) = study.warnings
    check_facts(warning, 2, "t2.hdr", ".hdr", ".img")
    assert study.volume.values.shape == (3, 6, 7)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (2, 0)])
@pytest.mark.parametrize(("degrees", "accepted"), [(0.45, True), (-0.45, True), (0.55, False), (-0.55, False)])
def test_how_far_axes_may_miss_a_right_angle(degrees: float, accepted: bool, axes: tuple[int, int]) -> None:
    matrix = AFFINE.copy()
    matrix[axes[0], axes[1]] = np.tan(np.radians(degrees)) * matrix[axes[1], axes[1]]
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if accepted:
        check_affine(matrix, lengths, "image", by="pixdim", remedy="Convert it again.")
    else:
        with refused(StudyError, "image", "sheared", 0.5):
            check_affine(matrix, lengths, "image", by="pixdim", remedy="Convert it again.")


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"intent_code": 1002}, "intent_code is 1002: its values are labels"),
        ({"intent_code": 3}, "intent_code is 3: its values are a statistic"),
        ({"intent_code": 2003}, "intent_code is 2003"),
        ({"bitpix": 8}, "bitpix is 8, but values of its datatype have 16 bits"),
        ({"scl_slope": -1, "scl_inter": 0}, "scl_slope is -1: bright and dark are exchanged"),
        ({"scl_slope": 2, "scl_inter": 0}, ""),
    ],
    ids=["labels", "statistic", "colour", "bits", "negative", "usual"],
)
def test_what_a_header_says_of_its_values(fields: dict[str, Any], warning: str, tmp_path: Path) -> None:
    warnings = read(made(), tmp_path, **fields).warnings
    assert len(warnings) == bool(warning) and all(warning in text for text in warnings)


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        (VALUES > 1000, "2 different values"),
        ((VALUES % 16).astype(np.float32), "16 different values"),
        ((VALUES % 17).astype(np.int16), ""),
        (VALUES + 2.0**30, "tells fewer than 4096 apart"),
        (VALUES * 1e30, ""),
    ],
    ids=["mask", "labels", "few-more", "beyond-single-precision", "large"],
)
def test_values_that_are_no_images_are_told(values: NDArray[Any], warning: str, tmp_path: Path) -> None:
    kept = values.astype(np.uint8) if values.dtype == bool else values
    image = nib.Nifti1Image(kept, AFFINE, dtype=kept.dtype)
    nib.save(image, tmp_path / "t2.nii")
    warnings = read_study(tmp_path / "t2.nii", intensity="rescaled").warnings
    assert len(warnings) == bool(warning) and all(warning in text for text in warnings)
