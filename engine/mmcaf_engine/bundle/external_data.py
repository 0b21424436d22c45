"""Which other files an ONNX model reads its weights from: found without loading it, whoever made it.

The fields that lead to a tensor are those of onnx.proto (github.com/onnx/onnx), in the wire format of Protocol Buffers
(protobuf.dev, Encoding). Only messages that hold the word "location" are looked into, since no entry that names a file
is without it; a model with its weights inside is searched for the word and not walked.
"""

import mmap
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError

MAX_DEPTH = 100
"""Messages within each other; a subgraph in a subgraph is three of them."""

_WORD = b"location"
_VARINT_BYTES = 10
_LAST_FIELD = 2**29 - 1
_LARGEST = 2**31 - 1
"""Of a field; a reader may cut larger numbers to 32 bits, and so read another message."""
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5

_KEY, _VALUE = 1, 2
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Message -> field -> the message in it, as far as they lead to the entries of `TensorProto.external_data`."""


def external_locations(model: Path) -> set[str]:
    """Where a model's tensors say that their values lie, wherever they stand in it; "" for a location of none.

    Of an entry that says it twice, both; a tensor whose values lie in the model too counts as well.

    Raises:
        BundleError: the model is no message, where it must be walked.
        OSError: it cannot be read.
    """
    if model.stat().st_size == 0:
        return set()
    with model.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        words = []
        at = data.find(_WORD)
        while at >= 0:
            words.append(at)
            at = data.find(_WORD, at + 1)
        try:
            return set(_Walk(data, words).locations("model", 0, len(data), 0)) if words else set()
        except ValueError as failure:
            raise BundleError(f"{model.name}: not an ONNX model: {failure}.", "Export the bundle again.") from None


@dataclass(frozen=True)
class _Walk:
    """A serialised model, and where the word stands in it, ascending."""

    data: mmap.mmap
    words: list[int]

    def locations(self, message: str, at: int, end: int, depth: int) -> Iterator[str]:
        """Those below a message that lies from `at` to `end`."""
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} messages within each other")
        children = _CHILDREN[message]
        for field, start, stop in self._fields(at, end):
            child = children.get(field)
            if child is None or not self._holds_word(start, stop):
                continue
            if child == "entry":
                yield from self._entry(start, stop)
            else:
                yield from self.locations(child, start, stop, depth + 1)

    def _entry(self, at: int, end: int) -> list[str]:
        """The values of an entry that has the word for a key."""
        fields = [(field, self.data[start:stop]) for field, start, stop in self._fields(at, end)]
        if (_KEY, _WORD) not in fields:
            return []
        return [value.decode("utf-8", "surrogateescape") for field, value in fields if field == _VALUE] or [""]

    def _holds_word(self, at: int, end: int) -> bool:
        first = bisect_left(self.words, at)
        return first < len(self.words) and self.words[first] + len(_WORD) <= end

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Number, start and end of each field that holds bytes."""
        while at < end:
            tag, at = self._varint(at, end)
            field, kind = tag >> 3, tag & 7
            if not 0 < field <= _LAST_FIELD:
                raise ValueError(f"a field of number {field}")
            if kind == _VARINT:
                _, at = self._varint(at, end)
                continue
            if kind == _BYTES:
                size, at = self._varint(at, end)
                if size > _LARGEST:
                    raise ValueError(f"a field of {size} bytes")
                if at + size <= end:
                    yield field, at, at + size
            elif kind in (_FIXED_64, _FIXED_32):
                size = 8 if kind == _FIXED_64 else 4
            else:
                raise ValueError(f"a field of wire type {kind}")
            at += size
            if at > end:
                raise ValueError("a field that ends after its message")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """A number that begins at `at`, and where it ends."""
        value = 0
        for index, byte in enumerate(self.data[at : min(at + _VARINT_BYTES, end)]):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at + index + 1
        raise ValueError("a number without an end")
