"""The phases of the demonstration MMCAF-Net's training on synthetic phantoms.

1. The image branch learns class and nodule traits from lesion crops, then from whole windows.
2. It is frozen; the KAN, the fusion and the last layer learn from its features and the records of
   other patients, on the study score (the highest window).
3. Two controls of the same shape see only the images or only the records; evaluate.py needs them.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
from safetensors.torch import save

from cohort import load_split
from encoder import Helper, Phase, grey_stem, train_encoder
from heads import Features, Head, extract, train_head, without_image, without_table
from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet
from splits import SPLITS

CONFIG = MmcafConfig(slices=12, size=192, width=0.09375, fusion="tokens")
PHASES = {
    1: Phase(size=32, steps=1300, batch=32, rate=1e-3, elsewhere=1 / 6),
    2: Phase(size=64, steps=300, batch=16, rate=6e-4, elsewhere=1 / 6),
    3: Phase(size=64, steps=400, batch=16, rate=8e-4, elsewhere=1 / 3),
    4: Phase(size=192, steps=250, batch=4, rate=3e-4, elsewhere=1 / 3),
}
RUNS = 5  # heads trained per control; validation picks one


def train(options: argparse.Namespace) -> None:
    """Train and write demo.safetensors and controls.safetensors."""
    np.seterr(all="raise", under="ignore")
    started = time.perf_counter()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    net = MmcafNet(CONFIG)
    torch.nn.init.constant_(net.image_encoder.fc[0].bias, 1.0)  # keeps the 24 features alive behind their ReLU
    _train_image_branch(net, options)
    _report(f"image branch ready, {time.perf_counter() - started:.0f} s")
    net.image_encoder.to(memory_format=torch.channels_last_3d)
    with grey_stem(net.image_encoder):
        fusion, validation = _features(net, options)
    _report(f"features ready, {time.perf_counter() - started:.0f} s")
    head, controls = train_heads(fusion, validation, options.seed)
    net.load_state_dict({**net.state_dict(), **head.state_dict()})
    net.eval()
    _save(net, controls, options)
    _report(f"done, {time.perf_counter() - started:.0f} s")


def _train_image_branch(net: MmcafNet, options: argparse.Namespace) -> None:
    """Train through the phases that are still to do; each leaves its weights in the cache folder."""
    helper = Helper(net.image_encoder)
    if options.resume_after:
        saved = torch.load(options.cache / f"phase-{options.resume_after}.pt", weights_only=True)
        net.image_encoder.load_state_dict(saved["encoder"])
        helper.load_state_dict(saved["helper"])
    phases = {number: phase for number, phase in PHASES.items() if number > options.resume_after}
    if not phases:
        return
    studies = load_split("encoder", options.cache, options.workers, options.limit)

    def keep(number: int) -> None:
        states = {"encoder": net.image_encoder.state_dict(), "helper": helper.state_dict()}
        torch.save(states, options.cache / f"phase-{number}.pt")

    with grey_stem(net.image_encoder):
        train_encoder(net.image_encoder, helper, studies, phases, options.seed, _report, keep)


def train_heads(fusion: Features, validation: Features, seed: int) -> tuple[Head, dict[str, torch.Tensor]]:
    """The fusion head, and the controls' weights with their constant inputs."""
    neutral_table, neutral_f = fusion.table.mean(0), fusion.f.mean(0)
    sets = {
        "fusion": (fusion, validation),
        "image_only": (without_table(fusion, neutral_table), without_table(validation, neutral_table)),
        "record_only": (without_image(fusion, neutral_f), without_image(validation, neutral_f)),
    }
    best: dict[str, Head] = {}
    for name, (train, valid) in sets.items():
        _report(name)
        runs = [train_head(train, valid, seed + run, _report) for run in range(RUNS)]
        best[name] = max(runs, key=lambda pair: pair[1])[0]
    controls = {"neutral.table": neutral_table, "neutral.features": neutral_f}
    for name in ("image_only", "record_only"):
        controls |= {f"{name}.{key}": value for key, value in best[name].state_dict().items()}
    return best["fusion"], {key: value.contiguous() for key, value in controls.items()}


def _features(net: MmcafNet, options: argparse.Namespace) -> tuple[Features, Features]:
    fusion = extract(net.image_encoder, load_split("fusion", options.cache, options.workers, options.limit))
    validation = extract(net.image_encoder, load_split("validation", options.cache, options.workers, options.limit))
    return fusion, validation


def _save(net: MmcafNet, controls: dict[str, torch.Tensor], options: argparse.Namespace) -> None:
    metadata = {
        "network": "mmcaf",
        "slices": str(CONFIG.slices),
        "size": str(CONFIG.size),
        "width": str(CONFIG.width),
        "fusion": CONFIG.fusion,
        "training": "synthetic phantoms; a demonstration, not a medical device",
        "seeds": json.dumps({name: [r.start, r.stop] for name, r in SPLITS.items()}),
        "seed": str(options.seed),
    }
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    for name, tensors, notes in (
        ("demo.safetensors", state, metadata),
        ("controls.safetensors", controls, {"training": metadata["training"]}),
    ):
        temporary = options.out / f"{name}.tmp"
        temporary.write_bytes(save(tensors, metadata=notes))
        temporary.replace(options.out / name)


def _report(line: str) -> None:
    print(line, flush=True)
