"""How a case of gpu.py is measured: compared with the source network, then timed with a warm and a cold L2 cache."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from card import card_state

WINDOW = (1, 1, 12, 192, 192)
WARM_UP = 10
TOLERANCE = {"fp32": 1e-3, "tf32": 2e-2, "fp16": 2e-2, "bf16": 5e-2, "int8": 5e-1}
"""Largest |difference in logit| from the source network with which a case may be timed. FP32 on a GPU sums in another
order; INT8 here is calibrated on phantoms for weights that are random, which says nothing of a trained network."""

Inputs = dict[str, np.ndarray]
Row = dict[str, Any]
"""What a case found: "ms" of each run with a cold L2 cache, "warm_ms" with a warm one, and the rest; or "left_out"
with the reason."""


def measure(
    run: Callable[[Inputs], np.ndarray], folder: Path, runs: int, precision: str, started: float, windows: int = 1
) -> Row:
    """Cold start, correctness, then times, and the most GPU memory that this process took.

    The cold start is from the start of the case, before its imports, to the first answer. Each run is timed on the
    host, with the copies to and from the GPU: first one after the other, then each with an emptied L2 cache. What
    empties it takes memory, and torch, which the case may not have loaded: the peak is read before.
    """
    inputs, logit = inputs_of(folder, windows)
    first = run(inputs)
    cold = time.perf_counter() - started
    error = max(float(np.abs(answer - logit).max()) for answer in (first, run(inputs)))
    if not error <= TOLERANCE[precision]:
        return {"left_out": f"wrong: off by {error:.2g} in the logit, at most {TOLERANCE[precision]:g} is allowed"}
    for _ in range(WARM_UP):
        run(inputs)
    used, state = gpu_megabytes(), card_state()
    warm, _ = _spent(run, inputs, runs, lambda: None, state)
    used = max(used, gpu_megabytes())
    from gpu_timing import emptier

    spent, card = _spent(run, inputs, runs, emptier(), state)
    return {
        "precision": precision,
        "shape": "x".join(map(str, (windows, *WINDOW[1:]))),
        "windows": windows,
        "ms": spent,
        "warm_ms": warm,
        "cold_s": cold,
        "gpu_mb": used,
        "error": error,
        "card": card,
    }


def _spent(
    run: Callable[[Inputs], np.ndarray],
    inputs: Inputs,
    runs: int,
    before: Callable[[], None],
    state: Callable[[], dict[str, str]],
) -> tuple[list[float], dict[str, str]]:
    """Milliseconds of each run, and the card's state between two of them; `before` each is not counted."""
    spent: list[float] = []
    card: dict[str, str] = {}
    for turn in range(runs):
        before()
        begun = time.perf_counter()
        run(inputs)
        spent.append((time.perf_counter() - begun) * 1e3)
        if turn == runs // 2:
            card = state()
    return spent, card


def inputs_of(folder: Path, windows: int) -> tuple[Inputs, np.ndarray]:
    """The first windows of the study that was prepared there, and the source network's logits of them."""
    with np.load(folder / "case.npz") as case:
        return {name: case[name][:windows] for name in ("image", "table")}, case["logit"][:windows]


def gpu_megabytes() -> float:
    """Memory in use on the GPU, by everybody: nothing else should run on it. NaN if the driver does not say."""
    from mmcaf_engine.machine.gpu import first_gpu, free_memory

    gpu = first_gpu()
    free = None if gpu is None else free_memory(gpu)
    return float("nan") if gpu is None or free is None else (gpu.memory - free) / 2**20
