"""A checkpoint's tensors held against the network's: every difference found is named at once."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from mmcaf_engine.errors import ExportError, Remedy

from .checkpoint import Checkpoint
from .checkpoint.names import without_module

_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True)
class MatchReport:
    """What was taken from a checkpoint, and what was not.

    state: every entry of the network -> its tensor, float32, or whole numbers of the network's own type.
    ignored: checkpoint entries that the answer does not depend on.
    absent: entries of that kind which the network has and the checkpoint has not.
    converted: entries stored in another floating-point type than float32.
    types: such a type -> how many entries.
    left_out: entries that the network has no use for and that were allowed to be there.
    renamed: whether `module` was removed from within names.
    """

    state: dict[str, Tensor] = field(repr=False)
    ignored: tuple[str, ...]
    absent: tuple[str, ...]
    converted: tuple[str, ...]
    types: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    renamed: bool = False


def match_state(
    expected: Mapping[str, Tensor], checkpoint: Checkpoint, dead: Sequence[str], allow_extra: Sequence[str] = ()
) -> MatchReport:
    """Hold a checkpoint against the network it is to fill.

    Args:
        expected: the network's state_dict; only names and shapes are looked at, so it may be on "meta".
        checkpoint: from `load_checkpoint`.
        dead: regular expressions of keys that the answer does not depend on; they may miss or be extra.
        allow_extra: patterns, as of file names, of entries that may be extra.

    Raises:
        ExportError: one that lists every missing, unexpected, mis-shaped, mis-typed and non-finite entry; or a pattern
            fits no extra entry.
    """
    pattern = re.compile("|".join(f"(?:{rule})" for rule in dead))
    found, renamed = _without_module(checkpoint.state, expected)
    ignored = tuple(key for key in found if pattern.fullmatch(key))
    missing = [key for key in expected if key not in found]
    absent = tuple(key for key in missing if pattern.fullmatch(key) or key.endswith(_COUNTER))
    extra = [key for key in found if key not in expected and key not in ignored]
    left_out = _allowed(extra, checkpoint, allow_extra)
    unexpected = [key for key in extra if key not in left_out]
    problems: dict[str, list[str]] = {
        "missing": [f"{key} ({_shape(expected[key])})" for key in missing if key not in absent],
        "unexpected": [f"{key} ({_shape(found[key])})" for key in unexpected],
        "wrong": [],
    }
    state: dict[str, Tensor] = {}
    converted: list[str] = []
    cures: dict[str, None] = {}
    for key, wanted in expected.items():
        if key.endswith(_COUNTER):
            state[key] = torch.zeros((), dtype=torch.int64)
        elif key in found:
            fault, cure = _fault(found[key], wanted)
            if fault:
                problems["wrong"].append(f"{key} ({fault})")
                cures[cure] = None
                continue
            state[key] = found[key].to(torch.float32 if wanted.is_floating_point() else wanted.dtype)
            if wanted.is_floating_point() and found[key].dtype != torch.float32:
                converted.append(key)
    count = sum(map(len, problems.values()))
    if count:
        listed = "; ".join(f"{kind}: {', '.join(entries)}" for kind, entries in problems.items() if entries)
        remedies: list[str | Remedy] = [cure for cure in cures if cure]
        if len(unexpected) == count:
            remedies.append(_allow(unexpected))
        raise ExportError(
            f"{checkpoint.path}: {count} of its entries do not fit the network. {listed}.",
            *(remedies or ["Check that this checkpoint belongs to the network and was saved whole."]),
        )
    types = Counter(str(found[key].dtype).removeprefix("torch.") for key in converted)
    return MatchReport(state, ignored, absent, tuple(converted), dict(types), left_out, renamed)


def _without_module(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """The tensors without `module` within names that the network does not have but, without it, does."""
    names = {}
    for key in found:
        bare = without_module(key)
        names[key] = bare if key not in expected and bare in expected and bare not in found else key
    if len(set(names.values())) < len(names):
        return dict(found), False
    return {names[key]: value for key, value in found.items()}, any(key != name for key, name in names.items())


def _allowed(extra: Sequence[str], checkpoint: Checkpoint, patterns: Sequence[str]) -> tuple[str, ...]:
    """Of the entries that the network has no use for, those that the patterns allow."""
    for pattern in patterns:
        if not any(fnmatchcase(key, pattern) for key in (*extra, *checkpoint.left_out)):
            there = f"there: {', '.join(extra[:8])}" if extra else "there are none"
            raise ExportError(
                f"{checkpoint.path}: no entry that the network has no use for fits {pattern!r}; {there}.",
                Remedy("Correct it", option="allow_extra"),
            )
    return tuple(key for key in extra if any(fnmatchcase(key, pattern) for pattern in patterns))


def _allow(unexpected: Sequence[str]) -> Remedy:
    first = unexpected[0].partition(".")
    return Remedy(
        "If the network answers without them, leave them out",
        option="allow_extra",
        value=f"{first[0]}.*" if first[1] else first[0],
    )


def _fault(tensor: Tensor, wanted: Tensor) -> tuple[str, str]:
    """What is wrong with a tensor, and what to do where that is not for everybody to guess; empty if nothing is."""
    kind = "floating-point" if wanted.is_floating_point() else "whole-number"
    fits = tensor.is_floating_point() == wanted.is_floating_point() and not tensor.is_complex()
    quantized = tensor.is_quantized or (tensor.dtype.itemsize == 1 and wanted.is_floating_point())
    if tensor.is_meta:
        return "without values, on the device meta", "Save the weights after they were loaded onto a device."
    if tensor.layout != torch.strided or quantized or not fits:
        stored = f"stored as {tensor.dtype}, {tensor.layout}; a dense {kind} tensor was expected"
        return stored, "Export the checkpoint that it was quantized from." if quantized else ""
    if tensor.shape != wanted.shape:
        return f"{_shape(tensor)} came, {_shape(wanted)} was expected", ""
    if not wanted.is_floating_point() and not bool((tensor.to(wanted.dtype).to(tensor.dtype) == tensor).all()):
        return f"values of {tensor.dtype} that {wanted.dtype} cannot hold", ""
    finite = torch.isfinite(tensor.to(torch.float32))
    if not bool(finite.all()):
        return f"{tensor.numel() - int(finite.sum())} of {tensor.numel()} values are NaN or infinite", ""
    return "", ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
