"""What is written for each image: its file's meta information, and the answer to its sender, without a data set for it.

pydicom and pynetdicom put both together element by element, which takes longer than all else that an image needs.
"""

import struct

STORED = 0x8001
"""PS3.7 9.3.1.2: the command field of an answer to C-STORE."""
NO_DATA_SET = 0x0101
COMMAND_AND_LAST = b"\x03"
"""PS3.8 annex E.2: of a fragment that is a command, and its last."""


def meta_information(
    sop_class: str, instance: str, transfer_syntax: str, implementation: str, version_name: str
) -> bytes:
    """Preamble, prefix and group 2 of a file, in Explicit VR Little Endian (PS3.10 7.1).

    Raises:
        UnicodeEncodeError: a value is no ASCII.
    """
    group = b"\x02\x00\x01\x00OB\x00\x00" + struct.pack("<I", 2) + b"\x00\x01"
    for element, value in ((0x02, sop_class), (0x03, instance), (0x10, transfer_syntax), (0x12, implementation)):
        group += _short(element, b"UI", _padded(value, b"\0"))
    group += _short(0x13, b"SH", _padded(version_name, b" "))
    return b"\0" * 128 + b"DICM" + _short(0x00, b"UL", struct.pack("<I", len(group))) + group


def store_answer(sop_class: str, instance: str, message: int, status: int) -> bytes:
    """The command set of an answer to C-STORE, in Implicit VR Little Endian (PS3.7 9.3.1.2), as one fragment.

    Raises:
        UnicodeEncodeError: a value is no ASCII.
    """
    elements = _implicit(
        (0x0002, _padded(sop_class, b"\0")),
        (0x0100, struct.pack("<H", STORED)),
        (0x0120, struct.pack("<H", message)),
        (0x0800, struct.pack("<H", NO_DATA_SET)),
        (0x0900, struct.pack("<H", status)),
        (0x1000, _padded(instance, b"\0")),
    )
    return COMMAND_AND_LAST + _implicit((0x0000, struct.pack("<I", len(elements)))) + elements


def _implicit(*elements: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in elements)


def _short(element: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def _padded(value: str, pad: bytes) -> bytes:
    content = value.encode("ascii")
    return content + pad * (len(content) % 2)
