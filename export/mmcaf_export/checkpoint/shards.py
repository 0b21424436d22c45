"""Weights in several files, and the index that says which lies in which."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mmcaf_engine.bundle.hashing import file_sha256
from mmcaf_engine.errors import ExportError
from mmcaf_engine.files import read_bounded, reading, require_file
from mmcaf_engine.strict_json import parse_json

from .safetensors_file import is_safetensors, read_safetensors

INDEXES = (
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)
"""Names of indexes that a folder is read by."""

_MAX_INDEX = 64 * 2**20
_PLAIN = re.compile(r"[^/\\:\x00-\x1f]+")
_ONE_OF = re.compile(r"-(\d{5})-of-(\d{5})\.(safetensors|bin|pt|pth)$")
_WHOLE = "Copy the whole folder again, index and shards together."


def read_shards(path: Path, read_pickled: Callable[[Path], Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors that an index names, and the SHA-256 of each shard.

    Raises:
        ExportError: the file is no index, a shard is missing, lies elsewhere or differs from what the index says of it.
    """
    index = parse_json(
        read_bounded(path, error=ExportError, max_bytes=_MAX_INDEX),
        name=str(path),
        error=ExportError,
        max_bytes=_MAX_INDEX,
    )
    placed = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(placed, dict) or not placed:
        raise ExportError(
            f"{path}: JSON, but no index of a checkpoint's shards (its weight_map is missing or empty).",
            "Export the file that holds the weights.",
        )
    for name, shard in placed.items():
        if not isinstance(shard, str) or not _PLAIN.fullmatch(shard) or shard in (".", ".."):
            raise ExportError(
                f"{path}: {name} is said to lie in {shard!r}; a file beside the index was expected.", _WHOLE
            )
    names = sorted(set(placed.values()))
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise ExportError(
            f"{path}: {len(missing)} of {len(names)} shards are missing: {', '.join(missing[:8])}.", _WHOLE
        )
    state: dict[str, Tensor] = {}
    hashes: dict[str, str] = {}
    for name in names:
        tensors, hashes[name] = _read_shard(path.parent / name, read_pickled)
        own = {key for key, shard in placed.items() if shard == name}
        if twice := sorted(set(tensors) & (set(placed) - own)):
            raise ExportError(
                f"{path}: {', '.join(twice[:8])}: in {name}, and by the index in {placed[twice[0]]} too.", _WHOLE
            )
        lacking, unknown = sorted(own - set(tensors)), sorted(set(tensors) - own)
        if lacking or unknown:
            what = [f"lacks {', '.join(lacking[:8])}"] if lacking else []
            what += [f"holds {', '.join(unknown[:8])}, of which the index does not say so"] if unknown else []
            raise ExportError(f"{path}: the shard {name} {' and '.join(what)}.", _WHOLE)
        state |= tensors
    return {name: state[name] for name in placed}, hashes


def joint_sha256(sums: Iterable[str]) -> str:
    """Of several files: that of their SHA-256 in hexadecimal, each on a line that ends. Indexes alone may be equal."""
    return hashlib.sha256("".join(f"{one}\n" for one in sums).encode()).hexdigest()


def refuse_one_shard(path: Path) -> None:
    """Refuse one shard in place of the index.

    Raises:
        ExportError: the name says that it is one of several.
    """
    found = _ONE_OF.search(path.name)
    if found and int(found[2]) > 1:
        raise ExportError(
            f"{path}: shard {int(found[1])} of {int(found[2])}, not the whole weights.",
            "Export the index beside it (.index.json), with all shards in the same folder.",
        )


def _read_shard(path: Path, read_pickled: Callable[[Path], Any]) -> tuple[Mapping[str, Tensor], str]:
    require_file(path, error=ExportError)
    with reading(path, ExportError), path.open("rb") as stream:
        start = stream.read(16)
    sha256 = file_sha256(path)
    if is_safetensors(start):
        return read_safetensors(path)[0], sha256
    document = read_pickled(path) if start.startswith(b"PK\x03\x04") else None
    if not isinstance(document, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in document.items()
    ):
        raise ExportError(f"{path}: no shard of a checkpoint; tensors under names were expected.", _WHOLE)
    return document, sha256
