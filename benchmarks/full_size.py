"""What the benchmarks of a whole network share: its weights, its windows, and how its preparation is followed."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

LOGIT_BUDGET = 0.4
"""Of INT8: as much as the gate lets pass. Random weights amplify rounding as trained ones do not, so that a budget for
trained weights would leave in FP32 what is fast in INT8; compare with the plain export's error."""

PATIENCE = 10.0
"""Seconds without a word while it is prepared."""


class Steps:
    """Says each step, and how far one that takes long has come, with the seconds since the first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = self._said = clock()

    def tell(self, line: str) -> None:
        """Say it."""
        self._said = self._clock()
        print(f"{self._said - self._begun:6.0f} s  {line}", file=sys.stderr, flush=True)

    def progress(self, phase: str, done: int, total: int) -> None:
        """Say it if nothing was said for PATIENCE."""
        if self._clock() - self._said >= PATIENCE:
            self.tell(f"{phase}: {done} of {total}")


def set_random_weights(network: Any) -> None:
    """Seeded weights that keep the signal alive; with torch's own start it dies out, and every difference with it."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim >= 2:
                weight.normal_(0, weight[0].numel() ** -0.5)


def phantom_windows(bundle: Path, cohort: str) -> Iterator[dict[str, np.ndarray]]:
    """The middle window of each study of a cohort, input name -> array [1, ...]."""
    from mmcaf_engine import load_bundle
    from mmcaf_engine.evaluation.cohort import open_cohort
    from mmcaf_engine.record.tokenizer import open_tokenizer

    opened = load_bundle(bundle)
    manifest, tokenizer = opened.manifest, open_tokenizer(opened)
    for study in open_cohort(cohort, manifest):
        prepared = study.load(manifest, tokenizer)
        window = prepared.inputs(len(prepared) // 2, manifest)
        yield {name: array.copy() for name, array in window.items()}


def write_vocabulary(path: Path, pieces: int) -> Path:
    """A vocabulary of so many word pieces that mean nothing: most words of a report are unknown to it, a piece each."""
    named = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "no", "the", "of", "and", "is", "are"]
    made = [f"word{number}" for number in range(pieces - len(named))]
    path.write_text("\n".join([*named, *made]) + "\n", encoding="utf-8")
    return path
