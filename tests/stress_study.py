"""A small study and record of the demonstration, as files for programs."""

import json
from pathlib import Path

from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.demo.phantom import make_phantom, record

SLICES = 13
"""Enough for two windows of the demonstration; every other row and column is left out."""


def write_study(folder: Path, bundle: Path | None = None) -> list[str]:
    """The first arguments of the program of stress.cpp."""
    phantom = make_phantom(0)
    values = phantom.hu[:SLICES, ::2, ::2].astype("<i2")
    values.tofile(folder / "study.raw")
    (folder / "record.json").write_text(json.dumps(record(phantom.patient)))
    files = [str(bundle or demo_bundle()), str(folder / "cache"), str(folder / "study.raw")]
    return [*files, *map(str, values.shape), str(folder / "record.json")]
