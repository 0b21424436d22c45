"""Shared fixtures: the full-size golden network, a slim checkpoint, and its exported bundle."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from export import lcadb_networks, mmcaf_networks
from export.fill import fill
from export.mmcaf_networks import SLIM, Exported, filled
from exporting import describe_once
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_export.networks.entry import NetworkEntry
from mmcaf_export.networks.lcadb.entry import LcadbEntry
from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet
from mmcaf_export.networks.mmcaf.entry import MmcafEntry
from mmcaf_export.report import ExportReport
from shared import Shared

EXAMPLE = Path(__file__).parents[1] / "data" / "example_network"


@pytest.fixture(autouse=True, scope="session")
def quick_exports() -> None:
    describe_once()


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
def slim_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The narrow network as the published saver writes it."""
    return mmcaf_networks.save_slim(tmp_path_factory.mktemp("checkpoints") / "slim.pth")


@pytest.fixture
def density_checkpoint(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Weights of the example package's network, exported in a second; the package counts as installed."""
    site = tmp_path_factory.mktemp("density")
    shutil.copy(EXAMPLE / "density_network.py", site)
    metadata = site / "mmcaf_density-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mmcaf-density\nVersion: 1.0\n", encoding="utf-8")
    points = "[mmcaf_export.networks]\ndensity = density_network:DensityEntry\n"
    (metadata / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.syspath_prepend(site)
    from density_network import DensityConfig, DensityNet

    state = DensityNet(DensityConfig()).state_dict()
    checkpoint = site / "density.safetensors"
    save_file({key: torch.from_numpy(fill(key, tuple(value.shape))) for key, value in state.items()}, checkpoint)
    yield checkpoint
    sys.modules.pop("density_network")


@pytest.fixture(scope="session")
def slim_export(shared: Shared) -> Exported:
    """The narrow network's bundle; read it, do not change it."""
    return mmcaf_networks.slim_export(shared)


@pytest.fixture(scope="session")
def lcadb_export(shared: Shared) -> ExportReport:
    """A narrow LCA-DB's bundle, from a checkpoint as the published training loop writes it; do not change it."""
    return lcadb_networks.slim_export(shared)


@pytest.fixture(scope="session", params=["demo", pytest.param("slim", marks=pytest.mark.full)])
def mmcaf_bundle(request: pytest.FixtureRequest, shared: Shared) -> Path:
    """The demonstration's MMCAF-Net as it is shipped; with `full` a narrow one, exported now; do not change it."""
    return demo_bundle() if request.param == "demo" else mmcaf_networks.slim_export(shared).report.output


@dataclass(frozen=True)
class Slim:
    """A narrow network's export beside what was exported."""

    report: ExportReport
    checkpoint: Path
    entry: NetworkEntry[Any]
    config: Any
    network: nn.Module

    def drawn(self, batch: int, seed: int) -> dict[str, Tensor]:
        """Inputs by name."""
        return self.entry.example_inputs(self.config, batch, seed)

    def expected(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The source network's outputs by name."""
        with torch.inference_mode():
            found = self.network(*inputs.values())
        names = [spec.name for spec in self.entry.tensors(self.config)[1]]
        return dict(zip(names, found if isinstance(found, tuple) else (found,), strict=True))


@pytest.fixture(scope="session", params=["lcadb", pytest.param("mmcaf", marks=pytest.mark.full)])
def slim(request: pytest.FixtureRequest, shared: Shared) -> Slim:
    """A narrow LCA-DB; with `full` a narrow MMCAF-Net too, which takes four times as long to export."""
    if request.param == "mmcaf":
        exported = mmcaf_networks.slim_export(shared)
        return Slim(exported.report, exported.checkpoint, MmcafEntry(), SLIM, filled(SLIM))
    config, report = lcadb_networks.SLIM, lcadb_networks.slim_export(shared)
    checkpoint = report.output.with_name("best.pth")
    return Slim(report, checkpoint, LcadbEntry(), config, lcadb_networks.filled(config))


@pytest.fixture
def save(tmp_path: Path) -> Callable[[object], Path]:
    """Write an object with torch.save and give its path."""

    def write(document: object) -> Path:
        path = tmp_path / "weights.pth"
        torch.save(document, path)
        return path

    return write
