"""Manifests of a bundle with values spoilt."""

import json
import shutil
from pathlib import Path

from numpy.random import Generator

from mmcaf_engine.bundle.bundle import load_bundle

from .case import Answer, Case, Maker, digest
from .json_tree import damaged_json


def manifests(folder: Path, bundle: Path) -> Maker:
    """The manifest of a copy of `bundle`."""
    copied = Path(shutil.copytree(bundle, folder / "bundle.mmcaf"))
    manifest = copied / "manifest.json"
    kept = json.loads(manifest.read_bytes())

    def attempt() -> Answer:
        return Answer(digest(load_bundle(copied).manifest.model_dump()))

    def make(draw: Generator) -> Case:
        data = damaged_json(kept, draw)
        manifest.write_bytes(data)
        return Case(attempt, "values", data)

    return make
