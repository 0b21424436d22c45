"""JSON from untrusted files: bounded size and depth, no duplicate keys, no NaN or Infinity."""

import json
import math
import shlex
from pathlib import Path
from typing import Any

from .errors import MmcafError, Remedy
from .files import read_bounded

MAX_JSON_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64


def parse_json(data: bytes, *, name: str, error: type[MmcafError], max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Parse UTF-8 JSON (RFC 8259) strictly.

    Args:
        data: the document.
        name: how messages call it, usually its path.
        error: the class to raise.
        max_bytes: documents above this size are refused.

    Raises:
        error: not UTF-8, not JSON, a duplicate key, NaN or an infinite number, too large or too deep.
    """
    if len(data) > max_bytes:
        raise error(f"{name}: {len(data)} bytes of JSON; at most {max_bytes} are read.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        raise error(
            f"{name}: not UTF-8 text (byte 0x{data[failure.start]:02x} at offset {failure.start}).",
            "Save the file as UTF-8.",
        ) from None

    def refuse_constant(token: str) -> float:
        raise error(f"{name}: {token} is not a number that JSON allows.", "Give a finite number or null.")

    def finite(token: str) -> float:
        value = float(token)
        if not math.isfinite(value):
            raise error(
                f"{name}: the number {token[:40]} is too large.",
                "Give a finite number or null.",
                discreet=f"{name}: a number is too large.",
            )
        return value

    def bounded(token: str) -> int:
        if len(token) > 20:
            raise error(
                f"{name}: the whole number {token[:20]}... has {len(token)} digits; at most 20 are read.",
                discreet=f"{name}: a whole number has {len(token)} digits; at most 20 are read.",
            )
        return int(token)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        seen = set()
        for key, _ in pairs:
            if key in seen:
                break
            seen.add(key)
        raise error(
            f'{name}: the key "{key[:80]}" appears twice.',
            "Keep one of them.",
            discreet=f"{name}: a key appears twice.",
        )

    try:
        document = json.loads(
            text,
            parse_constant=refuse_constant,
            parse_float=finite,
            parse_int=bounded,
            object_pairs_hook=unique,
        )
    except json.JSONDecodeError as failure:
        raise error(
            f"{name}: not JSON: {failure.msg} at line {failure.lineno}, column {failure.colno}.",
            Remedy("Check it", command=shlex.join(["python", "-m", "json.tool", name])),
        ) from None
    except RecursionError:
        raise error(f"{name}: nested too deeply; at most {MAX_DEPTH} levels are read.") from None
    if _depth_exceeds(document, MAX_DEPTH):
        raise error(f"{name}: nested too deeply; at most {MAX_DEPTH} levels are read.")
    return document


def read_json(path: Path, *, error: type[MmcafError], max_bytes: int = MAX_JSON_BYTES, streams: bool = False) -> Any:
    """Read and parse one JSON file; see `parse_json`.

    Args:
        streams: as `files.read_bounded`.

    Raises:
        error: the file is missing, unreadable, or refused by `parse_json`.
    """
    data = read_bounded(path, error=error, max_bytes=max_bytes, streams=streams)
    return parse_json(data, name=str(path), error=error, max_bytes=max_bytes)


def _depth_exceeds(document: Any, limit: int) -> bool:
    level = [document]
    for _ in range(limit):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
