"""One precision of a network: made, and where the gate refuses it made again with more layers left in FP32."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mmcaf_engine.errors import ExportError
from mmcaf_engine.manifest import Manifest, Precision, between

from ..onnx_files import load_model, save_model
from .calibration import Method, Window
from .costs import Family
from .course import Course
from .effects import LOGIT_BUDGETS, largest_effects
from .int8 import Int8Plan, Int8Planner, write_int8
from .maps import keep_maps_in_bf16
from .spared import SparedPlan, SparedPlanner
from .typed import Low, lower_precision

Windows = Callable[[], Sequence[Window]]


class Attempts(ABC):
    """Networks of one precision, one after another, each with fewer layers in it than the last."""

    plan: Int8Plan | SparedPlan | None = None
    """Of the last that was written; None where every layer is in the precision."""

    def __init__(self, precision: Precision, course: Course) -> None:
        self.precision, self.course = precision, course
        self._effects: dict[str, float] = {}
        """What moves the logit -> by how much, as far as that was measured."""
        self._written = self._networks()

    def write(self) -> bool:
        """Write the next network; False where there is none, and the last one stays."""
        return next(self._written, None) is not None

    def most(self) -> str | None:
        """In words, which layers move the logit most; None if that was not measured."""
        return f"most by {largest_effects(self._effects)}" if self._effects else None

    @abstractmethod
    def _networks(self) -> Iterator[Path]: ...


class Int8Attempts(Attempts):
    """INT8, of the layers that one budget of error after another affords; with maps in FP32, or in BF16 as named."""

    def __init__(
        self,
        model: Path,
        output: Path,
        manifest: Manifest,
        windows: Windows,
        precision: Precision,
        *,
        method: Method | None,
        budget: float | None,
        family: Family | None,
        course: Course,
    ) -> None:
        super().__init__(precision, course)
        self._model, self._output, self._manifest, self._windows = model, output, manifest, windows
        self._method, self._family = method, family
        self._budgets = LOGIT_BUDGETS if budget is None else (budget,)

    def _networks(self) -> Iterator[Path]:
        self.course.tell(f"making {self.precision}")
        planner = Int8Planner(
            self._model,
            self._manifest,
            self._windows(),
            method=self._method,
            family=self._family,
            course=self.course,
        )
        self._effects = planner.errors
        for budget in self._budgets:
            before, plan = self.plan, planner.plan(budget)
            if before is not None:
                if not plan.layers or plan.layers == before.layers:
                    continue
                self.course.tell(
                    f"making {self.precision} again, {len(plan.layers)} layers instead of {len(before.layers)}"
                )
            self.plan = plan
            write_int8(self._model, self._output, plan.layers, plan.ranges)
            if between(self.precision) == "bf16":
                network = load_model(self._output)
                keep_maps_in_bf16(network)
                save_model(network, self._output)
            self.course.tell(
                f"{len(plan.layers)} layers in INT8 move the logit by {plan.error:.2g} "
                f"({plan.expected:.2g} by their own effects)"
            )
            yield self._output


class TypedAttempts(Attempts):
    """FP16 or BF16: every map, and after that the layers that one budget of error after another affords.

    By default each budget is half of the last; the first, of what all layers together may be expected to add.
    """

    def __init__(
        self,
        model: Path,
        output: Path,
        manifest: Manifest,
        windows: Windows,
        precision: Low,
        *,
        budget: float | None,
        course: Course,
    ) -> None:
        super().__init__(precision, course)
        self._low: Low = precision
        self._model, self._output, self._manifest, self._windows = model, output, manifest, windows
        self._budget = budget

    @property
    def kept(self) -> dict[str, str]:
        """The layers left in FP32 that could be in the type -> why."""
        return {} if self.plan is None else self.plan.kept

    def _networks(self) -> Iterator[Path]:
        self.course.tell(f"making {self.precision}")
        self._write()
        yield self._output
        if self._budget == math.inf:
            return
        planner = SparedPlanner(self._model, self._manifest, self._windows(), self._low, course=self.course)
        self._effects, written = planner.errors, planner.layers
        whole = math.sqrt(sum(error**2 for error in self._effects.values() if math.isfinite(error)))
        for budget in [whole / 2, whole / 4] if self._budget is None else [self._budget]:
            plan = planner.plan(budget)
            if not plan.layers or plan.layers == written:
                continue
            self.course.tell(f"making {self.precision} again, {len(plan.layers)} layers instead of {len(written)}")
            self.plan, written = plan, plan.layers
            self._write()
            yield self._output

    def _write(self) -> None:
        network = load_model(self._model)
        try:
            lower_precision(network, self._low, self.kept)
        except OverflowError as failure:
            raise ExportError(
                f"The network cannot be written in {self.precision}: {failure}.", "Leave it out."
            ) from None
        save_model(network, self._output)
