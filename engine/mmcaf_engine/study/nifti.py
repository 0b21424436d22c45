"""NIfTI files (NIfTI-1 and NIfTI-2, one file, also gzipped): a header that is checked, then voxels in patient order.

nibabel reads the header; the voxels are taken from the file as the header says, never more of them than it says.
"""

from dataclasses import dataclass, field
from math import prod
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from ..cancel import Progress
from ..errors import StudyError
from ..timing import span
from ..volume import Intensity, PatientHeader, Placement, Study, StudyFacts, Volume
from ..workers import each_slice
from .dicom.frames import MAX_ROWS, MAX_SLICES
from .dicom.pixels import Receive
from .faults import doing
from .files import MAX_MEMBER_BYTES, Source
from .geometry.affine import by_axes, check_affine, place
from .geometry.checks import check_axial, off_axis
from .geometry.policies import MAX_OBLIQUE_DEGREES, Policies
from .nifti_space import REMEDY, header_affine, rescale, warnings_on_space, warnings_on_values
from .nifti_voxels import Voxels, doubts_on, intensities, read_stored, unpacked
from .notes import Notes

NIFTI = "NIfTI"
"""What stands for the modality, which such a file does not tell."""
SUFFIXES = (".nii", ".nii.gz")
_PAIR_SUFFIXES = (".hdr", ".img", ".hdr.gz", ".img.gz")
"""Of header and voxels in two files, as NIfTI and Analyze 7.5 have them too."""

_HEADER_BYTES = {348: "n+1", 540: "n+2"}
_EXTENDER_BYTES = 4
MAX_EXTENSION_BYTES = 64 * 1024**2
_MILLIMETRE = (0, 2)
"""Codes of xyzt_units for unknown, which is taken to be, and for millimetres."""


@dataclass(frozen=True)
class NiftiImage:
    """A checked header.

    shape: voxels along the axes as stored. dtype: of the stored values. offset: the first one's byte.
    slope, intercept: from stored values to intensities.
    orientation: nibabel's, from the stored axes to slices, rows and columns of the canonical volume.
    placement: of that volume, in the DICOM coordinates LPS.
    warnings: on what the header contradicts itself in.
    """

    source: Source
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    orientation: NDArray[np.float64]
    placement: Placement
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def oblique_degrees(self) -> float:
        """Between its slices' normal and the patient's long axis."""
        return off_axis(np.asarray(self.placement.direction[0]))

    def check_axial(self, policies: Policies) -> Notes:
        """As `checks.check_axial`; networks for CT read no such file, so that it is taken to be of MR."""
        return check_axial(self.oblique_degrees, self.name, policies, mr=True)


def is_nifti(source: Source) -> bool:
    """Whether a file is named like one."""
    return source.name.lower().endswith(SUFFIXES)


def is_of_pair(source: Source) -> bool:
    """Whether a file is named like one of the two that are a volume together, which are not read."""
    return source.name.lower().endswith(_PAIR_SUFFIXES)


def stem(name: str) -> str:
    """A file's name without the suffixes."""
    lower = name.lower()
    suffix = next((suffix for suffix in reversed(SUFFIXES) if lower.endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def read_nifti(source: Source) -> NiftiImage:
    """Read and check a header.

    Raises:
        StudyError: no NIfTI file, not one volume of numbers, too large, or an affine that does not place its voxels:
            absent, not finite, singular, sheared, of another plane, of another voxel size than pixdim says, or of other
            axes than a second one beside it.
    """
    name = source.name
    with doing(f"{name}: reading its header"), unpacked(source) as stream:
        block = stream.read(max(_HEADER_BYTES))
        header = _parsed(block, name)
        shape = _volume_shape([int(length) for length in header["dim"]], name)
        dtype = header.get_data_dtype()
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            raise StudyError(f"{name}: voxels of type {dtype}; whole or real numbers were expected.", REMEDY)
        wanted = prod(shape) * dtype.itemsize
        if max(shape) > min(MAX_SLICES, MAX_ROWS) or wanted > MAX_MEMBER_BYTES:
            raise StudyError(
                f"{name}: {by_axes(shape)} voxels, {wanted} bytes; at most {MAX_SLICES} along an axis and "
                f"{MAX_MEMBER_BYTES} bytes are read.",
                "Give a smaller volume.",
            )
        offset = float(header["vox_offset"])
        size = int(header["sizeof_hdr"])
        if not size + _EXTENDER_BYTES <= offset <= MAX_MEMBER_BYTES or offset != int(offset):
            raise StudyError(f"{name}: its voxels are said to begin at byte {offset:g}.", REMEDY)
        _check_extensions(block[size : int(offset)], stream, int(offset) - size, header.endianness, name)
        slope, intercept = rescale(header, name)
        affine = header_affine(header, name)
        _check_units(int(header["xyzt_units"]), name)
        pixdim = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
        check_affine(affine, pixdim, name, by="pixdim", remedy=REMEDY)
        orientation, placement = place(affine, shape)
        leans = off_axis(np.asarray(placement.direction[0]))
        if leans > MAX_OBLIQUE_DEGREES:
            check_axial(leans, name, Policies(), mr=True)
        return NiftiImage(
            source,
            shape,
            dtype,
            int(offset),
            slope,
            intercept,
            orientation,
            placement,
            (*warnings_on_space(header, affine, shape, name), *warnings_on_values(header, dtype, name)),
        )


@dataclass(frozen=True)
class OpenNifti:
    """One NIfTI file as `reading.OpenSeries` is one series."""

    image: NiftiImage
    intensity: Intensity
    notes: Notes
    patient: PatientHeader = field(default_factory=PatientHeader)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns of the volume to come."""
        return self.image.placement.shape

    @property
    def placement(self) -> Placement:
        return self.image.placement

    @property
    def images(self) -> tuple[()]:
        """Its slices are no images with UIDs."""
        return ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of its choice and of its header."""
        return (*self.notes.warnings, *self.image.warnings)

    def read(self, progress: Progress | None = None) -> Study:
        """Its voxels as a volume.

        Raises:
            StudyError: the file ends early, goes on after its voxels, or is damaged.
        """
        values, doubts = self._values(progress)
        place = self.placement
        volume = Volume(values, self.intensity, place.spacing_mm, place.origin_mm, place.direction)
        return Study(volume, NIFTI, {}, self.patient, (*self.warnings, *doubts), remarks=self.notes.remarks)

    def stream(self, receive: Receive, progress: Progress | None = None) -> StudyFacts:
        """Hand over each slice of the volume, in any order and once.

        Raises:
            StudyError: the file ends early or is damaged; and what `receive` raises.
        """
        values, doubts = self._values(progress)
        each_slice(values, receive)
        place, warnings = self.placement, (*self.warnings, *doubts)
        return StudyFacts(
            NIFTI, {}, self.patient, place.shape[0], place.spacing_mm, warnings, remarks=self.notes.remarks
        )

    def _values(self, progress: Progress | None) -> tuple[Voxels, tuple[str, ...]]:
        """[D, H, W], and what there is to say of them."""
        image = self.image
        with span("decode"), doing(f"{image.name}: reading its voxels"):
            stored = read_stored(image.source, image.offset, image.shape, image.dtype, image.orientation)
            rescale = (image.slope, image.intercept) if self.intensity != "stored" else (1.0, 0.0)
            values = intensities(stored, *rescale)
            doubts = tuple(f"{image.name}: {text}." for text in doubts_on(values))
        if progress is not None:
            progress("decode", len(values), len(values))
        return values, doubts


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


def _check_extensions(begin: bytes, stream: BinaryIO, size: int, order: str, name: str) -> None:
    """What lies between the header and the voxels must be extensions, or nothing (NIfTI-1.1, extended header).

    Args:
        begin: what was read of it; `stream` goes on from there.
        size: how many bytes it has. order: of the header's numbers, "<" or ">".

    Raises:
        StudyError: it is something else, so that the voxels do not begin where they are said to; or too much.
    """
    if size > MAX_EXTENSION_BYTES:
        most = f"at most {MAX_EXTENSION_BYTES} are read"
        raise StudyError(f"{name}: {size} bytes between its header and its voxels; {most}.", REMEDY)
    between = begin + stream.read(size - len(begin))
    at = _EXTENDER_BYTES
    while between[:1] != b"\0" and at + 8 <= size:
        length = int.from_bytes(between[at : at + 4], "little" if order == "<" else "big")
        if length < 8 or at + length > size:
            break
        at += length
    if rest := between[at:].strip(b"\0"):
        raise StudyError(
            f"{name}: {len(rest)} bytes before its voxels, by vox_offset, are no extension of its header.", REMEDY
        )


def _volume_shape(dim: list[int], name: str) -> tuple[int, int, int]:
    count, lengths = dim[0], dim[1:]
    while 3 < count <= 7 and lengths[count - 1] == 1:
        count -= 1
    if not 1 <= count <= 7 or min(lengths[:count]) < 1:
        raise StudyError(f"{name}: its header says {dim[0]} axes of {lengths}, which no volume has.", REMEDY)
    if count > 3:
        raise StudyError(
            f"{name}: {count} axes, {by_axes(lengths[:count])}; one volume of 3 was expected, not a series of them.",
            "Give each phase as a file of its own.",
        )
    if count < 3 or min(lengths[:3]) < 2:
        raise StudyError(
            f"{name}: {by_axes(lengths[:count])} voxels; a volume with at least 2 along each of 3 axes was expected.",
            "Give the whole volume.",
        )
    return lengths[0], lengths[1], lengths[2]


def _check_units(units: int, name: str) -> None:
    if units & 0x07 not in _MILLIMETRE:
        raise StudyError(f"{name}: xyzt_units is {units}; lengths in mm were expected.", REMEDY)
