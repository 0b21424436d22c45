"""MedFusionNet with weights that follow from their names: slim ones that every test can afford, and recorded values."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.fill import fill
from mmcaf_export.networks.medfusionnet import MedFusionConfig, MedFusionNet
from mmcaf_export.networks.medfusionnet.network import ServedMedFusionNet

COLUMNS = 6
"""What training recorded of each patient; the selection below keeps four of them."""
SELECTION: Mapping[str, list[float]] = MappingProxyType(
    {
        "feature_index": [0, 2, 3, 5],
        "fill_value": [49.0, 1.0, 0.0, 3.0],
        "mean": [46.5, 0.56, 0.38, 4.25],
        "std": [17.0, 0.5, 0.49, 6.5],
        "threshold": [54.5, 0.5, 0.5, 2.5],
        "direction": [1.0, -1.0, 1.0, 1.0],
    }
)
AUTHORS = {
    "image_encoder.": "densenet.",
    "metadata_attention.": "self_attention.",
    "fusion.": "fc_fusion.",
    "head.hidden.": "fc1.",
    "head.output.": "fc2.",
}
"""Our names' beginnings, and those of the class that the authors published."""
_BACKBONE: dict[str, Any] = {"stem": 8, "growth": 4, "bottleneck": 2, "blocks": "2-3-2-3", "size": 64}
_SLIM: dict[str, Any] = {**_BACKBONE, "width": 16, "hidden": 12, "head": 8, "labels": 5, "features": 4}
_TEXT: dict[str, Any] = {
    "text_vocabulary": 40,
    "text_width": 24,
    "text_layers": 2,
    "text_heads": 1,  # as a width below 64 is read off a checkpoint
    "text_intermediate": 32,
    "text_positions": 20,
    "text_types": 2,
}
CONFIGS: Mapping[str, MedFusionConfig] = MappingProxyType(
    {
        "slim": MedFusionConfig(**_SLIM),
        "large": MedFusionConfig(**_SLIM | {"size": 96, "normalisation": "half", "blocks": "3-2-3-2"}),
        "transitions": MedFusionConfig(**_SLIM | {"fpn_taps": "transitions", "blocks": "2-3-4"}),
        "smoothing": MedFusionConfig(**_SLIM | {"fpn_smoothing": True}),
        "no label tokens": MedFusionConfig(**_SLIM | {"label_tokens": False}),
        "text": MedFusionConfig(**_SLIM | _TEXT | {"modalities": "image+metadata+text"}),
        "report alone": MedFusionConfig(**_SLIM | _TEXT | {"modalities": "text", "features": 0, "labels": 1}),
        "image alone": MedFusionConfig(**_SLIM | {"modalities": "image", "features": 0, "fpn_taps": "stages"}),
        "cervical": MedFusionConfig(modalities="metadata", labels=4, features=4, width=32, hidden=24, head=16),
        "release": MedFusionConfig(
            **_SLIM | {"profile": "release", "features": 3, "attention": 6, "normalisation": "half"}
        ),
        "release of three levels": MedFusionConfig(
            **_SLIM
            | {"profile": "release", "features": 3, "attention": 6, "normalisation": "half"}
            | {"fpn_taps": "transitions", "blocks": "2-3-4"}
        ),
    }
)
"""Every switch at least once."""


def filled(config: MedFusionConfig, *, served: bool = True) -> MedFusionNet:
    """A network in evaluation mode; `served` takes the table, otherwise the columns as recorded."""
    with torch.device("meta"):
        network = (ServedMedFusionNet if served else MedFusionNet)(config)
    network.load_state_dict(weights(network.state_dict()), assign=True)
    return network.eval()


def weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A tensor for each entry; those of the selection are plausible for patients."""
    return {key: _value(key, tensor) for key, tensor in state.items()}


def as_the_authors(state: Mapping[str, Tensor], levels: int) -> dict[str, Tensor]:
    """Our names of the profile release as the authors' class has them, its pyramid's levels from coarse to fine."""
    renamed = {}
    for key, tensor in state.items():
        if key.startswith("feature_pyramid.lateral."):
            _, _, level, kind = key.split(".")
            renamed[f"fpn.fpn_layers.{levels - 1 - int(level)}.{kind}"] = tensor
        else:
            ours = next(prefix for prefix in AUTHORS if key.startswith(prefix))
            renamed[AUTHORS[ours] + key.removeprefix(ours)] = tensor
    return renamed


def recorded(batch: int, seed: int = 0) -> Tensor:
    """Age, something, sex, view, something, earlier radiographs; some of them missing: [batch, COLUMNS]."""
    generator = np.random.default_rng(seed)
    age = generator.integers(20, 90, batch)
    flags = generator.integers(0, 2, (2, batch))
    rest = generator.integers(0, 12, (3, batch))
    columns = np.stack([age, rest[0], flags[0], flags[1], rest[1], rest[2]], axis=1).astype(np.float32)
    columns[generator.random(columns.shape) < 0.2] = np.nan
    return torch.from_numpy(columns)


def _value(key: str, tensor: Tensor) -> Tensor:
    part, _, name = key.rpartition(".")
    if part == "metadata_selection":
        return torch.tensor(SELECTION[name][: len(tensor)], dtype=tensor.dtype)
    value = torch.from_numpy(fill(key, tuple(tensor.shape)))
    return value * 4 if name == "label_head" or key == "region_position" else value
