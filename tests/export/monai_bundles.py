"""MONAI bundles of a small network, as the model zoo lays them out: documents that a test may change, and weights."""

import copy
import json
import warnings
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from counterparts import need_package

SIZE = (10, 12, 8)
NETWORK = {
    "_target_": "monai.networks.nets.DenseNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "init_features": 4,
    "growth_rate": 3,
    "block_config": [1, 1],
    "bn_size": 2,
}
METADATA: dict[str, Any] = {
    "version": "0.4.2",
    "monai_version": "1.6.1",
    "name": "Nodule malignancy",
    "description": "Tells nodules apart.",
    "intended_use": "An example.",
    "copyright": "Example",
    "network_data_format": {
        "inputs": {"image": {"type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1}},
        "outputs": {
            "pred": {"type": "probabilities", "num_channels": 2, "channel_def": {"0": "benign", "1": "malignant"}}
        },
    },
}
INFERENCE: dict[str, Any] = {
    "imports": ["$import glob", "$import os"],
    "bundle_root": ".",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "spatial_size": list(SIZE),
    "network_def": NETWORK,
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": -1000,
                "a_max": 400,
                "b_min": 0.0,
                "b_max": 1.0,
                "clip": True,
            },
            {"_target_": "Resized", "keys": "image", "spatial_size": "@spatial_size", "mode": "area"},
            {"_target_": "EnsureTyped", "keys": "image"},
        ],
    },
    "inferer": {"_target_": "SimpleInferer"},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "Activationsd", "keys": "pred", "softmax": True}],
    },
    "evaluator": {"_target_": "SupervisedEvaluator", "device": "@device"},
}


def monai(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """MONAI, where it was installed to be compared with; else the test is skipped."""
    monkeypatch.syspath_prepend(need_package("monai"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("monai.networks.nets", "monai.transforms"):
            import_module(name)
    return import_module("monai")


def documents(change: Callable[[dict[str, Any], dict[str, Any]], object] | None = None) -> tuple[Any, Any]:
    """Metadata and inference configuration, which `change` may have changed."""
    metadata, inference = copy.deepcopy(METADATA), copy.deepcopy(INFERENCE)
    if change is not None:
        change(metadata, inference)
    return metadata, inference


def write_bundle(
    folder: Path,
    change: Callable[[dict[str, Any], dict[str, Any]], object] | None = None,
    weights: object = None,
    form: str = "json",
) -> Path:
    """A bundle's folder."""
    metadata, inference = documents(change)
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    if form == "json":
        (folder / "configs" / "inference.json").write_text(json.dumps(inference), encoding="utf-8")
    else:
        import yaml

        (folder / "configs" / "inference.yaml").write_text(yaml.safe_dump(inference), encoding="utf-8")
    torch.save({"weight": torch.zeros(1)} if weights is None else weights, folder / "models" / "model.pt")
    return folder


def zipped(folder: Path, path: Path) -> Path:
    """A zip of the folder, with its name within."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, Path(folder.name) / file.relative_to(folder))
    return path
