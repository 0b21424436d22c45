"""Checkpoints of CMASG-Bi-LSTM: other spellings of its names, and the configuration that its shapes tell."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..bert import bert_config, bert_names
from ..entry import whole_number
from .config import STEM, CmasgConfig
from .recurrent import DIRECTIONS
from .resnet import BLOCKS

SIGNATURE = ("image_projection.weight", "text_projection.weight", "bilstm.weight_ih_l0", "classifier.weight")
UNREAD = r"image_encoder\.fc\..*|(?:sparse_gate\.|bilstm\.)?kept_units_l0(?:_reverse)?"

_STEM = "image_encoder.conv1.weight"
_TEXT = "text_encoder."
_GATE = "sparse_gate.weight_l0"
_BLOCK = re.compile(r"image_encoder\.layer([1-4])\.(\d+)\.conv([1-3])\.weight")
_STEPS = "sparse_gate.keep_steps_l0"
_TOLD = ("gate_value", "gate_state", "output_gate_source", "pooling", "normalisation")
"""Settings that no shape tells: entries of the file's metadata."""


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """BERT's names without prefix and in their newer form, and for every gate the bits that tell its kept units.

    A file without these bits has them from log_alpha, what training by the hard concrete distribution learned: a unit
    is kept where it is not negative (Louizos et al., ICLR 2018, with limits -0.1 and 1.1). Without either all are kept.
    """
    if not all(key in state for key in SIGNATURE):
        return dict(state)
    renamed = bert_names(state, _TEXT)
    for ending in DIRECTIONS:
        gate = renamed.get(f"{_GATE}{ending}")
        alpha = renamed.pop(f"sparse_gate.log_alpha_l0{ending}", None)
        if gate is None:
            continue
        keep = renamed.get(f"sparse_gate.keep_l0{ending}")
        if keep is None:
            keep = torch.ones(len(gate), dtype=torch.bool, device=gate.device) if alpha is None else alpha >= 0
        renamed[f"sparse_gate.keep_l0{ending}"] = _bits(keep)
        if (steps := renamed.get(f"{_STEPS}{ending}")) is not None:
            renamed[f"{_STEPS}{ending}"] = _bits(steps)
    return renamed


def _bits(values: Tensor) -> Tensor:
    """Numbers that are all 0 or 1 as bits; others as they are, for the comparison with the network to refuse."""
    if values.is_floating_point() and not values.is_meta and bool(((values == 0) | (values == 1)).all()):
        return values.bool()
    return values


def configuration(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> CmasgConfig:
    """The configuration of a checkpoint that holds the signature, under the network's own names.

    Raises:
        ValueError: what no configuration gives.
    """
    if any(key.startswith("bilstm.") and "_l1" in key for key in state):
        raise ValueError("its LSTM has more than one layer; one is expected")
    stem = state.get(_STEM)
    if stem is None or stem.ndim != 4:
        raise ValueError(f"{_STEM}, which tells the image encoder's width, is missing or no kernel")
    _check_resnet(state)
    found: dict[str, Any] = {name: metadata[name] for name in _TOLD if name in metadata}
    heads = whole_number("text_heads", metadata["text_heads"]) if "text_heads" in metadata else None
    bert = bert_config(state, _TEXT, heads)
    for name in ("vocabulary", "width", "layers", "heads", "intermediate", "positions", "types"):
        found[f"text_{name}"] = getattr(bert, name)
    # What is missing is left for the comparison with the network to name.
    backward = state.get("bilstm.weight_ih_l0_reverse", state["bilstm.weight_ih_l0"])
    return CmasgConfig(
        size=whole_number("size", metadata.get("size", str(CmasgConfig.size))),
        width=len(stem) / STEM,
        features=len(state["image_projection.weight"]),
        hidden=len(state["bilstm.weight_ih_l0"]) // 4,
        hidden_reverse=len(backward) // 4,
        classes=len(state["classifier.weight"]),
        cross_attention="cross_attention.image_norm.weight" in state,
        attention_projections="cross_attention.query_projection.weight" in state,
        sparse_gate=_GATE in state,
        gate_input="xh" if "sparse_gate.hidden_weight_l0" in state else "x",
        modality_softmax="modality_softmax.weight" in state,
        keep_steps=_steps(state, metadata),
        gate_density=_yes_or_no("gate_density", metadata.get("gate_density", "false")),
        **found,
    )


def _steps(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> int:
    """How many steps the bits of steps are for; 0 without such bits."""
    held = [(key, state[key]) for ending in DIRECTIONS if (key := f"{_STEPS}{ending}") in state]
    for key, bits in held:
        if bits.ndim != 2:
            raise ValueError(f"{key} has the shape {list(bits.shape)}; expected [steps, units]")
    counts = {len(bits) for _, bits in held}
    if len(counts) > 1:
        raise ValueError(f"{_STEPS} is for {len(held[0][1])} steps and {_STEPS}_reverse for {len(held[1][1])}")
    found = next(iter(counts), 0)
    if "keep_steps" in metadata and whole_number("keep_steps", metadata["keep_steps"]) != found:
        raise ValueError(
            f"the file's metadata says keep_steps={metadata['keep_steps']!r:.40}, but {_STEPS} is "
            + (f"for {found} steps" if found else "missing")
        )
    return found


def _yes_or_no(name: str, text: str) -> bool:
    if text.casefold() not in ("true", "false"):
        raise ValueError(f"the file's metadata says {name}={text!r:.40}; expected true or false")
    return text.casefold() == "true"


def _check_resnet(state: Mapping[str, Tensor]) -> None:
    counts = [0] * len(BLOCKS)
    for key in state:
        if (found := _BLOCK.fullmatch(key)) and found.group(3) == "3":
            counts[int(found.group(1)) - 1] += 1
    if tuple(counts) != BLOCKS:
        raise ValueError(
            f"its image encoder has layers of {', '.join(map(str, counts))} bottlenecks; a ResNet-50 has "
            f"{', '.join(map(str, BLOCKS))}"
        )
