"""Studies of no meaning that a network of any manifest reads: what a package without a demonstration quantises on."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from mmcaf_engine.demo.phantom import make_phantom
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.manifest import Manifest, NumberField, TableField


def own_cohort(manifest: Manifest, folder: Path) -> Path:
    """A table of four studies that a network reads, labelled in turn."""
    assert manifest.table is not None
    lines = ["study,record,label"]
    for at in range(4):
        if manifest.preprocessing is not None:
            study = folder / f"series{at}"
            write_series(make_phantom(at, size=64), study)
        else:
            study = folder / f"{at}.png"
            grey = np.random.default_rng(at).integers(0, 256, (80, 96), dtype=np.uint8)
            Image.fromarray(np.sort(grey, axis=1)).save(study)
        record = {field.name: _value(field, at) for field in manifest.table.fields}
        (folder / f"{at}.json").write_text(json.dumps(record))
        lines.append(f"{study.name},{at}.json,{manifest.labels[at % 2]}")
    table = folder / "cohort.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def _value(field: TableField, at: int) -> float | str:
    if isinstance(field, NumberField):
        return field.minimum + (field.maximum - field.minimum) * at / 4
    return list(field.categories)[at % len(field.categories)]
