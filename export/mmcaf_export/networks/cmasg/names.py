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
        elif keep.is_floating_point() and not keep.is_meta and bool(((keep == 0) | (keep == 1)).all()):
            keep = keep.bool()
        renamed[f"sparse_gate.keep_l0{ending}"] = keep
    return renamed


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
        **found,
    )


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
