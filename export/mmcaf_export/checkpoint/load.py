"""A checkpoint's file, told from its content, to the weights that are meant."""

import dataclasses
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mmcaf_engine.bundle.hashing import file_sha256
from mmcaf_engine.errors import ExportError, Remedy, UsageError
from mmcaf_engine.files import look_at, require_file
from mmcaf_engine.files import reading as named

from .convert import convert
from .find import find_state
from .foreign import refuse_other, refuse_other_zip
from .model import SAFETENSORS, SHARDED, STATE_DICT, TRAINING, Checkpoint, Reading
from .names import unwrapped
from .parallel import refuse_distributed, refuse_flat, refuse_folder, refuse_part_of_folder, refuse_parts
from .restricted import read_pickle
from .safetensors_file import is_safetensors, read_safetensors
from .shards import INDEXES, joint_sha256, read_shards, refuse_one_shard

_AT_LEAST = 64 * 2**20
"""Bytes that tensors may take in any case, where they share what little there is in the file."""
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The magic number that files of torch.save began with before version 1.6, as a pickle."""


def load_checkpoint(path: str | Path, reading: Reading | None = None) -> Checkpoint:
    """Read a .pth or .pt file, whole training checkpoint or bare state_dict, a .safetensors file, or shards of either.

    The format is told from the content. Pickles go through torch's restricted reader alone; besides tensors and plain
    values it admits the names of `restricted.STANDS_IN`, which are data. Anything else in a pickle is refused, with no
    second try. What to pass over is settled by `reading`, or it is refused where the file leaves it open.

    Raises:
        ExportError: missing, damaged, no checkpoint, more than data, or open to more than one reading.
        UsageError: a `reading` that no file can fit.
    """
    path, reading = Path(path), reading or Reading()
    _check(reading)
    found = look_at(path, ExportError)
    if found is not None and stat.S_ISDIR(found.st_mode):
        with named(path, ExportError):
            refuse_folder(path)
            path = next((path / name for name in INDEXES if (path / name).is_file()), path)
    require_file(path, error=ExportError)  # It is read more than once.
    with named(path, ExportError):
        with path.open("rb") as stream:
            start = stream.read(512)
        sha256 = file_sha256(path)
    refuse_part_of_folder(path)
    metadata: dict[str, str] = {}
    shards: Mapping[str, str] = {}
    if start.startswith(b"PK\x03\x04"):
        document = _read_zip(path)
    elif is_safetensors(start):
        document, metadata = read_safetensors(path)
    elif start.startswith(_LEGACY):
        document = read_pickle(path, mapped=False)
    elif start.lstrip()[:1] == b"{":
        document, shards = read_shards(path, _read_zip)
        sha256 = joint_sha256([sha256, *shards.values()])
    else:
        raise refuse_other(path, start)
    kind = SHARDED if shards else SAFETENSORS if is_safetensors(start) else STATE_DICT
    if kind == SAFETENSORS or shards:
        refuse_key(path, reading)
    elif isinstance(document, Mapping):
        refuse_parts(path, document)
    if not shards:
        refuse_one_shard(path)
    chosen = find_state(document, path, reading)
    if kind == STATE_DICT and chosen.path:
        kind = TRAINING
        name = document.get("model_name") if isinstance(document, Mapping) else None
        metadata = {"model_name": name} if isinstance(name, str) else {}
    refuse_flat(path, chosen.state)
    refuse_distributed(path, chosen.state)
    _refuse_inflated(path, chosen.state, sum(Path(path.parent, name).stat().st_size for name in shards))
    state, stripped = unwrapped(chosen.state)
    checkpoint = Checkpoint(
        path,
        kind,
        sha256,
        state,
        metadata,
        chosen.path,
        chosen.averaged,
        (*chosen.stripped, *stripped),
        chosen.left_out,
        shards,
    )
    return checkpoint if reading.prefix is None else with_prefix(checkpoint, reading.prefix)


def with_prefix(checkpoint: Checkpoint, prefix: str) -> Checkpoint:
    """Only the names that begin with it, without it.

    Raises:
        ExportError: there are none.
    """
    prefix = prefix if prefix.endswith(".") else f"{prefix}."
    below = {name.removeprefix(prefix): value for name, value in checkpoint.state.items() if name.startswith(prefix)}
    if not below:
        there = list(dict.fromkeys(name.partition(".")[0] for name in checkpoint.state))
        raise ExportError(
            f"{checkpoint.path}: no name begins with {prefix!r}; they begin with {', '.join(there[:12])}.",
            Remedy("Correct it", option="prefix"),
        )
    state, wrappers = unwrapped(below)
    outside = tuple(name for name in checkpoint.state if not name.startswith(prefix))
    return dataclasses.replace(
        checkpoint,
        state=state,
        stripped=(*checkpoint.stripped, prefix, *wrappers),
        left_out=(*checkpoint.left_out, *outside),
    )


def refuse_key(path: Path, reading: Reading) -> None:
    """Refuse a path within a file that has none.

    Raises:
        ExportError: one is asked for.
    """
    if reading.key is not None:
        raise ExportError(
            f"{path}: a safetensors file holds tensors under names alone, and no {reading.key!r} with further ones.",
            Remedy("Take the names that begin with it", option="prefix", value=f"{reading.key}."),
        )


def _check(reading: Reading) -> None:
    if reading.weights not in (None, "ema", "raw"):
        raise UsageError(
            f"{reading.weights!r}: ema or raw was expected.", Remedy("Correct it", option="weights", value="ema")
        )
    if reading.prefix is not None and not reading.prefix.strip("."):
        raise UsageError(
            "An empty prefix takes every name.", Remedy("Leave it out, or as in", option="prefix", value="model.")
        )


def _read_zip(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as failure:
        raise ExportError(
            f"{path}: cannot be read as a PyTorch checkpoint: {failure}. It is damaged or was cut off.",
            "Copy the file again; if that does not help, save it anew on the training machine.",
        ) from None
    refuse_other_zip(path, entries)
    size = path.stat().st_size
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ExportError(
            f"{path}: a PyTorch file that was packed again with compression: {size:,} bytes that say they hold "
            f"{sum(entry.file_size for entry in entries):,}. torch.save stores what it writes as it is.",
            convert(path),
        )
    return read_pickle(path, mapped=True)


def _refuse_inflated(path: Path, state: Mapping[str, Tensor], further: int) -> None:
    """Refuse tensors that are much larger than what the file holds of them, as views of the same few values are."""
    size = path.stat().st_size + further
    claimed = sum(value.numel() * value.element_size() for value in state.values() if not value.is_meta)
    if claimed > 4 * size + _AT_LEAST:
        raise ExportError(
            f"{path}: its tensors are {claimed:,} bytes of the same values over and over, in a file of {size:,}.",
            "Save them as they are used: {name: value.contiguous().clone() for name, value in state.items()}",
        )
