"""A checkpoint's tensors held against the network's: every difference found is named at once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmcaf_engine.errors import ExportError

from .checkpoint import Checkpoint

_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True)
class MatchReport:
    """What was taken from a checkpoint, and what was not.

    state: every entry of the network -> its tensor, float32, or whole numbers of the network's own type.
    ignored: checkpoint entries that the answer does not depend on.
    absent: entries of that kind which the network has and the checkpoint has not.
    converted: entries stored in another floating-point type than float32.
    """

    state: dict[str, Tensor] = field(repr=False)
    ignored: tuple[str, ...]
    absent: tuple[str, ...]
    converted: tuple[str, ...]


def match_state(expected: Mapping[str, Tensor], checkpoint: Checkpoint, dead: Sequence[str]) -> MatchReport:
    """Hold a checkpoint against the network it is to fill.

    Args:
        expected: the network's state_dict; only names and shapes are looked at, so it may be on "meta".
        checkpoint: from `load_checkpoint`.
        dead: regular expressions of keys that the answer does not depend on; they may miss or be extra.

    Raises:
        ExportError: one that lists every missing, unexpected, mis-shaped, mis-typed and non-finite entry.
    """
    pattern = re.compile("|".join(f"(?:{rule})" for rule in dead))
    found = checkpoint.state
    ignored = tuple(key for key in found if pattern.fullmatch(key))
    absent = tuple(key for key in expected if key not in found and pattern.fullmatch(key))
    problems: dict[str, list[str]] = {
        "missing": [f"{key} ({_shape(expected[key])})" for key in expected if key not in found and key not in absent],
        "unexpected": [f"{key} ({_shape(found[key])})" for key in found if key not in expected and key not in ignored],
        "wrong": [],
    }
    state: dict[str, Tensor] = {}
    converted: list[str] = []
    for key, wanted in expected.items():
        if key.endswith(_COUNTER):
            state[key] = torch.zeros((), dtype=torch.int64)
        elif key in found:
            fault = _fault(found[key], wanted)
            if fault:
                problems["wrong"].append(f"{key} ({fault})")
                continue
            state[key] = found[key].to(torch.float32 if wanted.is_floating_point() else wanted.dtype)
            if wanted.is_floating_point() and found[key].dtype != torch.float32:
                converted.append(key)
    count = sum(map(len, problems.values()))
    if count:
        listed = "; ".join(f"{kind}: {', '.join(entries)}" for kind, entries in problems.items() if entries)
        raise ExportError(
            f"{checkpoint.path}: {count} of its entries do not fit the network. {listed}.",
            "Check that this checkpoint belongs to the network and was saved whole.",
        )
    return MatchReport(state, ignored, absent, tuple(converted))


def _fault(tensor: Tensor, wanted: Tensor) -> str | None:
    kind = "floating-point" if wanted.is_floating_point() else "whole-number"
    fits = tensor.is_floating_point() == wanted.is_floating_point() and not tensor.is_complex()
    if tensor.layout != torch.strided or tensor.is_quantized or not fits:
        return f"stored as {tensor.dtype}, {tensor.layout}; a dense {kind} tensor was expected"
    if tensor.shape != wanted.shape:
        return f"{_shape(tensor)} came, {_shape(wanted)} was expected"
    finite = torch.isfinite(tensor.to(torch.float32))
    if not bool(finite.all()):
        return f"{tensor.numel() - int(finite.sum())} of {tensor.numel()} values are NaN or infinite"
    return None


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
