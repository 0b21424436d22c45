"""MMCAF-Net with golden weights, and a narrow one; each is exported once in a run."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from export.fill import fill
from mmcaf_export.export import export_bundle
from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet
from mmcaf_export.report import ExportReport
from shared import Shared

ROOT = Path(__file__).parents[2]
SLIM = MmcafConfig(slices=12, size=96, width=0.09375)
SLIM_SETTINGS = {"network.config.size": "96", "threshold": "0.4", "table.fields.age.upper": "85"}

PEAK = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
"""
EXPORT = f"""
import json, sys
from mmcaf_export.export import export_bundle
{PEAK}
report = export_bundle(sys.argv[1], sys.argv[2])
maps = {{done.backend: done.max_relative_error for done in report.maps}}
print(json.dumps([peak(), {{done.backend: done.max_abs_error for done in report.verifications}}, maps]))
"""
FullSize = tuple[Path, int, dict[str, float], dict[str, float]]


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


def full_export(shared: Shared) -> FullSize:
    """The bundle of the published size, the peak memory of its export, and each backend's error, of maps too.

    Read it, do not change it.
    """

    def export(folder: Path) -> FullSize:
        state = filled(MmcafConfig()).state_dict()
        save_file(state, folder / "full.safetensors", {"network": "mmcaf"})
        told = fresh(EXPORT, folder / "full.safetensors", folder / "full.mmcaf")
        (folder / "full.safetensors").unlink()  # 0.3 GB that nobody needs to keep
        return (folder / "full.mmcaf", *told)

    return shared("full-mmcaf", export)


def fresh(code: str, *arguments: object) -> list:
    """Run code in a process of its own and read the JSON on its last line."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": import_path()},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def import_path() -> str:
    """The folders that this process imports the project's packages from."""
    return os.pathsep.join(str(ROOT / part) for part in ("cli", "engine", "export", "kernels"))
