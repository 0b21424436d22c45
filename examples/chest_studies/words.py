"""Teaches a text encoder what reports say, before it becomes part of a network."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from examples.chest_studies.measure import macro_auroc
from examples.chest_studies.studies import Studies
from torch import Tensor, nn

from mmcaf_engine.demo import CHEST_FINDINGS
from mmcaf_export.networks.bert import Bert

BATCH = 32


class _Said(nn.Module):
    """Which findings a report tells of, [N, K], off the mean of its word pieces; thrown away after training."""

    def __init__(self, encoder: Bert) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.width, len(CHEST_FINDINGS))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        words, weights = self.encoder(ids, mask), mask[:, :, None].float()
        return self.head((words * weights).sum(dim=1) / weights.sum(dim=1))


def train_words(encoder: Bert, studies: Studies, held_out: Studies, steps: int, generator: np.random.Generator) -> None:
    """Train the encoder on reports alone, and say how well they tell the findings of held-out studies."""
    helper = _Said(encoder).train()
    optimizer = torch.optim.AdamW(helper.parameters(), lr=3e-3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        chosen = generator.integers(0, len(studies), BATCH)
        present = torch.from_numpy(studies.present[chosen]).float()
        loss = F.binary_cross_entropy_with_logits(helper(*studies.words(chosen)), present)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(helper.parameters(), 3.0)
        optimizer.step()
        rate.step()
    with torch.inference_mode():
        parts = np.array_split(np.arange(len(held_out)), max(1, len(held_out) // 50))
        told = torch.cat([helper(*held_out.words(part)) for part in parts]).numpy()
    print(f"reports alone: macro AUROC {macro_auroc(told, held_out.present):.3f}", flush=True)
