"""INT8 by calibration: which layers, with which ranges, so that the answer stays what it was."""

import math
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mmcaf_engine.backends import backend_class, processor_backend
from mmcaf_engine.backends.base import Backend
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.session import usable_cores

from ..onnx_files import load_model, save_model
from . import one_pass_variance
from .calibration import METHODS, Method, Window, largest_magnitudes, ranges
from .layer_times import layer_times
from .layers import Layer, candidates, worthwhile
from .qdq import insert_qdq

LOGIT_BUDGET = 0.05
"""Root mean square of the logit error that all layers together may be expected to add, unless another is named."""

SENSITIVITY_WINDOWS = 12

Processor = Literal["cpu", "gpu"]
PROCESSORS: tuple[Processor, ...] = get_args(Processor)
"""What the choice of layers is made for."""

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Int8Plan:
    """What was decided, and why.

    layers: convolutions and matrix products in INT8. kept: those left in FP32 -> the reason. method_errors: root mean
    square of the logit's change over all calibration windows, by method; `method` has the least.
    """

    method: Method
    method_errors: dict[Method, float]
    ranges: dict[str, float]
    layers: tuple[str, ...]
    kept: dict[str, str]


def plan_int8(
    model: Path,
    manifest: Manifest,
    windows: Sequence[Window],
    *,
    method: Method | None,
    budget: float,
    processor: Processor,
    tell: Callable[[str], None],
) -> Int8Plan:
    """Choose layers and ranges by measurement on this machine.

    A layer becomes INT8 if that makes it faster, and if its own effect on the logit, measured with all others in
    FP32, leaves the sum of all effects within `budget`; those that cost most error for the time they
    save are left out first. Products of one numbered part, such as a layer of BERT, are measured and decided together.
    For a GPU, which need not be at hand, arithmetic stands for time, and grouped convolutions take part.

    Args:
        model: the FP32 model.
        windows: of several studies; the ranges hold for them. The last is the one that layers are timed on.
        method: of METHODS; without it the one with the least error is taken.
        budget: root mean square of the logit error that all layers together may be expected to add.
    """
    everything = candidates(load_model(model), grouped=processor == "gpu")
    tell(f"running the network on {len(windows)} calibration windows")
    largest = largest_magnitudes(model, {layer.input for layer in everything}, windows)
    nodes = {layer.node for layer in everything}
    times = None
    if processor == "cpu":
        tell("timing every layer in FP32 and INT8")
        times = _times(model, nodes, largest, windows[-1])
    saved = worthwhile(everything, times)
    judge = int8_judge(processor)
    chosen = windows[:: max(1, len(windows) // SENSITIVITY_WINDOWS)][:SENSITIVITY_WINDOWS]
    with tempfile.TemporaryDirectory() as scratch:
        trial = _Trial(model, manifest, chosen, judge, Path(scratch))
        whole = _Trial(model, manifest, windows, judge, Path(scratch))
        choices = _choices(everything, saved)
        errors: dict[str, float] = {}
        for done, (name, members) in enumerate(choices.items(), start=1):
            tell(f"layer {done} of {len(choices)}: {name}")
            errors[name] = trial.error(members, largest)
        layers, kept = _within_budget(choices, saved, errors, budget)
        kept |= dict.fromkeys(nodes - saved.keys(), "INT8 is not faster")
        tried = METHODS if method is None else (method,)
        found = {}
        for name in tried:
            tell(f"trying ranges by {name}")
            found[name] = ranges(model, largest, windows, name)
        method_errors = {name: whole.error(layers, limits) for name, limits in found.items()}
    best = min(method_errors, key=lambda name: method_errors[name])
    order = [layer.node for layer in everything]
    return Int8Plan(
        best,
        method_errors,
        found[best],
        tuple(node for node in order if node in layers),
        {node: kept[node] for node in order if node in kept},
    )


def int8_judge(processor: Processor) -> type[Backend]:
    """Where INT8 is run to see what it costs: on a CPU as it will run, for a GPU as ONNX defines it.

    Raises:
        BackendError: nothing runs INT8 here.
    """
    return processor_backend("int8") if processor == "cpu" else backend_class("onnxruntime")


def write_int8(model: Path, output: Path, layers: Collection[str], limits: Mapping[str, float]) -> None:
    """Write the model with these layers in INT8."""
    network = load_model(model)
    one_pass_variance.apply(network)
    insert_qdq(network, layers, limits)
    save_model(network, output)


def _choices(layers: Sequence[Layer], saved: Mapping[str, float]) -> dict[str, list[str]]:
    """What is decided at once: the group or the layer's own name -> those of its layers that INT8 makes faster."""
    choices: dict[str, list[str]] = {}
    for layer in layers:
        if layer.node in saved:
            choices.setdefault(layer.group or layer.node, []).append(layer.node)
    return choices


def _within_budget(
    choices: Mapping[str, Sequence[str]], saved: Mapping[str, float], errors: Mapping[str, float], budget: float
) -> tuple[set[str], dict[str, str]]:
    """The layers whose effects stay within the budget together, and for the others why they do not."""
    gains = {name: sum(saved[node] for node in members) for name, members in choices.items()}
    layers: set[str] = set()
    kept: dict[str, str] = {}
    total = 0.0
    for name in sorted(errors, key=lambda name: (errors[name] ** 2 / gains[name], name)):
        members = choices[name]
        if total + errors[name] ** 2 <= budget**2:
            total += errors[name] ** 2
            layers.update(members)
        else:
            rest = f", with the other products of {name}" if len(members) > 1 else ""
            kept |= dict.fromkeys(members, f"moves the logit by {errors[name]:.2g}{rest}")
    return layers, kept


def _times(
    model: Path, nodes: Collection[str], limits: Mapping[str, float], window: Window
) -> dict[str, tuple[float, float]] | None:
    """Node -> (FP32, INT8) milliseconds; None without OpenVINO."""
    with tempfile.TemporaryDirectory() as scratch:
        quantised = Path(scratch) / "model.onnx"
        write_int8(model, quantised, nodes, limits)
        before = layer_times(model, window, usable_cores())
        after = layer_times(quantised, window, usable_cores())
    if before is None or after is None:
        return None
    return {node: (before[node], after[node]) for node in nodes if node in before and node in after}


class _Trial:
    """Measures what quantising some layers does to the logit, in one backend.

    Runtimes differ: a layer that one answers well in INT8 can be far off in another, from the same file.
    """

    def __init__(
        self, model: Path, manifest: Manifest, windows: Sequence[Window], judge: type[Backend], scratch: Path
    ) -> None:
        self.model, self.manifest, self.windows, self.scratch = model, manifest, windows, scratch
        self.judge = judge
        self.expected = self._scores(model)

    def error(self, layers: Collection[str], limits: Mapping[str, float]) -> float:
        """Root mean square of the logit's change; infinite if anything is not finite."""
        quantised = self.scratch / "model.onnx"
        write_int8(self.model, quantised, layers, limits)
        change = self._scores(quantised) - self.expected
        return math.sqrt(float((change**2).mean())) if np.isfinite(change).all() else math.inf

    def _scores(self, model: Path) -> Scores:
        manifest = self.manifest
        with self.judge.of(manifest, model, usable_cores(), "int8") as opened:
            answers = [opened.infer(dict(window)) for window in self.windows]
        return np.concatenate([answer[manifest.outputs[0].name].ravel() for answer in answers]).astype(np.float64)
