"""NIfTI files (NIfTI-1 and NIfTI-2, one file, also gzipped): a header that is checked, then voxels in patient order.

nibabel reads the header; the voxels are taken from the file as the header says, never more of them than it says.
"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ..cancel import Progress
from ..errors import StudyError
from ..orientation import HEAD_BACK_LEFT
from ..timing import span
from ..volume import Intensity, PatientHeader, Placement, Study, StudyFacts, Volume
from ..workers import each_slice
from .dicom.frames import MAX_ROWS, MAX_SLICES
from .dicom.pixels import Receive
from .faults import doing
from .files import MAX_MEMBER_BYTES, Source
from .geometry.checks import AXIAL_TOLERANCE_DEGREES, FARTHEST_MM

NIFTI = "NIfTI"
"""What stands for the modality, which such a file does not tell."""
SUFFIXES = (".nii", ".nii.gz")
SHEAR_DEGREES = 0.5
"""Axes may miss a right angle by this much."""
SPACING_TOLERANCE = 0.01
"""The voxel size by pixdim may differ from that by the affine by this share."""

_HEADER_BYTES = {348: "n+1", 540: "n+2"}
_MILLIMETRE = (0, 2)
"""Codes of xyzt_units for unknown, which is taken to be, and for millimetres."""
_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_REMEDY = "Convert the series again from DICOM, for example with dcm2niix, or give its DICOM files."

Affine = NDArray[np.float64]


@dataclass(frozen=True)
class NiftiImage:
    """A checked header.

    shape: voxels along the axes as stored. dtype: of the stored values. offset: the first one's byte.
    slope, intercept: from stored values to intensities.
    orientation: nibabel's, from the stored axes to slices, rows and columns of the canonical volume.
    placement: of that volume, in the DICOM coordinates LPS.
    """

    source: Source
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    orientation: NDArray[np.float64]
    placement: Placement

    @property
    def name(self) -> str:
        return self.source.name


def is_nifti(source: Source) -> bool:
    """Whether a file is named like one."""
    return source.name.lower().endswith(SUFFIXES)


def stem(name: str) -> str:
    """A file's name without the suffixes."""
    lower = name.lower()
    suffix = next((suffix for suffix in reversed(SUFFIXES) if lower.endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def read_nifti(source: Source) -> NiftiImage:
    """Read and check a header.

    Raises:
        StudyError: no NIfTI file, not one volume of numbers, too large, or an affine that does not place its voxels:
            absent, not finite, singular, sheared, oblique, or of another voxel size than pixdim
            says.
    """
    name = source.name
    with doing(f"{name}: reading its header"), _opened(source) as stream:
        block = stream.read(max(_HEADER_BYTES))
        header = _parsed(block, name)
        shape = _volume_shape([int(length) for length in header["dim"]], name)
        dtype = header.get_data_dtype()
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            raise StudyError(f"{name}: voxels of type {dtype}; whole or real numbers were expected.", _REMEDY)
        wanted = prod(shape) * dtype.itemsize
        if max(shape) > min(MAX_SLICES, MAX_ROWS) or wanted > MAX_MEMBER_BYTES:
            raise StudyError(
                f"{name}: {_by(shape)} voxels, {wanted} bytes; at most {MAX_SLICES} along an axis and "
                f"{MAX_MEMBER_BYTES} bytes are read.",
                "Give a smaller volume.",
            )
        offset = float(header["vox_offset"])
        if not int(header["sizeof_hdr"]) <= offset <= MAX_MEMBER_BYTES:
            raise StudyError(f"{name}: its voxels are said to begin at byte {offset:g}.", _REMEDY)
        slope, intercept = header.get_slope_inter()
        affine = _affine(header, name)
        _check_affine(affine, np.abs(np.asarray(header["pixdim"][1:4], np.float64)), int(header["xyzt_units"]), name)
        orientation, placement = _place(affine, shape, name)
        return NiftiImage(
            source,
            shape,
            dtype,
            int(offset),
            1.0 if slope is None else float(slope),
            0.0 if intercept is None else float(intercept),
            orientation,
            placement,
        )


@dataclass(frozen=True)
class OpenNifti:
    """One NIfTI file as `reading.OpenSeries` is one series."""

    image: NiftiImage
    intensity: Intensity
    remarks: tuple[str, ...]
    patient: PatientHeader = field(default_factory=PatientHeader)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns of the volume to come."""
        return self.image.placement.shape

    @property
    def placement(self) -> Placement:
        return self.image.placement

    def read(self, progress: Progress | None = None) -> Study:
        """Its voxels as a volume.

        Raises:
            StudyError: the file ends early or is damaged.
        """
        values = self._values(progress)
        place = self.placement
        volume = Volume(values, self.intensity, place.spacing_mm, place.origin_mm, place.direction)
        return Study(volume, NIFTI, {}, self.patient, self.remarks)

    def stream(self, receive: Receive, progress: Progress | None = None) -> StudyFacts:
        """Hand over each slice of the volume, in any order and once.

        Raises:
            StudyError: the file ends early or is damaged; and what `receive` raises.
        """
        values = self._values(progress)
        each_slice(values, receive)
        place = self.placement
        return StudyFacts(NIFTI, {}, self.patient, place.shape[0], place.spacing_mm, self.remarks)

    def _values(self, progress: Progress | None) -> NDArray[np.int16] | NDArray[np.float32]:
        """[D, H, W]."""
        from nibabel.orientations import apply_orientation

        image = self.image
        wanted = prod(image.shape) * image.dtype.itemsize
        with span("decode"), doing(f"{image.name}: reading its voxels"):
            with _opened(image.source) as stream:
                stream.seek(image.offset)
                data = stream.read(wanted)
            if len(data) != wanted:
                raise StudyError(
                    f"{image.name}: {len(data)} bytes of voxels came; {wanted} were expected, for "
                    f"{_by(image.shape)} of {image.dtype.itemsize} bytes.",
                    "Copy the file again.",
                )
            stored = np.frombuffer(data, image.dtype).reshape(image.shape, order="F")
            values = self._intensities(apply_orientation(stored, image.orientation))
        if progress is not None:
            progress("decode", len(values), len(values))
        return values

    def _intensities(self, stored: NDArray[Any]) -> NDArray[np.int16] | NDArray[np.float32]:
        image = self.image
        rescaled = self.intensity == "rescaled" and (image.slope, image.intercept) != (1.0, 0.0)
        if not rescaled and np.can_cast(stored.dtype, np.int16):
            return np.ascontiguousarray(stored, np.int16)
        values = stored * np.float64(image.slope) + np.float64(image.intercept) if rescaled else stored
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values, np.float32)


def _parsed(block: bytes, name: str) -> Any:
    """The header, whose byte order its own length tells."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    orders: tuple[Literal["little", "big"], ...] = ("little", "big")
    for order in orders:
        length = int.from_bytes(block[:4], order)
        if length in _HEADER_BYTES and len(block) >= length:
            kind = Nifti1Header if length == 348 else Nifti2Header
            header = kind(block[:length], endianness="<" if order == "little" else ">", check=False)
            if bytes(header["magic"])[:3].decode("latin-1") == _HEADER_BYTES[length]:
                return header
    raise StudyError(
        f"{name}: no NIfTI file: a header of {' or '.join(map(str, _HEADER_BYTES))} bytes with its magic text n+1 or "
        "n+2 was expected.",
        "Give a NIfTI file in one piece (.nii or .nii.gz).",
    )


def _volume_shape(dim: list[int], name: str) -> tuple[int, int, int]:
    count, lengths = dim[0], dim[1:]
    while 3 < count <= 7 and lengths[count - 1] == 1:
        count -= 1
    if not 1 <= count <= 7 or min(lengths[:count]) < 1:
        raise StudyError(f"{name}: its header says {dim[0]} axes of {lengths}, which no volume has.", _REMEDY)
    if count > 3:
        raise StudyError(
            f"{name}: {count} axes, {_by(lengths[:count])}; one volume of 3 was expected, not a series of them.",
            "Give each phase as a file of its own.",
        )
    if count < 3 or min(lengths[:3]) < 2:
        raise StudyError(
            f"{name}: {_by(lengths[:count])} voxels; a volume with at least 2 along each of 3 axes was expected.",
            "Give the whole volume.",
        )
    return lengths[0], lengths[1], lengths[2]


def _affine(header: Any, name: str) -> Affine:
    if int(header["sform_code"]) > 0:
        return np.asarray(header.get_sform(), np.float64)
    if int(header["qform_code"]) > 0:
        return np.asarray(header.get_qform(), np.float64)
    raise StudyError(
        f"{name}: neither sform_code nor qform_code is set, so that nothing says how the patient lies in it.", _REMEDY
    )


def _check_affine(affine: Affine, pixdim: NDArray[np.float64], units: int, name: str) -> None:
    if units & 0x07 not in _MILLIMETRE:
        raise StudyError(f"{name}: xyzt_units is {units}; lengths in mm were expected.", _REMEDY)
    if not np.isfinite(affine).all() or np.abs(affine).max() > FARTHEST_MM:
        raise StudyError(f"{name}: its affine holds values that are not finite, or above {FARTHEST_MM:g} mm.", _REMEDY)
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if lengths.min() <= 0 or abs(np.linalg.det(axes / np.maximum(lengths, 1e-12))) < 1e-3:
        raise StudyError(f"{name}: its affine is singular: the voxels' axes do not span a volume.", _REMEDY)
    cosines = (axes / lengths).T @ (axes / lengths)
    shear = float(np.degrees(np.arcsin(np.clip(np.abs(cosines - np.eye(3)).max(), 0, 1))))
    if shear > SHEAR_DEGREES:
        raise StudyError(
            f"{name}: its affine is sheared by {shear:.1f} degrees; at most {SHEAR_DEGREES:g} was expected, of a grid "
            "with right angles.",
            _REMEDY,
        )
    if (np.abs(pixdim - lengths) > SPACING_TOLERANCE * lengths).any():
        raise StudyError(
            f"{name}: voxels of {_by(pixdim)} mm by pixdim, but {_by(lengths)} mm by its affine; at most "
            f"{SPACING_TOLERANCE:.0%} of difference was expected.",
            _REMEDY,
        )


def _place(affine: Affine, shape: tuple[int, int, int], name: str) -> tuple[NDArray[np.float64], Placement]:
    from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

    orientation = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(HEAD_BACK_LEFT)))
    canonical = affine @ inv_ornt_aff(orientation, shape)
    axes = _TO_LPS @ canonical[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    unit = axes / lengths
    degrees = float(np.degrees(np.arccos(np.clip(unit[2, 0], -1, 1))))
    if degrees > AXIAL_TOLERANCE_DEGREES:
        raise StudyError(
            f"{name}: no axis lies along the patient's; the nearest leans by {degrees:.1f} degrees, at most "
            f"{AXIAL_TOLERANCE_DEGREES:g} was expected.",
            "Give an axial series.",
        )
    turned = [shape[int(at)] for at in np.argsort(orientation[:, 0])]
    rows = [_triple(unit[:, at]) for at in range(3)]
    place = Placement(
        (turned[0], turned[1], turned[2]),
        _triple(lengths),
        _triple(_TO_LPS @ canonical[:3, 3]),
        (rows[0], rows[1], rows[2]),
    )
    return orientation, place


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked as they are read."""
    with source.open() as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield cast(BinaryIO, unpacked)
        else:
            yield raw


def _by(lengths: Any) -> str:
    return " x ".join(f"{length:g}" for length in lengths)


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]) + 0.0, float(vector[1]) + 0.0, float(vector[2]) + 0.0  # no negative zero
