"""What a lower precision of some layers does to the answer, and which layers a budget of error has room for."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.factory import Network, make_backend
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.manifest import Manifest, Precision
from mmcaf_engine.outputs import temporary_folder

from .calibration import Window
from .course import arrays_sha256, model_sha256
from .side_by_side import in_order

SENSITIVITY_WINDOWS = 12
"""Calibration windows that effects are found on, evenly spread."""

DIGITS = 3
"""Significant ones of an effect that decisions rest on: others of it depend on the processor's order of summing."""

LOGIT_BUDGETS = (0.05, 0.025, 0.0125, 0.00625)
"""Root mean square of the logit error that all INT8 layers together may be expected to add, unless another is named:
the first, and the next one where the gate refuses what came of it."""


class Trial:
    """Measures how far a changed network's logit is from the network's own, on one backend.

    Runtimes differ: a layer that one answers well in INT8 can be far off in another, from the same file.
    """

    def __init__(
        self, model: Path, manifest: Manifest, windows: Sequence[Window], judge: type[Backend], precision: Precision
    ) -> None:
        self.manifest, self.windows = manifest, windows
        self.judge, self.precision = judge, precision
        self._model = model

    @cached_property
    def facts(self) -> list[Any]:
        """What an error depends on besides the change."""
        return [self._backend(self._model).engine_facts(), model_sha256(self._model), arrays_sha256(self.windows)]

    @cached_property
    def expected(self) -> NDArray[np.float64]:
        """The network's own logits."""
        return self._scores(self._model)

    def error(self, write: Callable[[Path], None]) -> float:
        """Root mean square of the change by the network that `write` writes; infinite if anything is not finite."""
        with temporary_folder() as scratch:
            changed = scratch / "model.onnx"
            write(changed)
            change = self._scores(changed) - self.expected
        return root_mean_square(change)

    def _scores(self, model: Path) -> NDArray[np.float64]:
        with self._backend(model) as opened:
            side_by_side = usable_cores() if self._one_thread_each else 1
            answers = list(in_order(lambda window: opened.infer(dict(window)), self.windows, side_by_side))
        logits = self.manifest.outputs[0].name
        return np.concatenate([answer[logits].ravel() for answer in answers]).astype(np.float64)

    def _backend(self, model: Path) -> Backend:
        threads = 1 if self._one_thread_each else usable_cores()
        return make_backend(self.judge, Network.whole(self.manifest, model), threads, self.precision)

    @property
    def _one_thread_each(self) -> bool:
        """What ONNX Runtime answers depends on its number of threads; so it gets one for each window."""
        return self.judge.name == "onnxruntime"


def evenly(windows: Sequence[Window], count: int) -> Sequence[Window]:
    """At most so many of the windows, evenly spread."""
    return windows[:: max(1, len(windows) // count)][:count]


def within_budget(
    choices: Mapping[str, Sequence[str]], gains: Mapping[str, float], errors: Mapping[str, float], budget: float
) -> tuple[set[str], dict[str, str]]:
    """The layers whose effects stay within the budget together, and for the others why they do not.

    Those with the least squared error for what they gain are taken first.

    Args:
        choices: what is decided at once -> its layers.
        gains: layer -> what lowering it gains, above 0.
        errors: of each choice alone.
    """
    together = {name: sum(gains[node] for node in members) for name, members in choices.items()}
    layers: set[str] = set()
    kept: dict[str, str] = {}
    total = 0.0
    for name in sorted(errors, key=lambda name: (errors[name] ** 2 / together[name], name)):
        members = choices[name]
        if total + errors[name] ** 2 <= budget**2:
            total += errors[name] ** 2
            layers.update(members)
        else:
            rest = f", with the other products of {name}" if len(members) > 1 else ""
            kept |= dict.fromkeys(members, f"moves the logit by {errors[name]:.2g}{rest}")
    return layers, kept


def root_mean_square(change: NDArray[np.float64]) -> float:
    """To DIGITS significant digits; infinite if anything is not finite."""
    return float(f"{math.sqrt(float((change**2).mean())):.{DIGITS - 1}e}") if np.isfinite(change).all() else math.inf


def expected_together(errors: Iterable[float]) -> float:
    """Root mean square of the logit error of independent effects together."""
    return math.sqrt(sum(error**2 for error in errors))


def largest_effects(errors: Mapping[str, float], count: int = 5) -> str:
    """The choices that move the logit most, in words."""
    worst = sorted(errors, key=lambda name: (-errors[name], name))[:count]
    return ", ".join(f"{name} ({errors[name]:.2g})" for name in worst)
