"""Shared fixtures: the full-size golden network, a slim checkpoint, and its exported bundle."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from export import lcadb_networks
from export.fill import fill
from mmcaf_engine.demo import LIVER_LABELS
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet
from mmcaf_export.report import ExportReport

SLIM = MmcafConfig(slices=12, size=96, width=0.09375)
SLIM_SETTINGS = {"network.config.size": "96", "threshold": "0.4", "table.fields.age.upper": "85"}


@pytest.fixture(scope="session")
def full_network() -> MmcafNet:
    """MMCAF-Net at its published size with the golden weights; read it, do not change it."""
    return filled(MmcafConfig())


@pytest.fixture(scope="session")
def slim_network() -> MmcafNet:
    """A narrow MMCAF-Net for 12 x 96 x 96; read it, do not change it."""
    return filled(SLIM)


@pytest.fixture
def slim_state(slim_network: MmcafNet) -> dict[str, Tensor]:
    """The narrow network's weights, in a dict that a test may change."""
    return dict(slim_network.state_dict())


@pytest.fixture(scope="session")
def slim_checkpoint(slim_network: MmcafNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The narrow network as the published saver writes it."""
    path = tmp_path_factory.mktemp("checkpoints") / "slim.pth"
    torch.save(
        {
            "ckpt_info": {"epoch": 3, "val_loss": 0.5},
            "model_name": "MMCAF_Net",
            "model_args": {"num_classes": 1},
            "model_state": {f"module.{key}": value for key, value in slim_network.state_dict().items()},
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.01}]},
            "lr_scheduler": None,
        },
        path,
    )
    return path


@dataclass(frozen=True)
class Exported:
    """A finished export and what it told on the way."""

    report: ExportReport
    progress: list[str]


@pytest.fixture(scope="session")
def slim_export(slim_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The narrow network's bundle; read it, do not change it."""
    told: list[str] = []
    output = tmp_path_factory.mktemp("exports") / "slim.mmcaf"
    report = export_bundle(slim_checkpoint, output, settings=SLIM_SETTINGS, tell=told.append)
    return Exported(report, told)


@pytest.fixture(scope="session")
def lcadb_export(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """A narrow LCA-DB's bundle, from a checkpoint as the published training loop writes it; do not change it."""
    folder = tmp_path_factory.mktemp("lcadb")
    torch.save({"epoch": 7, "model": lcadb_networks.filled(lcadb_networks.SLIM).state_dict()}, folder / "best.pth")
    settings = {"network.config.size": str(lcadb_networks.SLIM.size), "labels": json.dumps(LIVER_LABELS)}
    return export_bundle(folder / "best.pth", folder / "lcadb.mmcaf", settings=settings)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[object], Path]:
    """Write an object with torch.save and give its path."""

    def write(document: object) -> Path:
        path = tmp_path / "weights.pth"
        torch.save(document, path)
        return path

    return write


def filled(config: MmcafConfig) -> MmcafNet:
    """A network with golden weights, in evaluation mode."""
    with torch.device("meta"):
        network = MmcafNet(config)
    state = {key: torch.from_numpy(fill(key, tuple(value.shape))) for key, value in network.state_dict().items()}
    network.load_state_dict(state, assign=True)
    return network.eval()
