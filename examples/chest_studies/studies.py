"""Synthetic chest studies as networks see them: rendered once, kept as files, cut into batches and varied."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mmcaf_engine.demo import ChestPatient, chest_patient, chest_study
from mmcaf_engine.demo.radiograph import finding_maps
from mmcaf_engine.demo.report import chest_report
from mmcaf_engine.image.grey import Window
from mmcaf_engine.inputs.resize import resize_bilinear
from mmcaf_engine.manifest.text import TextSpec
from mmcaf_engine.record.tokenizer import Tokenizer

SPLITS = {"train": range(4000), "validation": range(20_000, 20_500), "test": range(60_000, 60_600)}
"""Seeds of each split. Calibration (50000 on) and evaluation cohorts (40000 on) use others."""

VOCABULARY = Path(__file__).parent / "vocabulary.txt"
MAX_TOKENS = 128
TEXT = TextSpec(
    lowercase=True,
    max_tokens=MAX_TOKENS,
    buckets=(32, 64, 96, MAX_TOKENS),
    remove=("XXXX",),
    fields=("findings", "impression"),
)
COLUMNS = ("age", "sex", "view_position", "follow_up_number")
"""Of the table, in order; sex: M 1, F 0; view: PA 0, AP 1."""
CELL = 8
"""Rows and columns of an image that one cell of the maps stands for."""
SHOWS_MM = 4.0
"""A finding shows where it changes the way of the beam by so much water."""
_CHUNK = 100


@dataclass(frozen=True)
class Studies:
    """Some studies in memory.

    images: uint8 [N, S, S], 0 black; where: uint8 [N, K, S / 8, S / 8], the part, of 255, of each cell that a finding
    shows in; present: bool [N, K], in the order of `CHEST_FINDINGS`; table: float32 [N, 4], as recorded; ids, mask:
    int64 [N, MAX_TOKENS].
    """

    patients: tuple[ChestPatient, ...]
    images: NDArray[np.uint8]
    where: NDArray[np.uint8]
    present: NDArray[np.bool_]
    table: NDArray[np.float32]
    ids: NDArray[np.int64]
    mask: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def labels(self) -> NDArray[np.int64]:
        """1 where there is any finding, [N]."""
        return self.present.any(axis=1).astype(np.int64)

    def grey(self, chosen: NDArray[np.int64], mean: float, std: float) -> Tensor:
        """Images as the bundle's preprocessing makes them: [n, 1, S, S]."""
        return (torch.from_numpy(self.images[chosen])[:, None].float() / 255 - mean) / std

    def words(self, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Word pieces and mask [n, L], cut to the longest report of these."""
        longest = int(self.mask[chosen].sum(axis=1).max())
        return torch.from_numpy(self.ids[chosen, :longest]), torch.from_numpy(self.mask[chosen, :longest])


def varied(images: Tensor, where: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images [n, 1, S, S], moved and stretched a little, with other contrast and brightness; maps moved alike."""
    n = len(images)
    theta = torch.zeros(n, 2, 3)
    scale = 1 + 0.05 * torch.randn(n, generator=generator)
    angle = 0.03 * torch.randn(n, generator=generator)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, 0, 1], theta[:, 1, 0] = angle, -angle
    theta[:, :, 2] = 0.05 * torch.randn(n, 2, generator=generator)
    images, where = (
        F.grid_sample(
            what, F.affine_grid(theta, list(what.shape), align_corners=False), padding_mode=edge, align_corners=False
        )
        for what, edge in ((images, "border"), (where, "zeros"))
    )
    contrast = 1 + 0.08 * torch.randn(n, 1, 1, 1, generator=generator)
    return images * contrast + 0.08 * torch.randn(n, 1, 1, 1, generator=generator), where


def load_split(name: str, size: int, cache: Path, workers: int, limit: int | None = None) -> Studies:
    """The studies of a split; those that the cache folder does not hold are rendered and kept."""
    seeds = SPLITS[name][:limit]
    cache.mkdir(parents=True, exist_ok=True)
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    paths = [cache / f"chest-{size}-{chunk.start}-{len(chunk)}.npz" for chunk in chunks]
    todo = [(chunk, size, path) for chunk, path in zip(chunks, paths, strict=True) if not path.exists()]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_keep, *zip(*todo, strict=True)) if todo else ())
    patients = tuple(chest_patient(seed) for seed in seeds)
    tokenizer = Tokenizer(TEXT, VOCABULARY)
    ids = np.zeros((len(seeds), MAX_TOKENS), np.int64)
    mask = np.zeros_like(ids)
    for at, patient in enumerate(patients):
        report = chest_report(patient)
        # As a file has it, and as a record has it.
        text = tokenizer.tokenise(report.text if at % 2 else " ".join(report.fields().values()))
        ids[at, : text.ids.shape[1]], mask[at, : text.ids.shape[1]] = text.ids[0], text.mask[0]
    kept = [dict(np.load(path)) for path in paths]
    return Studies(
        patients,
        np.concatenate([chunk["images"] for chunk in kept]),
        np.concatenate([chunk["where"] for chunk in kept]),
        np.array([patient.present for patient in patients]),
        np.array([_row(patient) for patient in patients], np.float32),
        ids,
        mask,
    )


def rendered(seed: int, size: int) -> NDArray[np.float32]:
    """What the engine makes of a study's file, before it is standardised: grey values 0 to 255, [size, size]."""
    study = chest_study(seed)
    centre, width = study.window
    grey = 255.0 * Window(centre, width).shares(study.pixels.astype(np.float64))
    return resize_bilinear(grey.astype(np.float32), size, size)


def _keep(seeds: range, size: int, path: Path) -> None:
    images = np.stack([np.rint(rendered(seed, size)).astype(np.uint8) for seed in seeds])
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, images=images, where=np.stack([_where(seed, size // CELL) for seed in seeds]))
    temporary.replace(path)


def _where(seed: int, cells: int) -> NDArray[np.uint8]:
    """Twice as fine as the cells at first, then their means."""
    shows = np.abs(finding_maps(seed, 2 * cells)) > SHOWS_MM
    return np.rint(255 * shows.reshape(-1, cells, 2, cells, 2).mean(axis=(2, 4))).astype(np.uint8)


def _row(patient: ChestPatient) -> tuple[float, ...]:
    return patient.age, float(patient.sex == "M"), float(patient.view == "AP"), patient.follow_up
