"""From the frames of a series to intensities, decoded slice by slice in a few threads."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from pydicom.uid import (
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
)

from ...cancel import Progress
from ...errors import StudyError
from ...timing import span
from ...volume import Intensity
from ...workers import WORKERS, Scratch, in_order
from ..faults import DamagedError, doing, shown_text
from ..geometry.arrangement import Geometry
from .codestream import FrameHeader
from .encoded import encoded_frames, plain_frames
from .frames import MAX_SLICES, Frame
from .intensities import AIR_HU, HIGHEST_AIR_HU, LOWEST_HU, Odd, Slice, Stored, Values, intensities, low_bits, used_bits
from .jpeg_scans import decode_whole
from .pixel_format import PixelFormat, read_format
from .run_length import decode_rle
from .tags import describe

MAX_VOXELS = 1024**3
"""Of a whole volume: 2 GiB as int16."""

_OF_THEIR_PRECISION = (*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes)
"""Streams that hold two's complement of as many bits as they say."""
_JPEG = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
"""Streams whose decoders make up what is not there."""

Receive = Callable[[int, Values, Scratch], None]
"""Called in several threads with (slot, intensities [H, W], the thread's scratch); they last until it returns."""


class _DoesNotFit(Exception):  # noqa: N818 - a signal between two passes, not an error
    """A slice holds values beyond int16."""


@dataclass(frozen=True)
class PixelPlan:
    """Slices that can be decoded, as far as their headers tell."""

    slices: tuple[Slice, ...]
    geometry: Geometry
    name: str
    intensity: Intensity

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns once they are decoded."""
        first = self.slices[0].frame
        sides = (first.columns, first.rows) if self.geometry.transpose else (first.rows, first.columns)
        return len(self.slices), *sides


def plan_slices(
    frames: Sequence[Frame], geometry: Geometry, name: str, *, intensity: Intensity, modality: str
) -> PixelPlan:
    """Check how a series' pixels are stored and what they mean, before any of them is read.

    Args:
        frames: as sent; `geometry` says in which order and orientation they become slices.
        name: the study, as messages call it.
        intensity: "hounsfield" applies each frame's rescale, which must be there; "rescaled" applies it where it is;
            "stored" gives the raw pixel values.
        modality: of the series, for messages.

    Raises:
        StudyError: too many voxels, pixels in a form that is not read, or without a rescale.
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
        slope, intercept = _rescale(frame, modality, intensity)
        slices.append(Slice(slot, frame, formats[id(frame.instance)], slope, intercept))
    return PixelPlan(tuple(slices), geometry, name, intensity)


def stream_slices(plan: PixelPlan, receive: Receive, progress: Progress | None = None) -> tuple[str, ...]:
    """Decode a series and hand over each slice, in any order and once, without holding them all.

    Args:
        progress: called with ("decode", slices done, slices).

    Returns:
        Warnings.

    Raises:
        StudyError: pixels that cannot be decoded, or intensities beyond any meaning; and what `receive` raises.
            Of several slices that fail, the first by slot is named.
    """
    jobs = _jobs(plan.slices)

    def run(job: Sequence[Slice], scratch: Scratch) -> Odd:
        odd = Odd()
        with span("decode"):
            for entry, pattern in _stored(job, scratch):
                with doing(f"{entry.frame.name}: rescaling pixels"):
                    values, of_slice = intensities(pattern, entry, plan.geometry, plan.intensity, scratch)
                odd += of_slice
                receive(entry.slot, values, scratch)
        return odd

    done, odd = 0, Odd()
    with span("decode"), closing(in_order(run, jobs, WORKERS)) as outcomes:
        for job, of_job in zip(jobs, outcomes, strict=True):
            odd, done = odd + of_job, done + len(job)
            if progress is not None:
                progress("decode", done, len(plan.slices))
    return _remarks(plan, odd)


def decode_slices(plan: PixelPlan, progress: Progress | None = None) -> tuple[Values, tuple[str, ...]]:
    """Decode a series into the canonical volume.

    Args:
        progress: called with ("decode", slices done, slices).

    Returns:
        [D, H, W] as int16 where every value is whole and fits, else float32; and warnings.

    Raises:
        StudyError: pixels that cannot be decoded, or intensities beyond any meaning.
    """
    count, rows, columns = plan.shape

    def filled(whole: bool) -> tuple[Values, tuple[str, ...]]:
        with doing(f"{plan.name}: holding {count} slices of {rows} x {columns}"):
            block: Values = np.empty(plan.shape, np.int16) if whole else np.empty(plan.shape, np.float32)

        def keep(slot: int, values: Values, scratch: Scratch) -> None:
            if whole and values.dtype != np.int16:
                raise _DoesNotFit
            block[slot] = values

        return block, stream_slices(plan, keep, progress)

    try:
        return filled(all(entry.whole for entry in plan.slices))
    except _DoesNotFit:
        return filled(False)


def _jobs(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices to decode from one opening of a file; a compressed multi-frame file is shared by the workers."""
    files: dict[int, list[Slice]] = {}
    for entry in slices:
        files.setdefault(id(entry.pixels), []).append(entry)
    jobs = []
    for members in files.values():
        parts = WORKERS if members[0].pixels.encapsulated else 1
        size = -(-len(members) // parts)
        jobs += [members[at : at + size] for at in range(0, len(members), size)]
    return jobs


def stored_frames(pixels: PixelFormat, wanted: Collection[int], scratch: Scratch) -> Iterator[tuple[int, Stored]]:
    """(frame number from 0, its stored values [H, W], unused bits included), rising; they may change with the next.

    Raises:
        StudyError: frames that are missing, or cannot be decoded.
    """
    with doing(f"{pixels.instance.name}: decoding pixels ({pixels.instance.syntax.name})"):
        if pixels.encapsulated:
            for index, encoded, header in encoded_frames(pixels, wanted):
                yield index, _pattern(encoded, header, pixels)
        else:
            kind = np.dtype(pixels.sample_type).newbyteorder("<" if pixels.instance.syntax.is_little_endian else ">")
            for index, held in plain_frames(pixels, wanted, scratch):
                yield index, held.view(kind).reshape(pixels.rows, pixels.columns)


def _stored(job: Sequence[Slice], scratch: Scratch) -> Iterator[tuple[Slice, Stored]]:
    """Each slice with its stored values."""
    by_frame = {entry.frame.index: entry for entry in job}
    for index, pattern in stored_frames(job[0].pixels, by_frame.keys(), scratch):
        yield by_frame[index], pattern


def _pattern(encoded: bytes, header: FrameHeader | None, pixels: PixelFormat) -> Stored:
    """One encoded frame's samples [H, W] in the type that the header says, bits above BitsStored included.

    Raises:
        StudyError: such bits of a stream that may have been compressed with loss, where a value that became a little
            too large cannot be told from bits that mean nothing.
    """
    shape, kind = (pixels.rows, pixels.columns), np.dtype(pixels.sample_type)
    if pixels.decode is None:
        return decode_rle(encoded, pixels.rows * pixels.columns, kind.itemsize).view(kind).reshape(shape)
    of_jpeg = pixels.instance.syntax in _JPEG
    samples = decode_whole(encoded, pixels.decode) if of_jpeg else pixels.decode(encoded)
    if samples.shape != shape or samples.dtype.kind not in "iu" or samples.dtype.itemsize > kind.itemsize:
        raise DamagedError(f"the decoder gave {samples.shape} of {samples.dtype}; {shape} of {kind} was expected")
    if samples.dtype.kind == "i" and not pixels.signed and int(samples.min()) < 0:
        raise StudyError(
            f"{pixels.instance.name}: its compressed samples are as low as {int(samples.min())}, but "
            f"{describe('PixelRepresentation')} is 0 (unsigned).",
            "Send the study again from its source.",
        )
    samples = samples.astype(kind, copy=False)
    if header is None:
        return samples
    if header.precision < pixels.bits_stored and pixels.instance.syntax in _OF_THEIR_PRECISION:
        samples = low_bits(samples, header.precision)  # whether they are signed, only the DICOM header is sure of
    if not header.exact and header.precision > pixels.bits_stored and (used_bits(samples, pixels) != samples).any():
        raise StudyError(
            f"{pixels.instance.name}: samples of {header.precision} bits, compressed with loss, exceed "
            f"{describe('BitsStored')} {pixels.bits_stored}; nothing tells which of their bits are the image's.",
            "Send the series without compression, or compressed without loss.",
        )
    return samples


def _rescale(frame: Frame, modality: str, intensity: Intensity) -> tuple[float, float]:
    """Slope and intercept from stored values to an intensity (PS3.3 C.11.1.1.2)."""
    tags = frame.instance.tags
    if intensity == "stored":
        return 1.0, 0.0
    if intensity == "rescaled" and frame.slope is None and frame.intercept is None:
        if "ModalityLUTSequence" in tags:
            raise StudyError(
                f"{frame.name}: {describe('ModalityLUTSequence')}, a lookup table, stands in the place of "
                f"{describe('RescaleSlope')}; a linear rescale, or none, was expected.",
                "Send the series as the scanner made it.",
            )
        return 1.0, 0.0
    if frame.slope is None or frame.intercept is None:
        hounsfield = intensity == "hounsfield"
        missing = "RescaleSlope" if frame.slope is None else "RescaleIntercept"
        # PS3.3 C.11.1.1.1: a table's output is unsigned, so that air and lung have no place in it.
        table = f", and {describe('ModalityLUTSequence')}, a lookup table without negative values, stands in its place"
        raise StudyError(
            f"{frame.name}: {describe(missing)} is missing{table if 'ModalityLUTSequence' in tags else ''}; without it "
            f"the {modality or 'pixel'} values are not in {'Hounsfield units' if hounsfield else 'one scale'}.",
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
    if intensity == "hounsfield" and frame.slope < 0:
        raise StudyError(
            f"{frame.name}: {describe('RescaleSlope')} is {frame.slope:g}; a slope above 0 was expected, of "
            "Hounsfield units, which rise with what is stored.",
            "Send the series from its source.",
        )
    if intensity == "hounsfield" and frame.rescale_type not in ("", "HU", "US"):
        raise StudyError(
            f'{frame.name}: {describe("RescaleType")} is "{shown_text(frame.rescale_type, 16)}"; "HU" was expected.',
            "Send the series in Hounsfield units.",
        )
    return frame.slope, frame.intercept


def _remarks(plan: PixelPlan, odd: Odd) -> tuple[str, ...]:
    name, remarks, voxels = plan.name, [], math.prod(plan.shape)
    if plan.intensity == "hounsfield" and any(entry.frame.rescale_type == "US" for entry in plan.slices):
        remarks.append(
            f'{name}: {describe("RescaleType")} is "US" (unspecified); the values were taken as Hounsfield units.'
        )
    if odd.replaced:
        remarks.append(
            f"{name}: {odd.replaced} pixels ({100 * odd.replaced / voxels:.1f} %) carry "
            f"{describe('PixelPaddingValue')} at more than {HIGHEST_AIR_HU} HU, where tissue can be; they were set to "
            f"{AIR_HU} HU."
        )
    if odd.below:
        remarks.append(
            f"{name}: {odd.below} pixels ({100 * odd.below / voxels:.1f} %) lie below {LOWEST_HU} HU, where neither "
            f"tissue nor air is, and {describe('PixelPaddingValue')} does not declare them; they were left as they are."
        )
    if odd.cut:
        remarks.append(
            f"{name}: the values of {odd.cut} slices have more bits than {describe('BitsStored')} says, and not as "
            "overlays have them; those above were dropped."
        )
    if any(entry.pixels.instance.tags.text("LossyImageCompression") == "01" for entry in plan.slices):
        remarks.append(f"{name}: the images were compressed with loss before they came here.")
    return tuple(remarks)
