"""LCA-DB with golden weights, and a slim one that every test can afford."""

import torch

from export.fill import fill
from mmcaf_export.networks.lcadb import LcadbConfig, LcadbNet

SLIM = LcadbConfig(depth=10, slices=16, size=64, width=1 / 16)


def filled(config: LcadbConfig) -> LcadbNet:
    """A network whose weights follow from their names, in evaluation mode."""
    with torch.device("meta"):
        network = LcadbNet(config)
    state = {key: torch.from_numpy(fill(key, tuple(value.shape))) for key, value in network.state_dict().items()}
    network.load_state_dict(state, assign=True)
    return network.eval()
