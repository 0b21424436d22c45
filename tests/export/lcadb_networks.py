"""LCA-DB with golden weights, and a slim one that is exported once in a run."""

import json
from pathlib import Path

import torch

from export.fill import fill
from mmcaf_engine.demo import LIVER_LABELS
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.lcadb import LcadbConfig, LcadbNet
from mmcaf_export.report import ExportReport
from shared import Shared

SLIM = LcadbConfig(depth=10, slices=16, size=64, width=1 / 16)


def filled(config: LcadbConfig) -> LcadbNet:
    """A network whose weights follow from their names, in evaluation mode."""
    with torch.device("meta"):
        network = LcadbNet(config)
    state = {key: torch.from_numpy(fill(key, tuple(value.shape))) for key, value in network.state_dict().items()}
    network.load_state_dict(state, assign=True)
    return network.eval()


def slim_export(shared: Shared) -> ExportReport:
    """The slim network's bundle, from a checkpoint as the published training loop writes it; do not change it."""

    def export(folder: Path) -> ExportReport:
        torch.save({"epoch": 7, "model": filled(SLIM).state_dict()}, folder / "best.pth")
        settings = {"network.config.size": str(SLIM.size), "labels": json.dumps(LIVER_LABELS)}
        return export_bundle(folder / "best.pth", folder / "lcadb.mmcaf", settings=settings, explain=False)

    return shared("slim-lcadb", export)
