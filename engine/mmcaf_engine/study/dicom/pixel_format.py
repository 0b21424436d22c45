"""How an instance encodes its pixels, and the decoder for it; what is not a CT slice's format is refused."""

from dataclasses import dataclass

from pydicom.uid import ExplicitVRBigEndian

from ...errors import Remedy, StudyError
from ...machine.installation import install_package
from ..faults import printable
from .decoders import CODECS, Codec, Decode
from .instance import Instance, PixelElement
from .tags import Tags, describe

BITS_ALLOCATED = (8, 16, 32)
"""PS3.3 C.8.2.1.1.4 has 16 for CT; derived images come with 8 or 32."""
COMPRESSED_BITS_ALLOCATED = (8, 16)


@dataclass(frozen=True)
class PixelFormat:
    """An instance's pixel module, checked.

    frames: NumberOfFrames.
    padding: lowest and highest stored value that mark pixels outside the field of view.
    codec, decode: of compressed frames; None for uncompressed ones, and `decode` for run lengths.
    offsets: the extended offset table of encapsulated frames and their lengths, undecoded.
    """

    instance: Instance
    element: PixelElement
    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    padding: tuple[int, int] | None
    codec: Codec | None
    decode: Decode | None
    offsets: tuple[bytes, bytes] | None

    @property
    def encapsulated(self) -> bool:
        return bool(self.instance.syntax.is_encapsulated)

    @property
    def frame_bytes(self) -> int:
        """One frame, decoded."""
        return self.rows * self.columns * self.bits_allocated // 8

    @property
    def sample_type(self) -> str:
        """numpy's name of one sample's type, of this machine's byte order."""
        return f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}"


def read_format(instance: Instance, *, inverted: bool = False) -> PixelFormat:
    """Check the pixel module (PS3.3 C.7.6.3) and find a decoder.

    Args:
        inverted: read MONOCHROME1 as well.

    Raises:
        StudyError: colour or unwanted inverted pixels, an unusual depth, a transfer syntax without decoder, or
            uncompressed pixel data of another length than the size elements say.
    """
    tags, element = instance.tags, instance.pixels
    if element is None:
        raise StudyError(f"{instance.name}: {describe('PixelData')} is missing.", "Send the study again.")
    _refuse_photometric(tags, inverted)
    codec, decode = _decoder(instance)
    bits_allocated, bits_stored, signed = _depth(tags, element.vr, instance)
    found = PixelFormat(
        instance,
        element,
        tags.whole("Rows") or 0,
        tags.whole("Columns") or 0,
        tags.whole("NumberOfFrames") or 1,
        bits_allocated,
        bits_stored,
        signed,
        _padding(tags, signed),
        codec,
        decode,
        _extended_offsets(tags),
    )
    if not found.encapsulated:
        _refuse_length(found)
    return found


def _refuse_photometric(tags: Tags, inverted: bool) -> None:
    samples = tags.whole("SamplesPerPixel") or 1
    if samples != 1:
        raise tags.refusal("SamplesPerPixel", f"is {samples}: a colour image; 1 was expected")
    photometric = tags.text("PhotometricInterpretation")
    if photometric == "MONOCHROME1" and inverted:
        return
    if photometric == "MONOCHROME1":
        raise tags.refusal(
            "PhotometricInterpretation",
            "is MONOCHROME1: dark and bright are exchanged, which no CT scanner stores; MONOCHROME2 was expected",
        )
    if photometric != "MONOCHROME2":
        kinds = "MONOCHROME1 or MONOCHROME2" if inverted else "MONOCHROME2"
        raise tags.refusal(
            "PhotometricInterpretation", f"is {'another kind' if photometric else 'missing'}; {kinds} was expected"
        )


def _depth(tags: Tags, vr: str, instance: Instance) -> tuple[int, int, bool]:
    """BitsAllocated, BitsStored, and whether the values are signed."""
    allocated, stored = tags.whole("BitsAllocated"), tags.whole("BitsStored")
    representation, high = tags.whole("PixelRepresentation"), tags.whole("HighBit")
    known = COMPRESSED_BITS_ALLOCATED if instance.syntax.is_encapsulated else BITS_ALLOCATED
    if allocated is None or allocated not in known:
        raise tags.refusal("BitsAllocated", f"is {allocated}; {' or '.join(map(str, known))} was expected")
    if allocated == 8 and vr == "OW" and instance.syntax == ExplicitVRBigEndian:
        raise tags.refusal("BitsAllocated", "is 8 in big-endian words, of which the order of pixels is not certain")
    if stored is None or not 1 <= stored <= allocated:
        raise tags.refusal("BitsStored", f"is {stored}; 1 to {allocated} was expected")
    if high not in (None, stored - 1):
        raise tags.refusal("HighBit", f"is {high}; {stored - 1} was expected with {stored} bits stored")
    if representation not in (0, 1):
        raise tags.refusal("PixelRepresentation", f"is {representation}; 0 (unsigned) or 1 (signed) was expected")
    return allocated, stored, representation == 1


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


def _decoder(instance: Instance) -> tuple[Codec | None, Decode | None]:
    syntax = instance.syntax
    if syntax.is_transfer_syntax and not (syntax.is_private or syntax.is_encapsulated):
        return None, None
    codec = CODECS.get(syntax)
    if codec is None:
        raise StudyError(
            f"{instance.name}: {describe('TransferSyntaxUID')} is {printable(syntax.name)}, which is not read.",
            "Send the study uncompressed (Explicit VR Little Endian).",
        )
    try:
        return codec, codec.load()
    except ImportError as failure:
        raise StudyError(
            f"{instance.name}: pixels compressed as {syntax.name} ({syntax}) need a decoder that is not installed: "
            f"{codec.name}.",
            Remedy("Install it", command=install_package(codec.package)),
        ) from failure


def _extended_offsets(tags: Tags) -> tuple[bytes, bytes] | None:
    """PS3.5 A.4: offsets and lengths of frames in files too large for the basic table."""
    offsets, lengths = (tags.dataset.get(key) for key in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"))
    return (offsets, lengths) if isinstance(offsets, bytes) and isinstance(lengths, bytes) else None


def _refuse_length(pixels: PixelFormat) -> None:
    """Before anything is allocated: do the bytes that are there suffice for the size that is declared?"""
    element, name = pixels.element, pixels.instance.name
    expected = pixels.frame_bytes * pixels.frames
    size = f"{pixels.rows} x {pixels.columns} pixels of {pixels.bits_allocated // 8} bytes"
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
