"""The demo's cohorts: cached studies, table features."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcaf_engine.demo.phantom import PhantomPatient, make_patient, make_phantom, record
from mmcaf_engine.evaluation.synthetic import as_volume
from mmcaf_engine.inputs.resize import resize_area
from mmcaf_engine.inputs.windows import Windows, preprocess
from mmcaf_engine.manifest import PreprocessingSpec, TableSpec
from mmcaf_engine.record.record import read_record
from mmcaf_export.networks.mmcaf import MmcafConfig
from mmcaf_export.networks.mmcaf.entry import MmcafEntry
from splits import SPLITS

SLICES, SIZE = 12, 192
_MANIFEST = MmcafEntry().manifest(MmcafConfig(slices=SLICES, size=SIZE))
PREPROCESSING = PreprocessingSpec.model_validate(_MANIFEST["preprocessing"])
TABLE = TableSpec.model_validate(_MANIFEST["table"])


@dataclass(frozen=True)
class CachedStudy:
    """A phantom as the network sees it.

    windows: the study's preprocessed slices, float32 [D, 192, 192], and where its windows start.
    table: float32 [7], scaled. nodule: its centre (z, y, x) in voxels of the preprocessed slices.
    """

    patient: PhantomPatient
    windows: Windows
    table: NDArray[np.float32]
    nodule: tuple[float, float, float]

    @property
    def label(self) -> int:
        """0 adenocarcinoma, 1 squamous-cell carcinoma."""
        return self.patient.label


def load_split(name: str, cache: Path, workers: int = 2, limit: int | None = None) -> list[CachedStudy]:
    """Studies of a split, rendering those the cache folder lacks."""
    seeds = list(SPLITS[name])[:limit]
    cache.mkdir(parents=True, exist_ok=True)
    missing = [s for s in seeds if not _path(cache, s).exists()]
    if missing:
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(_render, missing, [cache] * len(missing), chunksize=8))
    return [_load(cache, s) for s in seeds]


def _path(cache: Path, seed: int) -> Path:
    return cache / f"{seed}.npz"


def _render(seed: int, cache: Path) -> None:
    phantom = make_phantom(seed)
    slices = [np.rint(resize_area(plane.astype(np.float32), SIZE, SIZE)) for plane in phantom.hu]
    temporary = cache / f"{seed}.{os.getpid()}.tmp.npz"
    np.savez(
        temporary,
        hu=np.stack(slices).astype(np.int16),
        nodule=np.array(phantom.nodule_index),
        rows=phantom.hu.shape[1],
    )
    temporary.rename(_path(cache, seed))


def _load(cache: Path, seed: int) -> CachedStudy:
    patient = make_patient(seed)
    with np.load(_path(cache, seed)) as data:
        z, y, x = (float(v) for v in data["nodule"])
        scale = SIZE / float(data["rows"])
        # Resized whole numbers pass the engine's resize step unchanged.
        windows = preprocess(as_volume(data["hu"], (patient.thorax.spacing_z, 1.0, 1.0)), PREPROCESSING)
    table = read_record(record(patient), TABLE).table()[0]
    return CachedStudy(patient, windows, table, (z, (y + 0.5) * scale - 0.5, (x + 0.5) * scale - 0.5))
