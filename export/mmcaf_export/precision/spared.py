"""FP16 and BF16 for a network that does not bear them everywhere: the layers that cost most stay in FP32."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.manifest import Manifest

from ..onnx_files import load_model, save_model
from .calibration import Window
from .course import Course
from .effects import Trial, evenly, within_budget
from .layers import candidates, grouped_by_part
from .typed import Low, low_layers, simulate_precision

WINDOWS = 4
"""Windows that a layer's effect is measured on; rounding costs all of them about the same."""


@dataclass(frozen=True)
class SparedPlan:
    """What was decided, and why.

    layers: convolutions and matrix products in the low type. kept: those left in FP32 -> the reason.
    """

    layers: tuple[str, ...]
    kept: dict[str, str]


class SparedPlanner:
    """Chooses layers by measurement: each alone is rounded through the type, all others stay in FP32.

    Args:
        model: the FP32 model.

    layers: those that can be in the type, in order.
    """

    def __init__(
        self,
        model: Path,
        manifest: Manifest,
        windows: Sequence[Window],
        precision: Low,
        *,
        course: Course,
    ) -> None:
        network = load_model(model)
        self._gains = low = low_layers(network, precision)
        self.layers = tuple(low)
        stored = [layer for layer in candidates(network, grouped=True) if layer.node in low]
        self._choices = grouped_by_part(stored)
        for node in sorted(low.keys() - {layer.node for layer in stored}):
            self._choices[node] = [node]  # a product of two activations
        trial = Trial(model, manifest, evenly(windows, WINDOWS), backend_class("onnxruntime"), "fp32")
        self.errors: dict[str, float] = {}
        for done, (name, members) in enumerate(self._choices.items(), start=1):

            def write(changed: Path, members: Sequence[str] = members) -> None:
                network = load_model(model)
                simulate_precision(network, precision, low.keys() - set(members))
                save_model(network, changed)

            self.errors[name] = course.measured(
                ["rounded", precision, trial.facts, sorted(members)], partial(trial.error, write)
            )
            course.progress(f"layers in {precision.upper()}", done, len(self._choices))

    def plan(self, budget: float) -> SparedPlan:
        """The layers that a budget affords.

        Args:
            budget: root mean square of the logit error that all layers together may be expected to add.
        """
        layers, kept = within_budget(self._choices, self._gains, self.errors, budget)
        return SparedPlan(
            tuple(node for node in self.layers if node in layers),
            {node: kept[node] for node in self.layers if node in kept},
        )
