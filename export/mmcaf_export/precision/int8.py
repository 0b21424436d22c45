"""INT8 by calibration: which layers, with which ranges, so that the answer stays what it was."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.outputs import temporary_folder
from mmcaf_engine.session.choice import processor_backend

from ..onnx_files import load_model, save_model
from . import one_pass_variance
from .calibration import METHODS, Method, Window, largest_magnitudes, ranges
from .course import Course, arrays_sha256, model_sha256
from .effects import SENSITIVITY_WINDOWS, Trial, evenly, within_budget
from .layer_times import layer_times
from .layers import candidates, grouped_by_part, worthwhile
from .qdq import insert_qdq

Processor = Literal["cpu", "gpu"]
PROCESSORS: tuple[Processor, ...] = get_args(Processor)
"""What the choice of layers is made for."""


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


class Int8Planner:
    """Chooses layers and ranges by measurement on this machine.

    A layer becomes INT8 if that makes it faster, and if its own effect on the logit, measured with all others in
    FP32, leaves the sum of all effects within a budget; those that cost most error for the time they
    save are left out first. Products of one numbered part, such as a layer of BERT, are measured and decided together.
    For a GPU, which need not be at hand, arithmetic stands for time, and grouped convolutions take part.

    Args:
        model: the FP32 model.
        windows: of several studies; the ranges hold for them. The last is the one that layers are timed on.
        method: of METHODS; without it the one with the least error is taken.
    """

    def __init__(
        self,
        model: Path,
        manifest: Manifest,
        windows: Sequence[Window],
        *,
        method: Method | None,
        processor: Processor,
        course: Course,
    ) -> None:
        self._model, self._windows, self._course = model, windows, course
        self._methods = METHODS if method is None else (method,)
        self._ranges: dict[Method, dict[str, float]] = {}
        self._layers = candidates(load_model(model), grouped=processor == "gpu")
        nodes = [layer.node for layer in self._layers]
        course.tell(f"running the network on {len(windows)} calibration windows")
        self._facts = [model_sha256(model), arrays_sha256(windows), backend_class("onnxruntime").build()]
        inputs = sorted({layer.input for layer in self._layers})
        self._largest = course.measured(
            ["largest", self._facts, inputs],
            lambda: largest_magnitudes(
                model, inputs, windows, lambda count: course.progress("calibration windows", count, len(windows))
            ),
        )
        times = None
        if processor == "cpu":
            course.tell("timing every layer in FP32 and INT8")
            times = course.measured(
                ["times", self._facts, nodes], lambda: _times(model, nodes, self._largest, windows[-1])
            )
        self._saved = worthwhile(self._layers, times)
        self._choices = grouped_by_part(layer for layer in self._layers if layer.node in self._saved)
        judge = int8_judge(processor)
        self._alone = Trial(model, manifest, evenly(windows, SENSITIVITY_WINDOWS), judge, "int8")
        self._whole = Trial(model, manifest, windows, judge, "int8")
        self.errors: dict[str, float] = {}

    def plan(self, budget: float) -> Int8Plan:
        """The layers that a budget affords.

        Args:
            budget: root mean square of the logit error that all layers together may be expected to add; with infinity
                none is measured, and all are taken that are faster.
        """
        layers, kept = set(self._saved), dict[str, str]()
        if budget != math.inf:
            self._measure_each()
            layers, kept = within_budget(self._choices, self._saved, self.errors, budget)
        order = [layer.node for layer in self._layers]
        kept |= {node: "INT8 is not faster" for node in order if node not in self._saved}
        method_errors: dict[Method, float] = {}
        for done, name in enumerate(self._methods, start=1):
            if name not in self._ranges:
                self._course.tell(f"trying ranges by {name}")
                self._ranges[name] = self._measured_ranges(name)
            method_errors[name] = self._error(self._whole, layers, self._ranges[name])
            self._course.progress("ways to take ranges", done, len(self._methods))
        best = min(method_errors, key=lambda name: method_errors[name])
        return Int8Plan(
            best,
            method_errors,
            self._ranges[best],
            tuple(node for node in order if node in layers),
            {node: kept[node] for node in order if node in kept},
        )

    def _measure_each(self) -> None:
        """What each choice alone does to the logit, in `errors`; once."""
        for done, (name, members) in enumerate(self._choices.items() if not self.errors else (), start=1):
            self.errors[name] = self._error(self._alone, members, self._largest)
            self._course.progress("layers in INT8", done, len(self._choices))

    def _error(self, trial: Trial, layers: Collection[str], limits: Mapping[str, float]) -> float:
        return self._course.measured(
            ["error", trial.facts, sorted(layers), limits],
            lambda: trial.error(lambda changed: write_int8(self._model, changed, layers, limits)),
        )

    def _measured_ranges(self, method: Method) -> dict[str, float]:
        return self._course.measured(
            ["ranges", self._facts, method, self._largest],
            lambda: ranges(self._model, self._largest, self._windows, method),
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


def _times(
    model: Path, nodes: Collection[str], limits: Mapping[str, float], window: Window
) -> dict[str, tuple[float, float]] | None:
    """Node -> (FP32, INT8) milliseconds; None without OpenVINO."""
    with temporary_folder() as scratch:
        quantised = scratch / "model.onnx"
        write_int8(model, quantised, nodes, limits)
        before = layer_times(model, window, usable_cores())
        after = layer_times(quantised, window, usable_cores())
    if before is None or after is None:
        return None
    return {node: (before[node], after[node]) for node in nodes if node in before and node in after}
