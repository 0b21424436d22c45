"""How an instance encodes its pixels, and the decoder for it; what is not a CT slice's format is refused."""

from dataclasses import dataclass
from typing import Any

from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes

from ..errors import StudyError
from .instance import Instance, PixelElement
from .tags import Tags, describe

BITS_ALLOCATED = 16
"""PS3.3 C.8.2.1.1.4: CT pixels are allocated 16 bits."""
PREFERRED_PLUGINS = ("pydicom", "pylibjpeg", "pyjpegls", "gdcm", "pillow")
"""One decoder per transfer syntax, the first of these that is installed; a failure does not try the next.

pydicom itself decodes RLE only, at 4 ms a slice; the faster plug-in for it aborts on damaged runs.
"""


@dataclass(frozen=True)
class PixelFormat:
    """An instance's pixel module, checked.

    frames: NumberOfFrames.
    padding: lowest and highest stored value that mark pixels outside the field of view.
    options: what pydicom's decoder needs for one frame.
    offsets: the extended offset table of encapsulated frames and their lengths, undecoded.
    """

    instance: Instance
    element: PixelElement
    decoder: Decoder
    plugin: str
    rows: int
    columns: int
    frames: int
    bits_stored: int
    signed: bool
    padding: tuple[int, int] | None
    options: dict[str, Any]
    offsets: tuple[bytes, bytes] | None

    @property
    def encapsulated(self) -> bool:
        return bool(self.instance.syntax.is_encapsulated)

    @property
    def frame_bytes(self) -> int:
        """One frame, decoded."""
        return self.rows * self.columns * BITS_ALLOCATED // 8


def read_format(instance: Instance) -> PixelFormat:
    """Check the pixel module (PS3.3 C.7.6.3) and find a decoder.

    Raises:
        StudyError: colour or inverted pixels, an unusual depth, a transfer syntax without decoder, or
            uncompressed pixel data of another length than the size elements say.
    """
    tags, element = instance.tags, instance.pixels
    if element is None:
        raise StudyError(f"{instance.name}: {describe('PixelData')} is missing.", "Send the study again.")
    _refuse_photometric(tags)
    bits_stored, signed = _depth(tags)
    decoder, plugin = _decoder(instance)
    rows, columns = tags.whole("Rows") or 0, tags.whole("Columns") or 0
    frames = tags.whole("NumberOfFrames") or 1
    found = PixelFormat(
        instance,
        element,
        decoder,
        plugin,
        rows,
        columns,
        frames,
        bits_stored,
        signed,
        _padding(tags, signed),
        {
            "rows": rows,
            "columns": columns,
            "number_of_frames": 1,
            "samples_per_pixel": 1,
            "photometric_interpretation": "MONOCHROME2",
            "bits_allocated": BITS_ALLOCATED,
            "bits_stored": bits_stored,
            "pixel_representation": int(signed),
            "pixel_keyword": "PixelData",
            "pixel_vr": element.vr,
            "correct_unused_bits": False,
        },
        _extended_offsets(tags),
    )
    if not found.encapsulated:
        _refuse_length(found)
    return found


def _refuse_photometric(tags: Tags) -> None:
    samples = tags.whole("SamplesPerPixel") or 1
    if samples != 1:
        raise tags.refusal("SamplesPerPixel", f"is {samples}: a colour image; 1 was expected")
    photometric = tags.text("PhotometricInterpretation")
    if photometric == "MONOCHROME1":
        raise tags.refusal(
            "PhotometricInterpretation",
            "is MONOCHROME1: dark and bright are exchanged, which no CT scanner stores; MONOCHROME2 was expected",
        )
    if photometric != "MONOCHROME2":
        raise tags.refusal("PhotometricInterpretation", "is not MONOCHROME2, the only kind that is read")


def _depth(tags: Tags) -> tuple[int, bool]:
    allocated, stored = tags.whole("BitsAllocated"), tags.whole("BitsStored")
    representation, high = tags.whole("PixelRepresentation"), tags.whole("HighBit")
    if allocated != BITS_ALLOCATED:
        raise tags.refusal("BitsAllocated", f"is {allocated}; {BITS_ALLOCATED} was expected")
    if stored is None or not 1 <= stored <= allocated:
        raise tags.refusal("BitsStored", f"is {stored}; 1 to {allocated} was expected")
    if high not in (None, stored - 1):
        raise tags.refusal("HighBit", f"is {high}; {stored - 1} was expected with {stored} bits stored")
    if representation not in (0, 1):
        raise tags.refusal("PixelRepresentation", f"is {representation}; 0 (unsigned) or 1 (signed) was expected")
    return stored, representation == 1


def _padding(tags: Tags, signed: bool) -> tuple[int, int] | None:
    """PS3.3 C.7.5.1.1.2. The value is a 16-bit pattern: some headers write -2000 as 63536."""

    def pattern(keyword: str) -> int | None:
        value = tags.dataset.get(keyword)
        if isinstance(value, bytes):  # implicit VR does not say whether the value is signed
            value = int.from_bytes(value[:2], "little") if value else None
        else:
            value = tags.whole(keyword)
        if value is None:
            return None
        value &= 0xFFFF
        return value - 0x10000 if signed and value > 0x7FFF else value

    first = pattern("PixelPaddingValue")
    if first is None:
        return None
    last = pattern("PixelPaddingRangeLimit")
    last = first if last is None else last
    return min(first, last), max(first, last)


def _decoder(instance: Instance) -> tuple[Decoder, str]:
    syntax = instance.syntax
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as failure:
        raise StudyError(
            f"{instance.name}: {describe('TransferSyntaxUID')} is {syntax.name}, which is not read.",
            "Send the study uncompressed (Explicit VR Little Endian).",
        ) from failure
    if not decoder.is_available:
        raise StudyError(
            f"{instance.name}: pixels compressed as {syntax.name} ({syntax}) need a decoder that is not installed: "
            f"{'; '.join(decoder.missing_dependencies)}.",
            f"pip install {_packages(instance)}",
        )
    plugins = decoder.available_plugins
    return decoder, next((name for name in PREFERRED_PLUGINS if name in plugins), "")


def _packages(instance: Instance) -> str:
    if instance.syntax in JPEG2000TransferSyntaxes:
        return "pylibjpeg pylibjpeg-openjpeg"
    return "pyjpegls" if instance.syntax in JPEGLSTransferSyntaxes else "python-gdcm"


def _extended_offsets(tags: Tags) -> tuple[bytes, bytes] | None:
    """PS3.5 A.4: offsets and lengths of frames in files too large for the basic table."""
    offsets, lengths = (tags.dataset.get(key) for key in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"))
    return (offsets, lengths) if isinstance(offsets, bytes) and isinstance(lengths, bytes) else None


def _refuse_length(pixels: PixelFormat) -> None:
    """Before anything is allocated: do the bytes that are there suffice for the size that is declared?"""
    element, name = pixels.element, pixels.instance.name
    expected = pixels.frame_bytes * pixels.frames
    size = f"{pixels.rows} x {pixels.columns} pixels of {BITS_ALLOCATED // 8} bytes"
    size += f" in {pixels.frames} frames" if pixels.frames > 1 else ""
    if element.length is None:
        raise StudyError(
            f"{name}: {describe('PixelData')} is encapsulated, but the transfer syntax is "
            f"{pixels.instance.syntax.name}.",
            "Send the study again from its source.",
        )
    actual = min(element.length, element.available)
    if actual < expected:
        raise StudyError(
            f"{name}: {describe('PixelData')} is truncated: {actual} bytes came, {expected} were expected for {size}.",
            "Send the study again; its transfer was cut short.",
        )
    if actual >= expected + pixels.frame_bytes:
        raise StudyError(
            f"{name}: {describe('PixelData')} holds more than {describe('NumberOfFrames')} says: {actual} bytes came, "
            f"{expected} were expected for {size}.",
            "Send the study again from its source.",
        )
