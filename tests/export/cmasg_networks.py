"""CMASG-Bi-LSTM with weights that follow from their names, and a slim one that is exported once in a run."""

import dataclasses
from pathlib import Path

import torch
from safetensors.torch import save_file

from export.fill import fill
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.cmasg import CmasgConfig, CmasgNet
from mmcaf_export.report import ExportReport
from shared import Shared

SLIM = CmasgConfig(
    size=64,
    width=1 / 16,
    text_vocabulary=60,
    text_width=32,
    text_layers=2,
    text_heads=4,
    text_intermediate=48,
    text_positions=40,
    features=24,
    hidden=24,
    hidden_reverse=24,
)
PRUNED = (1, 4, 5, 9, 14, 15, 17, 20, 22, 23)  # units that are not kept; of the backward direction one fewer
TOLD = ("gate_value", "gate_state", "output_gate_source", "pooling", "size", "text_heads", "gate_density")
SWITCHES: dict[str, dict[str, object]] = {
    "as recommended": {},
    "no cross-attention": {"cross_attention": False},
    "projections": {"attention_projections": True},
    "plain LSTM": {"sparse_gate": False},
    "neither": {"cross_attention": False, "sparse_gate": False},
    "hard": {"gate_value": "hard"},
    "hold": {"gate_state": "hold"},
    "hard, hold": {"gate_value": "hard", "gate_state": "hold"},
    "reads the output": {"gate_input": "xh"},
    "hard, reads the output, hold": {"gate_value": "hard", "gate_input": "xh", "gate_state": "hold"},
    "misprint": {"output_gate_source": "i"},
    "hard, misprint": {"gate_value": "hard", "output_gate_source": "i"},
    "last": {"pooling": "last"},
    "hard, last": {"gate_value": "hard", "pooling": "last"},
    "modalities weighed": {"modality_softmax": True},
    "bits of steps": {"keep_steps": 44},
    "hard, bits of steps, density": {"gate_value": "hard", "keep_steps": 30, "gate_density": True},
    "bits of steps, reads the output, hold": {"keep_steps": 40, "gate_input": "xh", "gate_state": "hold"},
    "unequal directions": {"hidden": 24, "hidden_reverse": 23},
    "three classes, deeper text": {"classes": 3, "text_layers": 3, "features": 40, "size": 96},
}
"""Name -> settings of a variant."""


def variant(**changes: object) -> CmasgConfig:
    """The slim network with another setting."""
    return dataclasses.replace(SLIM, **changes)  # type: ignore[arg-type]


def filled(config: CmasgConfig = SLIM, *, prune: bool = True) -> CmasgNet:
    """A network whose weights follow from their names, in evaluation mode; some units are not kept."""
    with torch.device("meta"):
        network = CmasgNet(config)
    state = {}
    for key, value in network.state_dict().items():
        if ".keep_steps_l0" in key:
            state[key] = torch.from_numpy(fill(key, (len(value), value.shape[1])) > -0.3)
        elif value.dtype == torch.bool:
            state[key] = torch.ones(value.shape, dtype=torch.bool)
            if prune:
                state[key][[unit for unit in PRUNED[key.endswith("_reverse") :] if unit < len(value)]] = False
        elif key.startswith("sparse_gate.bias"):
            state[key] = torch.from_numpy(0.5 * fill(key, (len(value), 1))[:, 0] + 0.2)  # some open, some closed
        else:
            state[key] = torch.from_numpy(fill(key, tuple(value.shape)))
    network.load_state_dict(state, assign=True)
    return network.eval()


def vocabulary(pieces: int) -> str:
    """A vocabulary of so many word pieces, as vocab.txt holds it."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "no", "acute", "disease", "the", "lungs", "are", "clear", "##s", "."]
    return "\n".join([*words, *(f"word{number}" for number in range(len(words), pieces))]) + "\n"


def metadata(config: CmasgConfig) -> dict[str, str]:
    """What its weights do not tell, as its checkpoint's file does."""
    return {name: str(getattr(config, name)) for name in TOLD}


def save_slim(folder: Path) -> dict[str, str]:
    """Write the slim network's checkpoint, weights.safetensors, and its vocabulary; the settings of its export."""
    said = metadata(SLIM) | {"labels": '["clear", "not clear"]'}
    save_file(filled().state_dict(), folder / "weights.safetensors", said)
    (folder / "vocab.txt").write_text(vocabulary(SLIM.text_vocabulary), encoding="utf-8")
    return {"text.vocabulary": str(folder / "vocab.txt")}


def slim_export(shared: Shared) -> ExportReport:
    """The slim network's bundle; read it, do not change it."""

    def export(folder: Path) -> ExportReport:
        settings = save_slim(folder)
        return export_bundle(folder / "weights.safetensors", folder / "cmasg.mmcaf", settings=settings, explain=False)

    return shared("slim-cmasg", export)
