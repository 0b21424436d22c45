"""Networks as other packages bring them: each module is a whole plug-in, written as its authors would write it."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

ENTRIES = {
    "film-net": "film_dict:FilmEntry",
    "volume-group-norm": "volume_group_norm:VolumeEntry",
    "image-table-transformer": "image_table_transformer:TransformerEntry",
    "hypernetwork": "hypernetwork:HyperEntry",
    "survival": "two_heads:RiskEntry",
}
"""Name of a network -> its class."""


def entry_of(name: str) -> Any:
    """One of the networks' entries."""
    module, _, kind = ENTRIES[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), kind)()


def config_of(name: str) -> Any:
    """The default configuration of one of the networks."""
    entry = entry_of(name)
    base = next(kind for kind in type(entry).__mro__ if "__orig_bases__" in vars(kind))
    return base.__orig_bases__[0].__args__[0]()


def source(name: str) -> nn.Module:
    """One of the networks with the same weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = entry_of(name).build(config_of(name))
    return network


def install(site: Path, *entries: str) -> None:
    """Leave a package in `site` as pip would, with entry points of these classes; without any, of all networks.

    Args:
        entries: such as "two_heads:TwoHeadsEntry".
    """
    metadata = site / "five_networks-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: five-networks\nVersion: 1.0\n", encoding="utf-8")
    points = "".join(f"n{at} = {__name__}.{target}\n" for at, target in enumerate(entries or ENTRIES.values()))
    (metadata / "entry_points.txt").write_text(f"[mmcaf_export.networks]\n{points}", encoding="utf-8")


def checkpoint(name: str, folder: Path) -> Path:
    """A file with the weights of `source`."""
    path = folder / f"{name}.pth"
    torch.save(source(name).state_dict(), path)
    return path
