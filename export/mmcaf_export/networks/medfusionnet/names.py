"""Names that MedFusionNet checkpoints are stored under: the authors' class's, an independent repair's, and our own.

The authors' class: github.com/abhishekdixitg/MedFusionNet, Network/models.py. The repair of it by somebody else, which
the profile release is: github.com/Sweta-Das/ChestXrayMultilabelClassification, MedFusionNet/medfusionnet.py.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from ..repair import Repair

AUTHORS, INDEPENDENT = "abhishekdixitg/MedFusionNet", "Sweta-Das/ChestXrayMultilabelClassification"
"""Repositories on GitHub: of the authors' class, and of the repair by somebody else, which the profile release is."""

REPAIR = Repair(
    "release",
    f"the authors' published class ({AUTHORS}, Network/models.py), whose names the checkpoint has, fails on every "
    "input: it hands the mean of DenseNet's last map, which has no rows and columns, to a 2D convolution of other "
    "channels, and clinical values without an axis of tokens to a batched product",
    "the pyramid reads maps in place of their mean: the last map where its first layer has that map's channels, else "
    "the maps behind the three transitions, whose channels its three layers have; its finest map is averaged over the "
    "image; the clinical values are one token",
)

STAGES, TRANSITIONS = "stages", "transitions"

_OF_REPAIR = {
    "backbone.": "image_encoder.",
    "fpn.lateral.": "feature_pyramid.lateral.0.",
    "attention.": "metadata_attention.",
    "fc_fusion.": "fusion.",
    "classifier.1.": "head.hidden.",
    "classifier.3.": "head.output.",
}
_OF_AUTHORS = {
    "densenet.": "image_encoder.",
    "self_attention.": "metadata_attention.",
    "fc_fusion.": "fusion.",
    "fc1.": "head.hidden.",
    "fc2.": "head.output.",
}
_LEVEL = re.compile(r"fpn\.fpn_layers\.(\d+)\.(weight|bias)")
_LEVELS = tuple(f"fpn.fpn_layers.{level}.weight" for level in range(3))  # from coarse to fine
_AUTHORS_ALONE = ("densenet.features.", "fpn.fpn_layers.")

UNREACHED = r"fpn\.fpn_layers\.[1-9]\d*\.(?:weight|bias)"
"""Levels of the authors' pyramid that their loop over a single map never comes to."""


def has_authors_names(state: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint's names are those of the authors' class."""
    return "fc_fusion.weight" in state and any(key.startswith(_AUTHORS_ALONE) for key in state)


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of the authors' class, or of its independent repair, become this network's own; others stay."""
    if has_authors_names(state):
        last = 2 if _of_transitions(state) else 0
        return {_level(key, last) or _renamed(key, _OF_AUTHORS): tensor for key, tensor in state.items()}
    if "fc_fusion.weight" in state:
        return {_renamed(key, _OF_REPAIR): tensor for key, tensor in state.items()}
    return dict(state)


def taps(state: Mapping[str, Tensor]) -> str:
    """Where the pyramid reads the backbone, told from the channels of its finest map and of the second stage's.

    Args:
        state: under this network's own names.
    """
    lateral, stage = (
        state.get("feature_pyramid.lateral.0.weight"),
        state.get("image_encoder.features.transition1.conv.weight"),
    )
    if lateral is None or stage is None or "feature_pyramid.lateral.2.weight" not in state:
        return STAGES
    return TRANSITIONS if lateral.shape[1:2] == stage.shape[:1] else STAGES


def _of_transitions(state: Mapping[str, Tensor]) -> bool:
    """Whether the three levels read as many channels as the transitions put out, the last of these first."""
    made = (f"densenet.features.transition{number}.conv.weight" for number in (3, 2, 1))
    return all(
        level in state and transition in state and state[level].shape[1:2] == state[transition].shape[:1]
        for level, transition in zip(_LEVELS, made, strict=True)
    )


def _level(key: str, last: int) -> str | None:
    """Of a level of the authors' pyramid, our name, from fine to coarse; None of others, and of one past the last."""
    found = _LEVEL.fullmatch(key)
    if found is None or int(found.group(1)) > last:
        return None
    return f"feature_pyramid.lateral.{last - int(found.group(1))}.{found.group(2)}"


def _renamed(key: str, prefixes: Mapping[str, str]) -> str:
    for theirs, ours in prefixes.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key
