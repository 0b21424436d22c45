"""Checkpoints that training on several devices leaves in parts: which is which, and how to put one together."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmcaf_engine.errors import ExportError, Remedy

_ZERO = Remedy(
    "Put the parts together in the folder above, with the script that DeepSpeed leaves there, and export its output",
    command="python zero_to_fp32.py . weights --safe_serialization",
)
_FULL = (
    "Save it whole: get_model_state_dict(network, options=StateDictOptions(full_state_dict=True, cpu_offload=True)) "
    "of torch.distributed.checkpoint.state_dict, on all ranks, and torch.save of it on the first."
)

UNCONSOLIDATED: dict[str, tuple[str, Remedy | str]] = {
    "deepspeed": ("one part of a DeepSpeed checkpoint", _ZERO),
    "torch.distributed._shard": (
        "one rank's shards of an FSDP checkpoint (ShardedTensor)",
        _FULL,
    ),
    "torch.distributed._tensor": (
        "one rank's shards of a distributed checkpoint (DTensor)",
        _FULL,
    ),
    "torch.distributed.tensor": (
        "one rank's shards of a distributed checkpoint (DTensor)",
        _FULL,
    ),
    "torch.distributed.device_mesh": ("one rank's shards of a distributed checkpoint", _FULL),
}
"""Beginning of a class's name in a pickle -> what the file is, and how to put it together."""

_FLAT = re.compile(r"(^|\.)_?flat_param(_\d+)?$")
_PARTIAL_ZERO = re.compile(r"zero_pp_rank_\d+_mp_rank_\d+_(model|optim)_states\.pt$")


def refuse_parts(path: Path, document: Mapping[Any, Any]) -> None:
    """Refuse a DeepSpeed file that holds a part of the weights.

    Raises:
        ExportError: it does.
    """
    if not {"ds_version", "ds_config", "param_shapes"} & set(document):
        return
    module, shapes = document.get("module"), document.get("param_shapes")
    empty = isinstance(module, Mapping) and any(isinstance(v, Tensor) and v.shape == (0,) for v in module.values())
    if _PARTIAL_ZERO.search(path.name) or (empty and shapes) or not isinstance(module, Mapping):
        raise ExportError(f"{path}: one rank's part of a DeepSpeed checkpoint (ZeRO).", _ZERO)
    parallel = document.get("mp_world_size")
    others = [other.name for other in path.parent.glob("mp_rank_*_model_states.pt") if other.name != path.name]
    if (isinstance(parallel, int) and parallel > 1) or (re.match(r"mp_rank_\d+_", path.name) and others):
        raise ExportError(
            f"{path}: one of several tensor-parallel parts of a DeepSpeed checkpoint.",
            "Merge the parts with the training code, and save one state_dict.",
        )


def refuse_flat(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse FSDP's local state, whose parameters are flattened into one.

    Raises:
        ExportError: it is.
    """
    if any(_FLAT.search(name) for name in state):
        raise ExportError(f"{path}: one rank's flattened parameters of an FSDP checkpoint (flat_param).", _FULL)


def refuse_distributed(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are more than their values, as those that are spread over devices.

    Raises:
        ExportError: some are.
    """
    for name, value in state.items():
        if type(value) not in (Tensor, nn.Parameter, nn.Buffer):
            raise ExportError(f"{path}: {name} is a {type(value).__name__}, not a plain tensor.", _FULL)


def refuse_folder(path: Path) -> None:
    """Refuse a folder that distributed training wrote, by name.

    Raises:
        ExportError: it is one.
        OSError: it cannot be looked into.
    """
    if any(path.glob("*.distcp")):
        raise _distributed(path, path)
    if any([*path.glob("*_states.pt"), *path.glob("*/*_states.pt")]):
        whole = sorted([*path.glob("mp_rank_*_model_states.pt"), *path.glob("*/mp_rank_*_model_states.pt")])
        hint = f" Or export {whole[0].name} in it, where that is the only one." if len(whole) == 1 else ""
        raise ExportError(f"{path}: a folder of a DeepSpeed checkpoint, not one file.{hint}", _ZERO)


def refuse_part_of_folder(path: Path) -> None:
    """Refuse a file of such a folder, which its name tells.

    Raises:
        ExportError: it is one.
    """
    if path.suffix == ".distcp":
        raise _distributed(path, path.parent)


def _distributed(path: Path, folder: Path) -> ExportError:
    words = ["-m", "torch.distributed.checkpoint.format_utils", "dcp_to_torch", str(folder), f"{folder.name}.pth"]
    return ExportError(
        f"{path}: a folder of torch.distributed.checkpoint (DCP), or a part of one.",
        Remedy("Put it together, and export the file", command=shlex.join(["python", *words])),
    )
