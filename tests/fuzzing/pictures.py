"""PNG files taken apart by their chunks, and spoilt there, with the checksums made right again or not."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator

from tiny_pictures import SIGNATURE, chunk, exif, png

from .case import Answer, Case, Maker, answer_of_picture, choose
from .files import SECRETS, VALUES

KINDS = (
    b"IHDR",
    b"PLTE",
    b"IDAT",
    b"IEND",
    b"tRNS",
    b"gAMA",
    b"tEXt",
    b"eXIf",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"iCCP",
    b"IDOT",
    b"idat",
)
EXTRA = (
    chunk(b"tEXt", b"Comment\0DOE^JANE"),
    chunk(b"gAMA", struct.pack(">I", 45455)),
    chunk(b"tRNS", b"\0\0"),
    chunk(b"tRNS", b"\0" * 300),
    chunk(b"eXIf", exif(6)),
    chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff"),
    chunk(b"PLTE", b"\0\0\0" * 256),
    chunk(b"acTL", struct.pack(">II", 2, 0)),
    chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 5000)),
    chunk(b"IDAT", b""),
    chunk(b"IDAT", b"\0" * 40),
    chunk(b"ABCD", b"x"),
)


@dataclass(frozen=True)
class Chunk:
    """kind and body; length and check: what it says of them, where that is wrong."""

    kind: bytes
    body: bytes
    length: int | None = None
    check: int | None = None

    def encode(self) -> bytes:
        """The bytes of it."""
        length = len(self.body) if self.length is None else self.length
        check = zlib.crc32(self.kind + self.body) if self.check is None else self.check
        return struct.pack(">I", length & 0xFFFFFFFF) + self.kind + self.body + struct.pack(">I", check)


def parse(data: bytes) -> list[Chunk]:
    """The chunks of a sound file."""
    at, found = len(SIGNATURE), []
    while at < len(data):
        length = struct.unpack_from(">I", data, at)[0]
        found.append(Chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def chunks(folder: Path) -> Maker:
    """Grey pictures of 8 and 16 bits, one in colour of equal planes, one of a palette, one of several IDAT chunks."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "damaged.png"
    wide = (VALUES[0].astype(np.int32) + 1024).astype(np.uint16)
    grey = (wide >> 4).astype(np.uint8)
    palette = chunk(b"PLTE", b"".join(bytes([value] * 3) for value in range(256)))
    forms = {
        "8 bits": png(grey),
        "16 bits": png(wide),
        "three": png(np.repeat(grey[..., None], 3, 2)),
        "palette": png(grey, palette, header={"colour": 3}),
    }
    parts = {form: parse(data) for form, data in forms.items()}
    pixels = parts["8 bits"][1].body
    parts["several"] = [
        parts["8 bits"][0],
        *(Chunk(b"IDAT", pixels[at : at + 90]) for at in range(0, len(pixels), 90)),
        Chunk(b"IEND", b""),
    ]
    sound: dict[str, Answer] = {}
    for form, found in parts.items():
        path.write_bytes(SIGNATURE + b"".join(one.encode() for one in found))
        sound[form] = answer_of_picture(path)

    def make(draw: Generator) -> Case:
        form = choose(draw, list(parts))
        found, done = list(parts[form]), []
        checked = True
        for _ in range(int(choose(draw, (1, 1, 1, 2, 3)))):
            change, structural = choose(draw, CHANGES)
            done.append(change(found, draw) if found else "nothing")
            checked = checked and structural
        data = SIGNATURE + b"".join(one.encode() for one in found)
        if draw.random() < 0.1:
            data = data[: int(draw.integers(len(data)))] if draw.random() < 0.5 else data + draw.bytes(20)
            done.append(f"{len(data)} bytes")
        path.write_bytes(data)
        what = f"{form}: {', '.join(done)}"
        return Case(lambda: answer_of_picture(path), what, data, sound[form] if checked else None, SECRETS)

    return make


def _gone(found: list[Chunk], draw: Generator) -> str:
    return f"without {found.pop(int(draw.integers(len(found)))).kind!r}" if found else "nothing"


def _twice(found: list[Chunk], draw: Generator) -> str:
    at = _place(found, draw)
    found.insert(int(draw.integers(len(found) + 1)) if draw.random() < 0.5 else at, found[at])
    return f"{found[at].kind!r} twice"


def _swapped(found: list[Chunk], draw: Generator) -> str:
    one, other = _place(found, draw), _place(found, draw)
    found[one], found[other] = found[other], found[one]
    return f"{found[one].kind!r} and {found[other].kind!r} exchanged"


def _length(found: list[Chunk], draw: Generator) -> str:
    at = _place(found, draw)
    size = len(found[at].body)
    length = int(choose(draw, (0, 1, size - 1, size + 1, size + 12, 0x7FFFFFFF, 0xFFFFFFFF)))
    found[at] = replace(found[at], length=length)
    return f"length {length} of {found[at].kind!r}"


def _checksum(found: list[Chunk], draw: Generator) -> str:
    """A flipped bit, with the checksum that was right before it."""
    at = _place(found, draw)
    body = bytearray(found[at].body)
    check = zlib.crc32(found[at].kind + found[at].body)
    if body:
        body[int(draw.integers(len(body)))] ^= 1 << int(draw.integers(8))
    else:
        check ^= 1
    found[at] = replace(found[at], body=bytes(body), check=check)
    return f"a bit of {found[at].kind!r}"


def _packed(found: list[Chunk], draw: Generator) -> str:
    """A flipped bit of the packed pixels, with the chunk's checksum right again: the zlib stream has its own."""
    places = [at for at, one in enumerate(found) if one.kind == b"IDAT" and one.body]
    if not places:
        return "nothing"
    at = choose(draw, places)
    body = bytearray(found[at].body)
    body[int(draw.integers(len(body)))] ^= 1 << int(draw.integers(8))
    found[at] = replace(found[at], body=bytes(body))
    return "a bit of the zlib stream"


def _cut(found: list[Chunk], draw: Generator) -> str:
    at = _place(found, draw)
    kept = int(draw.integers(len(found[at].body) + 1))
    body = found[at].body[:kept] if draw.random() < 0.7 else found[at].body + draw.bytes(kept)
    found[at] = replace(found[at], body=body)
    return f"{found[at].kind!r} of {len(body)} bytes"


def _kind(found: list[Chunk], draw: Generator) -> str:
    at = _place(found, draw)
    former = found[at].kind
    found[at] = replace(found[at], kind=choose(draw, KINDS))
    return f"{former!r} as {found[at].kind!r}"


def _extra(found: list[Chunk], draw: Generator) -> str:
    piece = parse(SIGNATURE + choose(draw, EXTRA))[0]
    found.insert(int(draw.integers(len(found) + 1)), piece)
    return f"{piece.kind!r} of {len(piece.body)} bytes"


def _header(found: list[Chunk], draw: Generator) -> str:
    """Another width, height, depth, colour type, compression, filter or interlacing than the pixels have."""
    if not found or len(found[0].body) != 13:
        return "nothing"
    fields = list(struct.unpack(">2I5B", found[0].body))
    at = int(draw.integers(7))
    size = fields[at]
    values = (0, 1, size - 1, size + 1, size * 2, 0x7FFFFFFF, 0xFFFFFFFF) if at < 2 else (0, 1, 2, 3, 4, 6, 8, 16, 255)
    fields[at] = int(choose(draw, values)) & (0xFFFFFFFF if at < 2 else 0xFF)
    found[0] = replace(found[0], body=struct.pack(">2I5B", *fields))
    return f"field {at} of the header {fields[at]}"


def _place(found: list[Chunk], draw: Generator) -> int:
    return int(draw.integers(len(found))) if found else 0


CHANGES: tuple[tuple[Callable[[list[Chunk], Generator], str], bool], ...] = (
    *((change, True) for change in (_gone, _twice, _swapped, _length, _checksum, _packed, _cut, _kind, _header)),
    (_extra, False),
)
"""Each with whether it breaks the file's structure, so that no other answer may come in silence."""
