"""From the frames of a series to one block of intensities, decoded slice by slice in a few threads."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes

from ..errors import StudyError
from ..volume import Intensity
from .codestream import FrameHeader
from .encoded import encoded_frames
from .faults import doing, printable
from .frames import MAX_SLICES, Frame
from .geometry import Geometry
from .pixel_format import PixelFormat, read_format
from .run_length import decode_rle
from .tags import describe

MAX_VOXELS = 1024**3
"""Of a whole volume: 2 GiB as int16."""
WORKERS = min(4, os.cpu_count() or 1)
AIR_HU = -1000
"""What padding outside the field of view becomes."""
HIGHEST_AIR_HU = -900
"""Padding above this could be tissue, and replacing it is worth a warning."""
MAX_INTENSITY = 1e6
"""Beyond any meaning, and still exact enough in float32."""
INT16 = np.iinfo(np.int16)

Values = NDArray[np.int16] | NDArray[np.float32]
Stored = NDArray[np.integer[Any]]
Progress = Callable[[str, int, int], None]


class _DoesNotFit(Exception):  # noqa: N818 - a signal between two passes, not an error
    """A slice holds values beyond int16."""


@dataclass(frozen=True)
class _Slice:
    """One slice of the volume: its frame, the format of its pixels, and their rescale."""

    slot: int
    frame: Frame
    pixels: PixelFormat
    slope: float
    intercept: float


def decode_slices(
    frames: Sequence[Frame],
    geometry: Geometry,
    name: str,
    *,
    intensity: Intensity,
    modality: str,
    progress: Progress | None = None,
) -> tuple[Values, tuple[str, ...]]:
    """Decode a series into the canonical volume.

    Padding (PixelPaddingValue) becomes -1000 HU; with stored intensities nothing is replaced.

    Args:
        frames: as sent; `geometry` says in which order and orientation they become slices.
        name: the study, as messages call it.
        intensity: "hounsfield" applies each frame's rescale; "stored" gives the raw pixel values.
        modality: of the series; CT must say how its pixels become Hounsfield units.
        progress: called with ("decode", slices done, slices).

    Returns:
        [D, H, W] as int16 where every value is whole and fits, else float32; and warnings.

    Raises:
        StudyError: too many voxels, or pixels that cannot be decoded or turned into intensities.
    """
    ordered = [frames[index] for index in geometry.order]
    rows, columns = ordered[0].rows, ordered[0].columns
    if len(ordered) > MAX_SLICES or len(ordered) * rows * columns > MAX_VOXELS:
        raise StudyError(
            f"{name}: {len(ordered)} slices of {rows} x {columns}; at most {MAX_SLICES} slices and {MAX_VOXELS} voxels "
            "are read.",
            "Send a smaller series.",
        )
    instances = {id(frame.instance): frame.instance for frame in ordered}
    formats = {key: read_format(instance) for key, instance in instances.items()}
    slices = []
    for slot, frame in enumerate(ordered):
        slope, intercept = _rescale(frame, modality) if intensity == "hounsfield" else (1.0, 0.0)
        slices.append(_Slice(slot, frame, formats[id(frame.instance)], slope, intercept))
    pad = intensity == "hounsfield"
    shape = (len(ordered), *((columns, rows) if geometry.transpose else (rows, columns)))

    def filled(whole: bool) -> tuple[Values, int]:
        with doing(f"{name}: holding {len(ordered)} slices of {rows} x {columns}"):
            block: Values = np.empty(shape, np.int16) if whole else np.empty(shape, np.float32)
        return block, _fill(block, slices, geometry, pad, progress)

    try:
        values, replaced = filled(all(_keeps_int16(entry) for entry in slices))
    except _DoesNotFit:
        values, replaced = filled(False)
    return values, _remarks(slices, replaced, values.size, name, pad)


def _keeps_int16(entry: _Slice) -> bool:
    return entry.slope == 1 and entry.intercept.is_integer() and abs(entry.intercept) <= -INT16.min


def _fill(block: Values, slices: Sequence[_Slice], geometry: Geometry, pad: bool, progress: Progress | None) -> int:
    """Decode every slice into its slot of `block`; the number of padding pixels that may be tissue."""
    jobs = _jobs(slices)
    done = replaced = 0
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="decode") as pool:
        futures = [pool.submit(_run, job, block, geometry, pad) for job in jobs]
        try:
            for job, future in zip(jobs, futures, strict=True):
                replaced += future.result()
                done += len(job)
                if progress is not None:
                    progress("decode", done, len(slices))
        finally:
            for future in futures:
                future.cancel()
    return replaced


def _jobs(slices: Sequence[_Slice]) -> list[list[_Slice]]:
    """Slices to decode from one opening of a file; a compressed multi-frame file is shared by the workers."""
    files: dict[int, list[_Slice]] = {}
    for entry in slices:
        files.setdefault(id(entry.pixels), []).append(entry)
    jobs = []
    for members in files.values():
        parts = WORKERS if members[0].pixels.encapsulated else 1
        size = -(-len(members) // parts)
        jobs += [members[at : at + size] for at in range(0, len(members), size)]
    return jobs


def _run(job: Sequence[_Slice], block: Values, geometry: Geometry, pad: bool) -> int:
    return sum(_store(pattern, entry, block, geometry, pad) for entry, pattern in _decoded(job))


def _decoded(job: Sequence[_Slice]) -> Iterator[tuple[_Slice, Stored]]:
    """Each slice with its stored values [H, W], unused bits included."""
    pixels = job[0].pixels
    by_frame = {entry.frame.index: entry for entry in job}
    with doing(f"{pixels.instance.name}: decoding pixels ({pixels.instance.syntax.name})", quote=True):
        for index, encoded, header in encoded_frames(pixels, by_frame.keys()):
            yield by_frame[index], _pattern(encoded, header, pixels)


def _pattern(encoded: bytes, header: FrameHeader | None, pixels: PixelFormat) -> Stored:
    """One frame's samples [H, W] in the type that the header says."""
    shape, kind = (pixels.rows, pixels.columns), np.dtype(pixels.sample_type)
    if pixels.codec is None:
        little = pixels.instance.syntax.is_little_endian
        return np.frombuffer(encoded, kind.newbyteorder("<" if little else ">")).reshape(shape)
    if pixels.decode is None:
        return decode_rle(encoded, pixels.rows * pixels.columns, kind.itemsize).view(kind).reshape(shape)
    samples = pixels.decode(encoded)
    if samples.shape != shape or samples.dtype.kind not in "iu" or samples.dtype.itemsize > kind.itemsize:
        raise ValueError(f"the decoder gave {samples.shape} of {samples.dtype}; {shape} of {kind} was expected")
    samples = samples.astype(kind, copy=False)
    if header is not None and pixels.instance.syntax in (*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes):
        # Such a stream counts its bits itself; whether they are signed, only the DICOM header is sure of.
        return _low_bits(samples, header.precision)
    return samples


def _store(pattern: Stored, entry: _Slice, block: Values, geometry: Geometry, pad: bool) -> int:
    """Turn one decoded frame [H, W] into intensities in its slot."""
    pixels = entry.pixels
    padded = None
    if pad and pixels.padding is not None:
        padded = (pattern >= pixels.padding[0]) & (pattern <= pixels.padding[1])
    stored = _used_bits(pattern, pixels)
    values: NDArray[np.int16] | NDArray[np.int64] | NDArray[np.float64]
    if block.dtype == np.int16 and _always_fits(entry):
        values = stored.astype(np.int16) + np.int16(entry.intercept)
    elif block.dtype == np.int16:
        values = stored.astype(np.int64) + np.int64(entry.intercept)
    else:
        values = stored * np.float64(entry.slope) + np.float64(entry.intercept)
    replaced = 0
    if padded is not None and padded.any():
        if float(values[padded].max()) > HIGHEST_AIR_HU:
            replaced = int(padded.sum())
        values[padded] = AIR_HU
    low, high = float(values.min()), float(values.max())
    if block.dtype == np.int16 and (low < INT16.min or high > INT16.max):
        raise _DoesNotFit
    if max(-low, high) > MAX_INTENSITY:
        raise StudyError(
            f"{entry.frame.name}: intensities from {low:g} to {high:g} by {describe('RescaleSlope')} {entry.slope:g}, "
            f"beyond the limit of {MAX_INTENSITY:g}.",
            "Send the series from its source.",
        )
    block[entry.slot] = geometry.arrange(values)
    return replaced


def _always_fits(entry: _Slice) -> bool:
    """Whether any value that may come is an int16, as is the intercept; compressed frames may exceed BitsStored."""
    span = 1 << (entry.pixels.bits_allocated if entry.pixels.encapsulated else entry.pixels.bits_stored)
    low = -span // 2 if entry.pixels.signed else 0
    ends = (low, low + span - 1, entry.intercept, low + entry.intercept, low + span - 1 + entry.intercept)
    return INT16.min <= min(ends) and max(ends) <= INT16.max


def _used_bits(pattern: Stored, pixels: PixelFormat) -> Stored:
    """Drop what pixels may carry above BitsStored (PS3.5 8.1.1), extending the sign.

    JPEG 2000 and JPEG-LS streams hold only the used bits.
    """
    if pixels.instance.syntax in (*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes):
        return pattern
    return _low_bits(pattern, pixels.bits_stored)


def _low_bits(pattern: Stored, bits: int) -> Stored:
    """The lowest bits of each value, the uppermost of them as its sign where the type has one."""
    unused = 8 * pattern.dtype.itemsize - bits
    if unused <= 0:
        return pattern
    used: Stored = np.right_shift(np.left_shift(pattern, unused), unused)
    return used


def _rescale(frame: Frame, modality: str) -> tuple[float, float]:
    """Slope and intercept from stored values to Hounsfield units (PS3.3 C.11.1.1.2)."""
    tags = frame.instance.tags
    if frame.slope is None or frame.intercept is None:
        missing = "RescaleSlope" if frame.slope is None else "RescaleIntercept"
        # PS3.3 C.11.1.1.1: a table's output is unsigned, so that air and lung have no place in it.
        table = f", and {describe('ModalityLUTSequence')}, a lookup table without negative values, stands in its place"
        raise StudyError(
            f"{frame.name}: {describe(missing)} is missing{table if 'ModalityLUTSequence' in tags else ''}; without it "
            f"the {modality or 'pixel'} values are not in Hounsfield units.",
            "Send the series as the scanner made it.",
        )
    if "ModalityLUTSequence" in tags:
        raise StudyError(
            f"{frame.name}: {describe('ModalityLUTSequence')} stands beside {describe('RescaleSlope')}; one of them "
            "was expected, and they may contradict each other.",
            "Send the series as the scanner made it.",
        )
    if frame.slope == 0:
        raise StudyError(
            f"{frame.name}: {describe('RescaleSlope')} is 0; a slope was expected.", "Send the series from its source."
        )
    if frame.rescale_type not in ("", "HU", "US"):
        raise StudyError(
            f'{frame.name}: {describe("RescaleType")} is "{printable(frame.rescale_type, 16)}"; "HU" was expected.',
            "Send the series in Hounsfield units.",
        )
    return frame.slope, frame.intercept


def _remarks(slices: Sequence[_Slice], replaced: int, voxels: int, name: str, hounsfield: bool) -> tuple[str, ...]:
    remarks = []
    if hounsfield and any(entry.frame.rescale_type == "US" for entry in slices):
        remarks.append(
            f'{name}: {describe("RescaleType")} is "US" (unspecified); the values were taken as Hounsfield units.'
        )
    if replaced:
        remarks.append(
            f"{name}: {replaced} pixels ({100 * replaced / voxels:.1f} %) carry {describe('PixelPaddingValue')} at "
            f"more than {HIGHEST_AIR_HU} HU, where tissue can be; they were set to {AIR_HU} HU."
        )
    if any(entry.pixels.instance.tags.text("LossyImageCompression") == "01" for entry in slices):
        remarks.append(f"{name}: the images were compressed with loss before they came here.")
    return tuple(remarks)
