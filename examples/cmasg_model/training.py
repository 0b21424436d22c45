"""The phases of a slim CMASG-Bi-LSTM's training on synthetic chest studies.

First the image encoder learns which findings there are and where, and the text encoder what reports tell, by helpers
that are thrown away. Then the whole network learns normal from abnormal, where the report or the image is left out of
some batches; each LSTM unit has a stochastic gate (hard concrete: Louizos and others, "Learning sparse neural networks
through L0 regularization", ICLR 2018), and open ones have a price until half of them are shut. Last, what is left
learns on without chance.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from examples.chest_studies.measure import compared, macro_auroc
from examples.chest_studies.studies import MAX_TOKENS, SPLITS, VOCABULARY, Studies, load_split, varied
from examples.chest_studies.training import write_weights
from examples.chest_studies.words import train_words
from safetensors.torch import load_file
from torch import Tensor, nn

from mmcaf_engine.demo import CHEST_FINDINGS, CHEST_LABELS
from mmcaf_export.networks.cmasg import CmasgConfig, CmasgNet
from mmcaf_export.networks.cmasg.recurrent import DIRECTIONS, SparseGate

HERE = Path(__file__).parent
CONFIG = CmasgConfig(
    size=160,
    width=1 / 8,
    text_vocabulary=len(VOCABULARY.read_text(encoding="utf-8").splitlines()),
    text_width=64,
    text_layers=2,
    text_heads=1,
    text_intermediate=128,
    text_positions=MAX_TOKENS,
    features=64,
    hidden=32,
    hidden_reverse=32,
)
END = VOCABULARY.read_text(encoding="utf-8").splitlines().index("[SEP]")
BATCH = 32
OPEN = 0.5
"""Share of LSTM units that are to stay."""
STRETCH, TEMPERATURE = 0.1, 2 / 3
"""Of the hard concrete distribution: how far beyond 0 and 1 it reaches before it is cut, and how smooth it is."""


@dataclass(frozen=True)
class Phase:
    """rate: the highest of its learning-rate cycle; images, reports: share of batches that have them.

    what: image or words, that encoder and its helper alone; gated, all with stochastic gates; fixed, with their bits.
    """

    what: str
    steps: int
    rate: float
    images: float = 1.0
    reports: float = 1.0


PHASES = (
    Phase("image", 1000, 4e-3),
    Phase("words", 900, 3e-3),
    Phase("gated", 400, 3e-3, images=0.85, reports=0.75),
    Phase("fixed", 200, 1.5e-3, images=0.85, reports=0.75),
)
GIVEN = {"both": (True, True), "without report": (True, False), "without image": (False, True)}
"""What was given -> whether the image was, and whether the report was."""


class StochasticGate(SparseGate):
    """A SparseGate whose bits are drawn for each batch, so that how likely each is to be 1 can be learned."""

    def __init__(self, config: CmasgConfig) -> None:
        super().__init__(config)
        for ending, hidden in zip(DIRECTIONS, (config.hidden, config.hidden_reverse), strict=True):
            self.register_parameter(f"log_alpha_l0{ending}", nn.Parameter(0.8 + 0.5 * torch.randn(hidden)))
        self.drawn: dict[str, Tensor] = {}

    def draw(self, noise: torch.Generator) -> None:
        """Draw a value from 0 to 1 for every unit, often one of the ends."""
        for ending in DIRECTIONS:
            alpha = self.get_parameter(f"log_alpha_l0{ending}")
            chance = torch.rand(alpha.shape, generator=noise).clamp(1e-4, 1 - 1e-4)
            smooth = torch.sigmoid((chance.log() - (1 - chance).log() + alpha) / TEMPERATURE)
            self.drawn[ending] = (smooth * (1 + 2 * STRETCH) - STRETCH).clamp(0, 1)

    def fix(self) -> None:
        """The bits as they will stay: 1 where the distribution's middle is at least a half."""
        for ending in DIRECTIONS:
            self.get_buffer(f"keep_l0{ending}").copy_(self.get_parameter(f"log_alpha_l0{ending}") >= 0)
        self.drawn = {}

    def alphas(self) -> Tensor:
        """The parameters of all units, both directions."""
        return torch.cat([self.get_parameter(f"log_alpha_l0{ending}") for ending in DIRECTIONS])

    def price(self) -> Tensor:
        """Mean probability that a unit's gate is not shut, while more than `OPEN` of them would be kept; else 0."""
        kept = (self.alphas() >= 0).float().mean()
        shift = TEMPERATURE * math.log(STRETCH / (1 + STRETCH))
        return torch.sigmoid(self.alphas() - shift).mean() * (kept > OPEN)

    def open(self, read: Tensor, hidden: Tensor, ending: str) -> Tensor:
        opened = super().open(read, hidden, ending)
        return opened * self.drawn[ending] if self.drawn else opened


class Where(nn.Module):
    """Which findings an image shows, [N, K], and where, [N, K, S / 32, S / 32] and [N, K, S / 16, S / 16]."""

    def __init__(self, network: CmasgNet) -> None:
        super().__init__()
        self.encoder, self.grey = network.image_encoder, network.grey
        channels = network.image_encoder.channels
        self.coarse, self.fine = (nn.Conv2d(width, len(CHEST_FINDINGS), 1) for width in (channels, channels // 2))
        self.present = nn.Linear(2 * channels, len(CHEST_FINDINGS))
        self.third: Tensor | None = None
        self.encoder.layer3.register_forward_hook(self._keep)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        last = self.encoder(self.grey(image))
        pooled = torch.cat([last.mean(dim=(2, 3)), last.amax(dim=(2, 3))], dim=1)
        return self.present(pooled), self.coarse(last), self.fine(self.third)

    def _keep(self, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        self.third = output


def train(options: argparse.Namespace) -> None:
    """Train, report on the test split, and write weights.safetensors."""
    started = time.perf_counter()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    splits = {name: load_split(name, CONFIG.size, options.cache, options.workers, options.limit) for name in SPLITS}
    train = splits["train"]
    print(f"{len(train)} studies, {time.perf_counter() - started:.0f} s", flush=True)
    network = CmasgNet(CONFIG)
    network.sparse_gate = StochasticGate(CONFIG)
    network = network.to(memory_format=torch.channels_last)
    if options.report:
        network.load_state_dict(load_file(HERE / "weights.safetensors"), strict=False)  # log_alpha is not kept
        print(json.dumps(report(network, splits["test"]), indent=1))
        return
    for number, phase in enumerate(PHASES):
        generator = np.random.default_rng([options.seed, number])
        if phase.what == "image":
            _train_image(network, phase, train, generator)
        elif phase.what == "words":
            train_words(network.text_encoder, train, splits["validation"], phase.steps, generator)
        else:
            _train(network, phase, train, generator)
            held_out = splits["validation"]
            truth = held_out.labels[:, None] > 0
            areas = {
                name: round(macro_auroc(scores(network, held_out, *given)[:, None], truth), 3)
                for name, given in GIVEN.items()
            }
            print(f"validation: {areas}", flush=True)
        print(f"phase {number + 1} done, {time.perf_counter() - started:.0f} s", flush=True)
    print(json.dumps(report(network, splits["test"]), indent=1), flush=True)
    state = {key: value for key, value in network.state_dict().items() if "log_alpha" not in key}
    metadata = {"network": "cmasg", "size": str(CONFIG.size), "labels": json.dumps(CHEST_LABELS)}
    write_weights(options.out, state, options.seed, metadata)


def _train_image(network: CmasgNet, phase: Phase, studies: Studies, generator: np.random.Generator) -> None:
    helper = Where(network)
    helper.train()
    optimizer = torch.optim.AdamW(helper.parameters(), lr=phase.rate, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, phase.rate, total_steps=phase.steps)
    noise = torch.Generator().manual_seed(int(generator.integers(2**31)))
    running = np.zeros(2)
    for step in range(phase.steps):
        chosen = generator.integers(0, len(studies), BATCH)
        image, where = varied(_image(studies, chosen), torch.from_numpy(studies.where[chosen]) / 255, noise)
        present, coarse, fine = helper(image)
        told = F.binary_cross_entropy_with_logits(present, torch.from_numpy(studies.present[chosen]).float())
        elsewhere = sum(
            F.binary_cross_entropy_with_logits(found, F.adaptive_max_pool2d(where, found.shape[2:]))
            for found in (coarse, fine)
        )
        _step(optimizer, rate, told + 3 * elsewhere)
        running += 0.02 * (np.array([told.item(), elsewhere.item()]) - running)
        if step % 100 == 99:
            print(f"  step {step + 1}: loss {running[0]:.3f}, of where {running[1]:.4f}", flush=True)


def _train(network: CmasgNet, phase: Phase, studies: Studies, generator: np.random.Generator) -> None:
    network.train()
    gate = network.sparse_gate
    if phase.what == "fixed":
        gate.fix()
    parts: dict[str, list[nn.Parameter]] = {"image_encoder": [], "log_alpha": [], "": []}
    for name, parameter in network.named_parameters():
        parts[next(part for part in parts if part in name)].append(parameter)
    rates = [0.3 * phase.rate, 2 * phase.rate, phase.rate]
    groups = [{"params": part, "lr": rate} for part, rate in zip(parts.values(), rates, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=phase.steps)
    noise = torch.Generator().manual_seed(int(generator.integers(2**31)))
    running = 0.0
    for step in range(phase.steps):
        chosen = generator.integers(0, len(studies), BATCH)
        given = generator.random() < phase.images, generator.random() < phase.reports
        image, ids, mask = batch(studies, chosen, *given)
        if given[0]:
            image, _ = varied(image, torch.from_numpy(studies.where[chosen]) / 255, noise)
        if phase.what == "gated":
            gate.draw(noise)
        loss = F.cross_entropy(network(image, ids, mask), torch.from_numpy(studies.labels[chosen]))
        _step(optimizer, rate, loss + (gate.price() if phase.what == "gated" else 0))
        running += 0.02 * (loss.item() - running)
        if step % 50 == 49:
            print(f"  step {step + 1}: loss {running:.3f}, open {(gate.alphas() >= 0).float().mean():.2f}", flush=True)


def _step(optimizer: torch.optim.Optimizer, rate: torch.optim.lr_scheduler.LRScheduler, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    for group in optimizer.param_groups:
        torch.nn.utils.clip_grad_norm_(group["params"], 3.0)
    optimizer.step()
    rate.step()


def _image(studies: Studies, chosen: np.ndarray) -> Tensor:
    channels = CONFIG.channels
    return studies.grey(chosen, channels.grey_mean, channels.grey_std).to(memory_format=torch.channels_last)


def batch(
    studies: Studies, chosen: np.ndarray, with_image: bool = True, with_report: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The network's inputs; an image that is left out is even grey, a report that is left out has no word."""
    image = _image(studies, chosen)
    ids, mask = studies.words(chosen)
    if not with_report:
        ids, mask = torch.stack([ids[:, 0], torch.full_like(ids[:, 0], END)], dim=1), torch.ones_like(mask[:, :2])
    return image if with_image else torch.zeros_like(image), ids, mask


@torch.inference_mode()
def scores(network: CmasgNet, studies: Studies, with_image: bool = True, with_report: bool = True) -> np.ndarray:
    """Probability of being abnormal, [N]."""
    network.eval()
    drawn, network.sparse_gate.drawn = network.sparse_gate.drawn, {}
    parts = np.array_split(np.arange(len(studies)), max(1, len(studies) // 50))
    logits = torch.cat([network(*batch(studies, part, with_image, with_report)) for part in parts])
    network.sparse_gate.drawn = drawn
    return logits.softmax(dim=1)[:, 1].numpy()


def report(network: CmasgNet, studies: Studies) -> dict[str, object]:
    """AUROC and accuracy with image and report, and with one of them left out; and the LSTM units that stay."""
    truth = studies.labels > 0
    told = {name: scores(network, studies, *given) for name, given in GIVEN.items()}
    found = compared({name: one[:, None] for name, one in told.items()}, truth[:, None])
    for name, one in told.items():
        found[name]["accuracy"] = f"{((one >= 0.5) == truth).mean():.3f}"
    kept = [int(network.sparse_gate.get_buffer(f"keep_l0{ending}").sum()) for ending in DIRECTIONS]
    return {**found, "units kept": kept, "of": [CONFIG.hidden, CONFIG.hidden_reverse]}
