"""The phases of a slim LCA-DB's training on synthetic eight-phase studies.

The network is convolutional, and one cell of either branch is 32 x 32 voxels. So it first learns to tell lesions
apart in single cells, then to find the cell in larger crops, then in whole studies. There the attention is also told
which cells hold the lesion.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from mmcaf_export.networks.lcadb import LcadbConfig, LcadbNet
from mmcaf_export.networks.lcadb.network import CELL
from studies import CLASSES, SPLITS, Studies, load_split

CONFIG = LcadbConfig(depth=10, slices=16, size=128, width=1 / 16, classes=len(CLASSES))


@dataclass(frozen=True)
class Phase:
    """Steps on crops of size x size x slices; rate: the highest of its learning-rate cycle."""

    size: int
    slices: int
    steps: int
    batch: int
    rate: float


PHASES = {
    1: Phase(size=32, slices=8, steps=260, batch=24, rate=6e-3),
    2: Phase(size=64, slices=8, steps=220, batch=12, rate=4e-3),
    3: Phase(size=128, slices=8, steps=140, batch=4, rate=3e-3),
    4: Phase(size=128, slices=16, steps=50, batch=4, rate=1e-3),
}
ATTENTION = 0.5  # weight of the loss that tells where the lesion is


def train(options: argparse.Namespace) -> None:
    """Train, report on the held-out studies, and write weights.safetensors."""
    started = time.perf_counter()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    train = load_split("train", options.cache, options.workers, options.limit)
    print(f"{len(train)} studies, {time.perf_counter() - started:.0f} s", flush=True)
    network = LcadbNet(CONFIG)
    if options.resume_after:
        network.load_state_dict(torch.load(options.cache / f"phase-{options.resume_after}.pt", weights_only=True))
    for number in range(options.resume_after + 1, len(PHASES) + 1):
        _train(network, PHASES[number], train, np.random.default_rng([options.seed, number]))
        torch.save(network.state_dict(), options.cache / f"phase-{number}.pt")
        print(f"phase {number} done, {time.perf_counter() - started:.0f} s", flush=True)
    test = load_split("test", options.cache, options.workers, options.limit)
    logits, weights = answers(network, test)
    print(json.dumps(report(logits, weights, test), indent=1), flush=True)
    _save(network, options)


def _train(network: LcadbNet, phase: Phase, studies: Studies, generator: np.random.Generator) -> None:
    network.train()
    network.config = replace(CONFIG, size=phase.size, slices=phase.slices)
    optimizer = torch.optim.AdamW(network.parameters(), lr=phase.rate, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, phase.rate, total_steps=phase.steps)
    running = None
    for step in range(phase.steps):
        volumes, labels, cells = studies.batch(generator, phase.batch, phase.size, phase.slices)
        logits, *weights = network(*volumes.unbind(1))
        loss = F.cross_entropy(logits, labels, label_smoothing=0.05)
        if phase.size > CELL:
            loss = loss + ATTENTION * sum(_elsewhere(shares, cells) for shares in weights)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        rate.step()
        right = float((logits.argmax(1) == labels).float().mean())
        running = right if running is None else 0.95 * running + 0.05 * right
        if step % 20 == 19:
            print(f"  size {phase.size}, step {step + 1}: loss {loss.item():.3f}, right {running:.2f}", flush=True)
    network.config = CONFIG


def _elsewhere(shares: Tensor, cells: Tensor) -> Tensor:
    """How far the attention [N, n] is from the cells [N, n] that hold a lesion; cells without any count as all."""
    inside = (shares * cells).sum(1).clamp_min(1e-4)
    return -inside.log().mean()


@torch.inference_mode()
def answers(network: LcadbNet, studies: Studies) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, classes] and both attention vectors [N, 2, n] of whole studies."""
    network.eval()
    found = [network(*studies.whole(at).unbind(1)) for at in range(len(studies))]
    logits = torch.cat([answer[0] for answer in found])
    return logits.numpy(), torch.cat([torch.stack(answer[1:], dim=1) for answer in found]).numpy()


def report(logits: np.ndarray, weights: np.ndarray, studies: Studies) -> dict[str, float]:
    """Macro one-against-rest AUROC of the probabilities, accuracy, and the attention on the lesion's cells."""
    truth = studies.labels
    shares = torch.from_numpy(logits).softmax(1).numpy()
    areas = [_auroc(shares[:, label], truth == label) for label in range(shares.shape[1])]
    cells = np.stack([studies.cells(at) for at in range(len(studies))])
    inside = (weights * cells[:, None]).sum(-1).mean(0)
    return {
        "macro_auroc": float(np.mean(areas)),
        "accuracy": float((logits.argmax(1) == truth).mean()),
        "attention_on_lesion_image": float(inside[0]),
        "attention_on_lesion_patch": float(inside[1]),
        "cells_with_lesion": float(cells.mean()),
    }


def _auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive study scores above a negative one; ties count half."""
    above = (scores[positive][:, None] > scores[~positive]).mean()
    return float(above + 0.5 * (scores[positive][:, None] == scores[~positive]).mean())


def _save(network: LcadbNet, options: argparse.Namespace) -> None:
    metadata = {
        "network": "lcadb",
        "slices": str(CONFIG.slices),
        "size": str(CONFIG.size),
        "training": "synthetic eight-phase studies; a demonstration, not a medical device",
        "classes": json.dumps(CLASSES),
        "seeds": json.dumps({name: [seeds.start, seeds.stop] for name, seeds in SPLITS.items()}),
        "seed": str(options.seed),
    }
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    temporary = options.out / "weights.safetensors.tmp"
    temporary.write_bytes(save(state, metadata=metadata))
    temporary.replace(options.out / "weights.safetensors")
