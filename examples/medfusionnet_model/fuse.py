"""Teaches MedFusionNet to weigh image, clinical values and report, on features of encoders that no longer change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from examples.chest_studies.studies import Studies, varied
from torch import Tensor, nn

from mmcaf_export.networks.medfusionnet.network import MedFusionNet

VARIANTS = 3
BATCH = 64
RATE = 3e-3
WITHOUT_IMAGE, WITHOUT_REPORT = 0.15, 0.25
"""Share of studies that one of them is left out of."""

Batch = Callable[..., list[Tensor]]
"""From the network, studies and positions in them, and whether image and report are given, to the network's inputs."""


@dataclass(frozen=True)
class Features:
    """regions: of each study in so many variants, [V, N, T, D]; words, mask: [N, L, width] and [N, L].

    no_image [T, D], no_report [2, width]: what is seen of an image or a report that is left out.
    """

    regions: Tensor
    words: Tensor
    mask: Tensor
    no_image: Tensor
    no_report: Tensor


@torch.no_grad()
def features(network: MedFusionNet, studies: Studies, batch: Batch, noise: torch.Generator) -> Features:
    """What the encoders make of the studies; of the images also moved and stretched a little."""
    network.eval()
    longest = studies.mask.shape[1]
    regions: list[list[Tensor]] = [[] for _ in range(VARIANTS)]
    words: list[Tensor] = []
    for part in np.array_split(np.arange(len(studies)), max(1, len(studies) // 50)):
        image, _, ids, mask = batch(network, studies, part)
        seen = network.text_encoder(ids, mask)
        words.append(F.pad(seen, (0, 0, 0, longest - seen.shape[1])))
        for variant in range(VARIANTS):
            moved = varied(image, torch.zeros(len(part), 1, 1, 1), noise)[0] if variant else image
            regions[variant].append(_regions(network, moved))
    image, _, ids, mask = batch(network, studies, np.arange(1), False, False)
    return Features(
        torch.stack([torch.cat(one) for one in regions]),
        torch.cat(words),
        torch.from_numpy(studies.mask),
        _regions(network, image)[0],
        network.text_encoder(ids, mask)[0],
    )


def fuse(network: MedFusionNet, studies: Studies, seen: Features, steps: int, generator: np.random.Generator) -> None:
    """Train all but the encoders and the pyramid."""
    own = ("image_encoder.", "text_encoder.", "feature_pyramid.")
    learned = [one for name, one in network.named_parameters() if not name.startswith(own)]
    optimizer = torch.optim.AdamW(learned, lr=RATE, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    network.eval()  # The encoders' norms keep their statistics; no other part has two modes.
    running = 0.0
    for step in range(steps):
        chosen = torch.from_numpy(generator.integers(0, len(studies), BATCH))
        dark, silent = (torch.from_numpy(generator.random(BATCH) < part) for part in (WITHOUT_IMAGE, WITHOUT_REPORT))
        variants = torch.from_numpy(generator.integers(0, len(seen.regions), BATCH))
        regions = torch.where(dark[:, None, None], seen.no_image, seen.regions[variants, chosen])
        words, mask = seen.words[chosen], seen.mask[chosen]
        words[silent, :2], mask[silent, :2], mask[silent, 2:] = seen.no_report, 1, 0
        longest = int(mask.sum(dim=1).max())
        table = torch.from_numpy(studies.table)[chosen]
        logits = fused(network, regions, table, words[:, :longest], mask[:, :longest])
        loss = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(studies.present)[chosen].float())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 3.0)
        optimizer.step()
        rate.step()
        running = loss.item() if not step else 0.98 * running + 0.02 * loss.item()
        if step % 200 == 199:
            print(f"  step {step + 1}: loss {running:.3f}", flush=True)


def fused(network: MedFusionNet, regions: Tensor, table: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    """The network's logits from what its encoders and its pyramid made of image and report; as its `answer`."""
    values = network.metadata_tokenizer(network.metadata_selection(table))
    outputs = network._attended([regions, values, network.text_projection(words)], mask)
    weights = mask[:, :, None].float()
    said = (outputs[2] * weights).sum(dim=1) / weights.sum(dim=1)
    joined = torch.cat([outputs[0].mean(dim=1), outputs[1].mean(dim=1), said], dim=1)
    return network._scores(joined) + network.label_head(outputs[-1])


def _regions(network: MedFusionNet, image: Tensor) -> Tensor:
    return network.feature_pyramid(*network.image_encoder(network.grey(image))).flatten(2).transpose(1, 2)
