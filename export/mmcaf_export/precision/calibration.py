"""Ranges of activations, collected from the FP32 network on calibration windows."""

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
from .side_by_side import in_order, workers

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)
Window = Mapping[str, NDArray[Any]]

PERCENTILE = 99.999
BINS = 2048
SAMPLES = 1 << 18  # of one activation of one window, about
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


class Histograms:
    """How often each magnitude occurs in an activation, of the windows that were added; all methods share them.

    Args:
        largest: activation -> its largest magnitude, where the last of BINS ends.
    """

    def __init__(self, largest: Mapping[str, float]) -> None:
        self.largest = dict(largest)
        self.counts = {name: np.zeros(BINS, np.int64) for name in largest}

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Count an activation of one window, of which every so many values make SAMPLES at most about."""
        flat = values.ravel()
        taken = np.abs(flat[:: max(1, flat.size // SAMPLES)])
        bins = np.minimum(taken * (BINS / max(self.largest[name], 1e-20)), BINS - 1).astype(np.int64)
        self.counts[name] += np.bincount(bins, minlength=BINS)

    def include(self, other: "Histograms") -> None:
        """Add what another has counted of the same activations."""
        for name, counts in other.counts.items():
            self.counts[name] += counts

    def ranges(self, method: Method) -> dict[str, float]:
        """Value -> magnitude that the last INT8 level stands for, by one of METHODS.

        minmax: the largest seen. percentile: what PERCENTILE percent stay below. entropy: the clipping whose
        quantised histogram differs least from the whole one (Kullback-Leibler divergence; Migacz, "8-bit inference
        with TensorRT", GTC 2017).

        Raises:
            UsageError: no such method.
        """
        if method not in METHODS:
            raise UsageError(f"No calibration method is called {method!r}.", f"Choose one of: {', '.join(METHODS)}.")
        if method == "minmax":
            return dict(self.largest)
        cut = _percentile_bin if method == "percentile" else _entropy_bin
        return {name: largest * cut(self.counts[name]) / BINS for name, largest in self.largest.items()}


def histograms(model: Path, largest: Mapping[str, float], windows: Sequence[Window]) -> Histograms:
    """Of these windows, by runs of the whole network, each of which shows AT_ONCE activations."""
    found = Histograms(largest)
    names = list(largest)
    for start in range(0, len(names), AT_ONCE):
        group = names[start : start + AT_ONCE]

        def add(graph: ir.Graph, known: Mapping[str, ir.Value], group: list[str] = group) -> None:
            there = {*graph.inputs, *graph.outputs}
            graph.outputs.extend(known[name] for name in group if known[name] not in there)

        for window, answers in zip(windows, _runs(model, add, group, windows), strict=True):
            for name in group:
                found.add(name, window[name] if name in window else answers[name])
    return found


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
    shown = load_model(model)
    known = {str(value.name): value for node in shown.graph for value in node.outputs}
    known |= {str(value.name): value for value in shown.graph.inputs}
    add(shown.graph, known)
    names = [name for name in wanted if name in {output.name for output in shown.graph.outputs}]
    if not names:
        yield from ({} for _ in windows)
        return
    with temporary_folder() as folder:
        save_model(shown, folder / "shown.onnx")
        yield from in_order(_runner(folder / "shown.onnx", names), windows, workers())


def _runner(model: Path, names: Sequence[str]) -> Callable[[Window], dict[str, NDArray[Any]]]:
    """Runs a model in one thread of the caller's, in ONNX Runtime, whose sums depend on the number of threads."""
    onnxruntime = backend_class("onnxruntime").runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda window: dict(zip(names, session.run(names, dict(window)), strict=True))
