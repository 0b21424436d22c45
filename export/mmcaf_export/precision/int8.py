"""INT8 by calibration: which layers, with which ranges, so that the answer stays what it was."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.session.choice import processor_backend

from ..onnx_files import load_model, save_model
from . import one_pass_variance
from .calibration import METHODS, Method, Window, largest_magnitudes
from .costs import Family, worthwhile
from .course import Course, arrays_sha256, model_sha256
from .effects import SENSITIVITY_WINDOWS, Trial, evenly, expected_together, within_budget
from .layers import candidates, grouped_by_part
from .observe import Observation, observe
from .qdq import insert_qdq

Processor = Literal["cpu", "gpu"]
PROCESSORS: tuple[Processor, ...] = get_args(Processor)
"""What the choice of layers is made for."""

OFF = 1.5
"""Times what was expected of layers together, above which it is measured which of them is not as expected."""

STEPS = 5
"""Networks that are tried at most to keep to a budget."""


@dataclass(frozen=True)
class Int8Plan:
    """What was decided, and why.

    layers: convolutions and matrix products in INT8. kept: those left in FP32 -> the reason. method_errors: root mean
    square of the logit's change over SENSITIVITY_WINDOWS of the calibration windows, by method; `method` has the least.
    expected: what the layers' own effects come to together. error: as measured of them all.
    """

    method: Method
    method_errors: dict[Method, float]
    ranges: dict[str, float]
    layers: tuple[str, ...]
    kept: dict[str, str]
    expected: float
    error: float


class Int8Planner:
    """Chooses layers and ranges; nothing is timed, so that the same inputs give the same choice.

    A layer becomes INT8 if that makes it cheaper by the peaks of a family of processors, and if the effects of all
    such layers on the logit stay within a budget together; those that cost most error for what they gain are left out
    first. A layer's effect is known to first order, from one forward and one backward run of each window. What the
    chosen layers do together is measured, and fewer are taken where that is more than the budget. Products of one
    numbered part, such as a layer of BERT, are decided together.

    Args:
        model: the FP32 model.
        windows: of several studies; the ranges hold for them.
        method: of METHODS; without it the one with the least error is taken.
        family: of processors, that the layers are chosen for; None for a GPU, for which arithmetic stands for time
            and grouped convolutions take part.

    errors: what is decided at once -> its own effect on the logit, once it is known.
    """

    def __init__(
        self,
        model: Path,
        manifest: Manifest,
        windows: Sequence[Window],
        *,
        method: Method | None,
        family: Family | None,
        course: Course,
    ) -> None:
        self._model, self._course = model, course
        self._methods = METHODS if method is None else (method,)
        self._layers = candidates(load_model(model), grouped=family is None or family.grouped)
        self._saved = worthwhile(self._layers, family)
        self._choices = grouped_by_part(layer for layer in self._layers if layer.node in self._saved)
        facts = [model_sha256(model), arrays_sha256(windows), backend_class("onnxruntime").build()]
        inputs = sorted({layer.input for layer in self._layers})
        course.tell(f"running the network on {len(windows)} calibration windows")
        self._largest = course.measured(
            ["largest", facts, inputs],
            lambda: largest_magnitudes(
                model, inputs, windows, lambda count: course.progress("calibration windows", count, len(windows))
            ),
        )
        self._trial = Trial(
            model,
            manifest,
            evenly(windows, SENSITIVITY_WINDOWS),
            int8_judge("gpu" if family is None else "cpu"),
            "int8",
        )
        self._output = manifest.outputs[0].name
        self._observed: Observation | None = None
        self._measured: dict[tuple[frozenset[str], tuple[tuple[str, float], ...]], float] = {}
        self.errors: dict[str, float] = {}

    def plan(self, budget: float) -> Int8Plan:
        """The layers that a budget affords.

        Args:
            budget: root mean square of the logit error that all layers together may add, both as is expected of
                their own effects and as measured; with infinity all are taken that are cheaper.
        """
        ranges = self._ranges()
        if budget != math.inf:
            self._try_joined(ranges[self._methods[0]])
            self._correct(budget, self._afforded(budget)[0], ranges[self._methods[0]])
        layers, kept = self._afforded(budget)
        method_errors: dict[Method, float] = {}
        for done, name in enumerate(self._methods, start=1):
            method_errors[name] = self._error(layers, ranges[name])
            self._course.progress("ways to take ranges", done, len(self._methods))
        best = min(method_errors, key=lambda name: method_errors[name])
        if budget != math.inf:
            layers, kept = self._kept_to(budget, ranges[best])
        order = [layer.node for layer in self._layers]
        kept |= {node: "INT8 saves too little time" for node in order if node not in self._saved}
        return Int8Plan(
            best,
            method_errors,
            ranges[best],
            tuple(node for node in order if node in layers),
            {node: kept[node] for node in order if node in kept},
            self._expected(layers),
            self._error(layers, ranges[best]),
        )

    def _ranges(self) -> dict[Method, dict[str, float]]:
        """By each method; and what each choice alone does to the logit, in `errors`. Once."""
        if self._observed is None:
            chosen = [layer for layer in self._layers if layer.node in self._saved]
            self._observed = observe(
                self._model,
                chosen,
                self._choices,
                self._output,
                self._largest,
                self._trial,
                self._methods,
                lambda members: self._error(members, self._largest),
                self._course,
            )
            self.errors.update(self._observed.errors)
        return self._observed.ranges

    def _afforded(self, budget: float) -> tuple[set[str], dict[str, str]]:
        if budget == math.inf:
            return set(self._saved), {}
        return within_budget(self._choices, self._saved, self.errors, budget)

    def _expected(self, layers: Collection[str]) -> float:
        return expected_together(self.errors[name] for name, members in self._choices.items() if members[0] in layers)

    def _try_joined(self, limits: Mapping[str, float]) -> None:
        """What reads a concatenation is measured by itself: OpenVINO answers some of it far off its arithmetic."""
        joined = {layer.node for layer in self._layers if layer.joined}
        names = [name for name, members in self._choices.items() if joined.intersection(members)]
        for done, name in enumerate(names, start=1):
            self.errors[name] = self._error(self._choices[name], limits)
            self._course.progress("layers in INT8", done, len(names))

    def _correct(self, budget: float, layers: Collection[str], limits: Mapping[str, float]) -> None:
        """Where layers together do more than is expected and allowed, measure which of them are not as expected.

        A runtime may answer a layer in INT8 far off what its arithmetic says. Halves are tried, and halves of those
        that are off, down to a single choice, whose effect is then the measured one.
        """
        names = [name for name, members in self._choices.items() if members[0] in layers]
        found = self._error(layers, limits)
        if found <= budget or not names:
            return
        expected = expected_together(self.errors[name] for name in names)
        if found > OFF * expected:
            self._course.tell(
                f"{len(layers)} layers in INT8 move the logit by {found:.2g}, where {expected:.2g} was expected: "
                "looking for those that are not as expected"
            )
        pending = [(names, found)]
        while pending:
            names, found = pending.pop()
            expected = expected_together(self.errors[name] for name in names)
            if found <= math.hypot(OFF * expected, budget / 4):
                continue
            if len(names) == 1:
                self._course.tell(f"{names[0]} moves the logit by {found:.2g}, where {expected:.2g} was expected")
                self.errors[names[0]] = found
                continue
            for part in (names[: len(names) // 2], names[len(names) // 2 :]):
                members = [node for name in part for node in self._choices[name]]
                pending.append((part, self._error(members, limits)))

    def _kept_to(self, budget: float, limits: Mapping[str, float]) -> tuple[set[str], dict[str, str]]:
        """The layers whose effects, expected and measured, stay within a budget; by bisection if they do not at once.

        A measured effect below the expected one makes room for no more: by chance, effects cancel on few windows.
        """
        trial, below, above, found = budget, 0.0, budget, self._afforded(0.0)
        for done in range(1, STEPS + 1):
            layers, kept = self._afforded(trial)
            if self._error(layers, limits) <= budget:
                below, found = trial, (layers, kept)
            else:
                above = trial
            if below == budget:
                break
            self._course.progress("budgets of error", done, STEPS)
            trial = math.sqrt(max(below, above / 8) * above)
        return found

    def _error(self, layers: Collection[str], limits: Mapping[str, float]) -> float:
        asked = frozenset(layers), tuple(sorted(limits.items()))
        if asked not in self._measured:
            self._measured[asked] = self._course.measured(
                ["error", self._trial.facts, sorted(layers), dict(limits)],
                lambda: self._trial.error(lambda changed: write_int8(self._model, changed, layers, limits)),
            )
        return self._measured[asked]


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
