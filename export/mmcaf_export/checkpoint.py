"""Checkpoints read as data: tensors and plain values, never code."""

import argparse
import json
import pickle
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcaf_engine.bundle.hashing import file_sha256
from mmcaf_engine.errors import ExportError
from mmcaf_engine.files import reading, require_file

TRAINING, STATE_DICT, SAFETENSORS = "training checkpoint", "state_dict", "safetensors"

_STATE_KEYS = ("model_state", "state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.")  # left by DataParallel and torch.compile
_MAX_HEADER = 100_000_000  # safetensors' own limit


@dataclass(frozen=True)
class Checkpoint:
    """Weights as found in a file.

    state: parameter name without wrappers' prefixes -> tensor, backed by the file where possible.
    metadata: what the file says of itself, e.g. network, slices, size.
    kind: TRAINING, STATE_DICT or SAFETENSORS.
    """

    path: Path
    kind: str
    sha256: str
    state: dict[str, Tensor]
    metadata: dict[str, str]


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a .pth or .pt file, whole training checkpoint or bare state_dict, or a .safetensors file.

    The format is told from the content. Pickles go through torch's restricted reader alone; besides
    tensors and plain values it admits argparse.Namespace, which training scripts store their options
    in and which holds attributes only. Anything else in a pickle is refused, with no second try.

    Raises:
        ExportError: missing, damaged, no checkpoint, or a pickle that holds more than data.
    """
    path = Path(path)
    require_file(path, error=ExportError)  # It is read more than once.
    with reading(path, ExportError):
        with path.open("rb") as stream:
            start = stream.read(16)
        sha256 = file_sha256(path)
    if start.startswith(b"PK\x03\x04"):
        kind, raw, metadata = _read_torch(path)
    elif start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _MAX_HEADER:
        kind = SAFETENSORS
        raw, metadata = _read_safetensors(path)
    elif start.startswith(b"\x80"):
        raise ExportError(
            f"{path}: a pickle in the format of PyTorch before 1.6, which can only be read by running it.",
            _convert(path),
        )
    else:
        raise ExportError(
            f"{path}: not a checkpoint; it begins with {start!r}, a PyTorch zip (.pth, .pt) or a .safetensors "
            "file was expected.",
            "Check the path.",
        )
    return Checkpoint(path, kind, sha256, _clean(raw, path), metadata)


def _read_torch(path: Path) -> tuple[str, Mapping[Any, Any], dict[str, str]]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            document = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as failure:
        raise ExportError(
            f"{path}: holds {_culprit(failure)}, which is not data. Tensors, numbers, text, lists and dicts were "
            "expected; to read more would run code from the file.",
            _convert(path),
        ) from None
    except Exception as failure:
        raise ExportError(
            f"{path}: cannot be read as a PyTorch checkpoint: {_first_line(failure)}",
            "Copy the file again; if that does not help, save it anew on the training machine.",
        ) from None
    if not isinstance(document, Mapping):
        raise ExportError(f"{path}: holds a {type(document).__name__}; a dict of tensors was expected.", _convert(path))
    for key in _STATE_KEYS:
        inner = document.get(key)
        if isinstance(inner, Mapping):
            name = document.get("model_name")
            return TRAINING, inner, {"model_name": name} if isinstance(name, str) else {}
    return STATE_DICT, document, {}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as archive:
            return {key: archive.get_tensor(key) for key in archive.keys()}, dict(archive.metadata() or {})  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as failure:
        raise ExportError(
            f"{path}: cannot be read as safetensors: {_first_line(failure)}", "Copy the file again."
        ) from None


def _clean(raw: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """The same tensors under the network's own names."""
    others = [f"{key} ({type(value).__name__})" for key, value in raw.items() if not isinstance(value, Tensor)]
    if others or not raw:
        found = f"{len(others)} entries that are no tensors: {', '.join(others[:8])}" if others else "no tensors"
        raise ExportError(
            f"{path}: holds {found}. A state_dict, or a dict with one under {', '.join(_STATE_KEYS)}, was expected.",
            "Save the weights with: torch.save(network.state_dict(), 'weights.pth')",
        )
    state = {str(key): value for key, value in raw.items()}
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _culprit(failure: Exception) -> str:
    """The class or function that stopped the restricted reader, as far as it tells."""
    found = re.search(r"GLOBAL ([\w.]+)", str(failure)) or re.search(r"class[^\w]+([\w.]+)", str(failure))
    return found.group(1) if found else f"something unreadable ({_first_line(failure)})"


def _first_line(failure: Exception) -> str:
    lines = str(failure).strip().splitlines()
    return lines[0][:200] if lines else type(failure).__name__


def _convert(path: Path) -> str:
    source, target = (json.dumps(name, ensure_ascii=False) for name in (path.name, f"{path.stem}.safetensors"))
    code = (
        "import torch; from safetensors.torch import save_file; "
        f'c = torch.load({source}, map_location="cpu", weights_only=False); '
        f"c = next((c[k] for k in {json.dumps(_STATE_KEYS)} if k in c), c) if isinstance(c, dict) else c; "
        'c = c.state_dict() if hasattr(c, "state_dict") else c; '
        f"save_file({{k: v.contiguous().clone() for k, v in c.items()}}, {target})"
    )
    return f"Convert it on the machine that trained it, where it is trusted: python -c {shlex.quote(code)}"
