"""The size that a compressed frame itself declares, so that no decoder allocates by a hostile one."""

from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

_JPEG2000 = b"\xff\x4f\xff\x51"
"""SOC, then SIZ, which must follow it (ISO/IEC 15444-1 annex A.5.1)."""
_JPEG_SIZES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers that start a frame (ISO/IEC 10918-1 table B.1; 0xF7 for JPEG-LS, ISO/IEC 14495-1)."""
_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length."""


def declared_size(frame: bytes, syntax: UID) -> tuple[int, int, int] | None:
    """(rows, columns, components) by the frame's own header; None for a syntax that has none, such as RLE.

    Raises:
        ValueError: the frame does not begin as the transfer syntax says.
    """
    if syntax in JPEG2000TransferSyntaxes:
        return _jpeg2000(frame)
    if syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
        return _jpeg(frame)
    return None


def _jpeg2000(frame: bytes) -> tuple[int, int, int]:
    if frame[:4] != _JPEG2000 or len(frame) < 42:
        raise ValueError("no JPEG 2000 codestream")
    right, bottom, left, top = (int.from_bytes(frame[at : at + 4], "big") for at in (8, 12, 16, 20))
    return bottom - top, right - left, int.from_bytes(frame[40:42], "big")


def _jpeg(frame: bytes) -> tuple[int, int, int]:
    if frame[:2] != b"\xff\xd8":
        raise ValueError("no JPEG stream")
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _JPEG_SIZES:
            rows, columns = (int.from_bytes(frame[at + skip : at + skip + 2], "big") for skip in (5, 7))
            return rows, columns, frame[at + 9]
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    raise ValueError("no JPEG frame header")
