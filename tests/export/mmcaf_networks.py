"""MMCAF-Net with golden weights, and a narrow one that is exported once in a run."""

from dataclasses import dataclass
from pathlib import Path

import torch

from export.fill import fill
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet
from mmcaf_export.report import ExportReport
from shared import Shared

SLIM = MmcafConfig(slices=12, size=96, width=0.09375)
SLIM_SETTINGS = {"network.config.size": "96", "threshold": "0.4", "table.fields.age.upper": "85"}


@dataclass(frozen=True)
class Exported:
    """A finished export, the checkpoint that it is of, and what it told on the way."""

    report: ExportReport
    checkpoint: Path
    progress: list[str]


def filled(config: MmcafConfig) -> MmcafNet:
    """A network with golden weights, in evaluation mode."""
    with torch.device("meta"):
        network = MmcafNet(config)
    state = {key: torch.from_numpy(fill(key, tuple(value.shape))) for key, value in network.state_dict().items()}
    network.load_state_dict(state, assign=True)
    return network.eval()


def save_slim(path: Path) -> Path:
    """Write the narrow network as the published saver does."""
    torch.save(
        {
            "ckpt_info": {"epoch": 3, "val_loss": 0.5},
            "model_name": "MMCAF_Net",
            "model_args": {"num_classes": 1},
            "model_state": {f"module.{key}": value for key, value in filled(SLIM).state_dict().items()},
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.01}]},
            "lr_scheduler": None,
        },
        path,
    )
    return path


def slim_export(shared: Shared) -> Exported:
    """The narrow network's bundle, alone in its folder; read it, do not change it."""

    def export(folder: Path) -> tuple[ExportReport, Path, list[str]]:
        told: list[str] = []
        (folder / "bundle").mkdir()
        checkpoint = save_slim(folder / "slim.pth")
        report = export_bundle(
            checkpoint, folder / "bundle" / "slim.mmcaf", settings=SLIM_SETTINGS, explain=False, tell=told.append
        )
        return report, checkpoint, told

    return Exported(*shared("slim-mmcaf", export))
