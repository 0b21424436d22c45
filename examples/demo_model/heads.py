"""Training of the demo's heads on frozen image features: fusion, image only, record only."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cohort import CachedStudy
from mmcaf_engine.evaluation.metrics import auroc
from mmcaf_export.networks.mmcaf.fusion import MultiscaleFusion
from mmcaf_export.networks.mmcaf.image_encoder import ImageEncoder
from mmcaf_export.networks.mmcaf.kan import KanLayer


class Head(nn.Module):
    """f [N, 24], table [N, 7] -> logit [N, 1]: MMCAF-Net behind its image branch, same parameter names."""

    def __init__(self) -> None:
        super().__init__()
        self.kan = KanLayer(7, 24)
        self.multiscale_fusion = MultiscaleFusion("tokens")
        self.fin_cls = nn.Linear(48, 1)

    def forward(self, features: Tensor, table: Tensor) -> Tensor:
        return self.fin_cls(self.multiscale_fusion(features, self.kan(table)).flatten(1))


@dataclass(frozen=True)
class Features:
    """Image features of every window: f [W, 24], the study each window belongs to [W], table [S, 7], labels [S]."""

    f: Tensor
    study: Tensor
    table: Tensor
    label: Tensor


def extract(encoder: ImageEncoder, studies: list[CachedStudy]) -> Features:
    """Run the frozen image branch over all windows."""
    encoder.eval()
    layout = torch.channels_last_3d  # the faster layout on CPUs
    with torch.inference_mode():
        rows = [encoder(torch.from_numpy(study.windows.values).to(memory_format=layout)) for study in studies]
    return Features(
        torch.cat(rows).clone(),
        torch.repeat_interleave(torch.tensor([len(study.windows) for study in studies])),
        torch.from_numpy(np.stack([study.table for study in studies])),
        torch.tensor([float(study.label) for study in studies]),
    )


def without_table(data: Features, neutral: Tensor) -> Features:
    """The same windows with one constant table row: image only."""
    return Features(data.f, data.study, neutral.expand_as(data.table).clone(), data.label)


def without_image(data: Features, neutral: Tensor) -> Features:
    """The same tables with one constant feature row: record only."""
    return Features(neutral.expand_as(data.f).clone(), data.study, data.table, data.label)


def study_logits(head: Head, data: Features) -> Tensor:
    """Highest window logit of each study, [S]."""
    logits = head(data.f, data.table[data.study])[:, 0]
    return torch.full_like(data.label, -torch.inf).scatter_reduce(0, data.study, logits, "amax")


def head_auroc(head: Head, data: Features) -> float:
    """AUROC of a head in eval mode."""
    head.eval()
    with torch.inference_mode():
        return auroc(data.label.numpy().astype(np.int64), study_logits(head, data).double().numpy())


def train_head(
    train: Features,
    validation: Features,
    seed: int,
    report: Callable[[str], None],
    *,
    epochs: int = 60,
    rate: float = 3e-3,
    decay: float = 0.05,
    batch: int = 128,
) -> tuple[Head, float]:
    """Train one head on the study score; keep the epoch with the lowest validation loss."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 21])
    head = Head()
    parameters = [p for p in head.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    windows: list[NDArray[np.int64]] = [np.flatnonzero(train.study.numpy() == s) for s in range(len(train.label))]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * (len(windows) // batch), pct_start=0.2)
    best, best_loss = copy.deepcopy(head.state_dict()), np.inf
    for _ in range(epochs):
        head.train()
        order = rng.permutation(len(windows))
        for first in range(0, len(order) - batch + 1, batch):
            picked = order[first : first + batch]
            part = _select(train, [windows[i] for i in picked], picked, rng)
            loss = F.binary_cross_entropy_with_logits(study_logits(head, part), part.label)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        head.eval()
        with torch.inference_mode():
            value = float(F.binary_cross_entropy_with_logits(study_logits(head, validation), validation.label))
        if value < best_loss:
            best, best_loss = copy.deepcopy(head.state_dict()), value
    head.load_state_dict(best)
    score = head_auroc(head, validation)
    report(f"head: validation loss {best_loss:.4f}, AUROC {score:.4f}, train AUROC {head_auroc(head, train):.4f}")
    return head, score


def _select(
    data: Features, windows: list[NDArray[np.int64]], picked: NDArray[np.int64], rng: np.random.Generator
) -> Features:
    rows = np.concatenate(windows)
    owner = np.repeat(np.arange(len(windows)), [len(w) for w in windows])
    # A little noise on age, weight and features: the cohort is small.
    table = data.table[picked].clone()
    table[:, 1:3] += torch.from_numpy(rng.normal(0.0, 0.03, (len(picked), 2)).astype(np.float32))
    return Features(data.f[rows], torch.from_numpy(owner), table, data.label[picked])
