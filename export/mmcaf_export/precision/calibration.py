"""Ranges of activations, collected by running the FP32 network on calibration windows."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.errors import UsageError
from mmcaf_engine.outputs import temporary_folder

from ..onnx_files import load_model, save_model
from .edit import make_node
from .qdq import LEVELS

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)
Window = Mapping[str, NDArray[Any]]

PERCENTILE = 99.999
BINS = 2048
HISTOGRAM_WINDOWS = 8
SAMPLES = 1 << 18  # of one activation of one window
AT_ONCE = 16  # activations whose whole values are held at the same time


def largest_magnitudes(
    model: Path, values: Collection[str], windows: Iterable[Window], done: Callable[[int], object] = lambda count: None
) -> dict[str, float]:
    """Value -> largest magnitude over all windows; reduced within the run, so that no map is kept.

    Args:
        done: called with the number of windows that were run.
    """
    reduced = {f"{name}:largest": name for name in values}

    def add(graph: ir.Graph, known: Mapping[str, ir.Value]) -> None:
        for output, name in reduced.items():
            magnitude = make_node("Abs", [known[name]], f"{name}:magnitude", ir.DataType.FLOAT, known[name].shape)
            largest = make_node(
                "ReduceMax", [magnitude.outputs[0]], output, ir.DataType.FLOAT, ir.Shape([]), keepdims=0
            )
            graph.extend([magnitude, largest])
            graph.outputs.append(largest.outputs[0])

    found = dict.fromkeys(values, 0.0)
    for count, answers in enumerate(_runs(model, add, list(reduced), windows), start=1):
        done(count)
        for output, name in reduced.items():
            found[name] = max(found[name], float(answers[output]))
    return found


def ranges(model: Path, largest: Mapping[str, float], windows: Sequence[Window], method: Method) -> dict[str, float]:
    """Value -> magnitude that the last INT8 level stands for, by one of METHODS.

    minmax: the largest seen. percentile: what PERCENTILE percent stay below. entropy: the clipping whose
    quantised histogram differs least from the whole one (Kullback-Leibler divergence; Migacz, "8-bit inference
    with TensorRT", GTC 2017). The latter two use HISTOGRAM_WINDOWS of the windows, evenly spread.

    Raises:
        UsageError: no such method.
    """
    if method not in METHODS:
        raise UsageError(f"No calibration method is called {method!r}.", f"Choose one of: {', '.join(METHODS)}.")
    if method == "minmax":
        return dict(largest)
    spread = np.unique(np.linspace(0, len(windows) - 1, HISTOGRAM_WINDOWS).round().astype(int))
    counts = _histograms(model, largest, [windows[at] for at in spread])
    cut = _percentile_bin if method == "percentile" else _entropy_bin
    return {name: largest[name] * cut(counts[name]) / BINS for name in largest}


def _histograms(model: Path, largest: Mapping[str, float], windows: Sequence[Window]) -> dict[str, NDArray[np.int64]]:
    counts = {name: np.zeros(BINS, np.int64) for name in largest}
    names = list(largest)
    for start in range(0, len(names), AT_ONCE):
        group = names[start : start + AT_ONCE]

        def add(graph: ir.Graph, known: Mapping[str, ir.Value], group: list[str] = group) -> None:
            there = {*graph.inputs, *graph.outputs}
            graph.outputs.extend(known[name] for name in group if known[name] not in there)

        for window, answers in zip(windows, _runs(model, add, group, windows), strict=True):
            for name in group:
                values = np.abs(window[name] if name in window else answers[name]).ravel()
                values = values[:: max(1, values.size // SAMPLES)]
                bins = np.minimum(values * (BINS / max(largest[name], 1e-20)), BINS - 1).astype(np.int64)
                counts[name] += np.bincount(bins, minlength=BINS)
    return counts


def _percentile_bin(counts: NDArray[np.int64]) -> int:
    return int(np.searchsorted(np.cumsum(counts), counts.sum() * PERCENTILE / 100)) + 1


def _entropy_bin(counts: NDArray[np.int64]) -> int:
    """Bins to keep so that LEVELS + 1 levels describe the clipped histogram best.

    Zeros, most of what a rectifier makes, are exact at any scale: the first bin counts as much as the second.
    """
    counts = np.concatenate([counts[1:2], counts[1:]])
    if not counts.any():
        return BINS
    best, chosen = np.inf, BINS
    for kept in range(LEVELS + 1, BINS + 1, 16):
        clipped = counts[:kept].astype(np.float64)
        level = np.arange(kept) * (LEVELS + 1) // kept
        filled = clipped > 0
        totals = np.bincount(level, clipped, LEVELS + 1)
        shares = totals / np.maximum(np.bincount(level, filled, LEVELS + 1), 1)
        quantised = np.where(filled, shares[level], 0)
        clipped[-1] += counts[kept:].sum()
        seen = clipped > 0
        p, q = clipped[seen] / clipped.sum(), np.maximum(quantised[seen] / max(quantised.sum(), 1), 1e-12)
        divergence = float((p * np.log(p / q)).sum())
        if divergence < best:
            best, chosen = divergence, kept
    return chosen


def _runs(model: Path, add: Any, wanted: Sequence[str], windows: Iterable[Window]) -> Iterable[dict[str, NDArray[Any]]]:
    """Outputs of the model with more of its values shown, window by window."""
    onnxruntime = backend_class("onnxruntime").runtime()
    shown = load_model(model)
    known = {str(value.name): value for node in shown.graph for value in node.outputs}
    known |= {str(value.name): value for value in shown.graph.inputs}
    add(shown.graph, known)
    with temporary_folder() as folder:
        save_model(shown, folder / "shown.onnx")
        session = onnxruntime.InferenceSession(folder / "shown.onnx", providers=["CPUExecutionProvider"])
        names = [name for name in wanted if name in {output.name for output in session.get_outputs()}]
        for window in windows:
            # Without a name the runtime would answer with all outputs.
            answers = session.run(names, dict(window)) if names else []
            yield dict(zip(names, answers, strict=True))
