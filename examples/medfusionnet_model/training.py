"""The phases of a slim MedFusionNet's training on synthetic chest studies.

First the image's part of the network learns which findings there are and, by a helper that is thrown away, where; then
the text encoder learns what reports tell. Both are frozen. Last all inputs are fused, with the report or the image left
out of some studies, so that the network answers without.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from examples.chest_studies.measure import compared, macro_auroc
from examples.chest_studies.studies import (
    COLUMNS,
    MAX_TOKENS,
    SPLITS,
    VOCABULARY,
    Studies,
    load_split,
    varied,
)
from examples.chest_studies.training import write_weights
from examples.chest_studies.words import train_words
from examples.medfusionnet_model.fuse import features, fuse
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from mmcaf_engine.demo import CHEST_FINDINGS
from mmcaf_export.networks.medfusionnet.config import MedFusionConfig
from mmcaf_export.networks.medfusionnet.network import MedFusionNet
from mmcaf_export.networks.medfusionnet.selection import fit

HERE = Path(__file__).parent
SIZE = 160
BEST = 2  # columns that each label keeps
END = VOCABULARY.read_text(encoding="utf-8").splitlines().index("[SEP]")
IMAGES, WORDS, FUSED = 1500, 900, 1500
"""Steps of image, text encoder and fusion."""
BATCH = 16
RATE = 4e-3
WHERE = 10.0
"""Weight of the loss that tells where findings show."""
_TEXT = ".text_encoder."
PAIRS = {
    "all": (True, True),
    "without report": (True, False),
    "without image": (False, True),
    "values alone": (False, False),
}
"""What was given -> whether the image was, and whether the report was."""


def train(options: argparse.Namespace) -> None:
    """Train, choose the thresholds on the validation split, report on the test split, and write weights.safetensors."""
    started = time.perf_counter()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    splits = {name: load_split(name, SIZE, options.cache, options.workers, options.limit) for name in SPLITS}
    train = splits["train"]
    print(f"{len(train)} studies, {time.perf_counter() - started:.0f} s", flush=True)
    chosen = fit(train.table, train.present.astype(int), best=BEST)
    network = MedFusionNet(config(len(chosen.feature_index))).to(memory_format=torch.channels_last)
    network.metadata_selection.load_state_dict(chosen.buffers())
    if options.report:
        network.load_state_dict(load_file(HERE / "weights.safetensors"))
        with safe_open(HERE / "weights.safetensors", "pt") as file:
            thresholds = json.loads(file.metadata()["thresholds"])
        print(json.dumps(report(network, splits["test"], thresholds), indent=1))
        return
    helper = Where(network)
    between = options.cache / "medfusionnet-images.pt"
    if options.resume:
        helper.load_state_dict(torch.load(between, weights_only=True), strict=False)
    else:
        _train(network, helper, train, np.random.default_rng([options.seed, 0]))
        torch.save({key: value for key, value in helper.state_dict().items() if _TEXT not in key}, between)
    _say(network, splits["validation"], "image", started)
    train_words(network.text_encoder, train, splits["validation"], WORDS, np.random.default_rng([options.seed, 1]))
    seen = features(network, train, batch, torch.Generator().manual_seed(options.seed))
    fuse(network, train, seen, FUSED, np.random.default_rng([options.seed, 2]))
    _say(network, splits["validation"], "fusion", started)
    thresholds = youden(scores(network, splits["validation"]), splits["validation"].present)
    print(json.dumps(report(network, splits["test"], thresholds), indent=1), flush=True)
    metadata = {
        "network": "medfusionnet",
        "labels": json.dumps(CHEST_FINDINGS),
        "thresholds": json.dumps(thresholds),
        "columns": json.dumps(COLUMNS),
        "threshold_labels": json.dumps(chosen.label_names(CHEST_FINDINGS)),
    }
    write_weights(options.out, network.state_dict(), options.seed, metadata)


def config(features: int) -> MedFusionConfig:
    """Of the slim network."""
    return MedFusionConfig(
        modalities="image+metadata+text",
        labels=len(CHEST_FINDINGS),
        features=features,
        size=SIZE,
        width=64,
        hidden=64,
        head=32,
        stem=16,
        growth=12,
        bottleneck=2,
        blocks="3-6-8-6",
        text_vocabulary=len(VOCABULARY.read_text(encoding="utf-8").splitlines()),
        text_width=64,
        text_layers=2,
        text_heads=1,
        text_intermediate=128,
        text_positions=MAX_TOKENS,
        text_types=2,
    )


class Where(nn.Module):
    """Where findings show, [N, K, S / 8, S / 8], read off the finest map that the pyramid made of the last image."""

    def __init__(self, network: MedFusionNet) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Conv2d(network.config.width, network.config.labels, 1)
        nn.init.constant_(self.head.bias, -4.0)
        self.maps: tuple[Tensor, Tensor, Tensor] | None = None
        network.image_encoder.register_forward_hook(self._keep)

    def forward(self) -> Tensor:
        third, fourth, fifth = self.network.feature_pyramid.lateral
        fine, middle, coarse = self.maps
        p4 = fourth(middle) + F.interpolate(fifth(coarse), scale_factor=2.0)
        return self.head(F.relu(third(fine) + F.interpolate(p4, scale_factor=2.0)))

    def _keep(self, encoder: nn.Module, images: tuple[Tensor], maps: tuple[Tensor, Tensor, Tensor]) -> None:
        self.maps = maps


def _train(network: MedFusionNet, helper: Where, studies: Studies, generator: np.random.Generator) -> None:
    network.train()
    # Reports without a word would only wear the text encoder down.
    learned = [parameter for name, parameter in helper.named_parameters() if _TEXT not in name]
    optimizer = torch.optim.AdamW(learned, lr=RATE, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=IMAGES)
    noise = torch.Generator().manual_seed(int(generator.integers(2**31)))
    running = np.zeros(2)
    for step in range(IMAGES):
        chosen = generator.integers(0, len(studies), BATCH)
        image, *others = batch(network, studies, chosen, with_report=False)
        image, where = varied(image, torch.from_numpy(studies.where[chosen]) / 255, noise)
        present = torch.from_numpy(studies.present[chosen]).float()
        loss = F.binary_cross_entropy_with_logits(network(image, *others), present)
        elsewhere = F.binary_cross_entropy_with_logits(helper(), where)
        optimizer.zero_grad()
        (loss + WHERE * elsewhere).backward()
        nn.utils.clip_grad_norm_(learned, 3.0)
        optimizer.step()
        rate.step()
        running += 0.02 * (np.array([loss.item(), elsewhere.item()]) - running)
        if step % 100 == 99:
            print(f"  step {step + 1}: loss {running[0]:.3f}, of where {running[1]:.4f}", flush=True)


def _say(network: MedFusionNet, studies: Studies, done: str, started: float) -> None:
    found = {
        name: round(macro_auroc(scores(network, studies, *pair), studies.present), 3) for name, pair in PAIRS.items()
    }
    print(f"{done} done, {time.perf_counter() - started:.0f} s, validation: {found}", flush=True)


def batch(
    network: MedFusionNet, studies: Studies, chosen: np.ndarray, with_image: bool = True, with_report: bool = True
) -> list[Tensor]:
    """The network's inputs; an image that is left out is even grey, a report that is left out has no word."""
    channels = network.config.channels
    image = studies.grey(chosen, channels.grey_mean, channels.grey_std)
    ids, mask = studies.words(chosen)
    if not with_report:
        ids, mask = torch.stack([ids[:, 0], torch.full_like(ids[:, 0], END)], dim=1), torch.ones_like(mask[:, :2])
    image = image if with_image else torch.zeros_like(image)
    return [image.to(memory_format=torch.channels_last), torch.from_numpy(studies.table[chosen]), ids, mask]


@torch.inference_mode()
def scores(network: MedFusionNet, studies: Studies, with_image: bool = True, with_report: bool = True) -> np.ndarray:
    """Probabilities [N, K]."""
    network.eval()
    parts = np.array_split(np.arange(len(studies)), max(1, len(studies) // 50))
    logits = [network(*batch(network, studies, part, with_image, with_report)) for part in parts]
    return torch.cat(logits).sigmoid().numpy()


def youden(probabilities: np.ndarray, present: np.ndarray) -> list[float]:
    """For each finding the threshold where true positive rate less false positive rate is largest."""
    chosen = []
    for values, there in zip(probabilities.T, present.T, strict=True):
        cuts = np.unique(values)
        cuts = (cuts[:-1] + cuts[1:]) / 2
        gain = (values[there][:, None] >= cuts).mean(0) - (values[~there][:, None] >= cuts).mean(0)
        chosen.append(round(float(cuts[gain.argmax()]), 4))
    return chosen


def report(network: MedFusionNet, studies: Studies, thresholds: list[float]) -> dict[str, object]:
    """AUROC of all findings and of each, with all inputs and with some left out; and the decisions with all."""
    told = {name: scores(network, studies, *pair) for name, pair in PAIRS.items()}
    found: dict[str, object] = dict(compared(told, studies.present))
    for at, finding in enumerate(CHEST_FINDINGS):
        there, said = studies.present[:, at], told["all"][:, at] >= thresholds[at]
        found[finding] = {
            **{name: round(macro_auroc(one[:, [at]], there[:, None]), 3) for name, one in told.items()},
            "threshold": thresholds[at],
            "sensitivity": round(float(said[there].mean()), 3),
            "specificity": round(float(1 - said[~there].mean()), 3),
        }
    return found
