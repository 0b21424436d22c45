"""The steps of a slice before, at and after its resize, in one pass of the processor's library."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..manifest import CenterCropStep, ClipScaleStep, ResizeStep, Step, SubtractStep
from ..workers import Scratch
from .resize import Plain, Terms, area_terms, native_missing, whole_blocks

Change = tuple[Literal["subtract", "multiply", "divide", "limit", "round", "floor"], float]
"""What the library does to every value."""


def in_one_pass(values: Plain, steps: tuple[Step, ...], scratch: Scratch) -> tuple[Plain, tuple[Step, ...]]:
    """Do a slice's first steps, up to its first resize and as far after it as every value changes alone.

    The bits are those of NumPy step by step, which each value would be read and written for again and again.

    Args:
        values: int16 or float32 [H, W], finite; stays as it is.
        scratch: memory to give the result in, until it is used again.

    Returns:
        The slice, and the steps that are left: all of them where there is no such resize, or no library.
    """
    if native_missing() is not None or values.dtype not in (np.int16, np.float32):
        return values, steps
    plan = _planned(steps, values.shape, values.dtype == np.int16)
    if plan is None:
        return values, steps
    made: NDArray[np.float32] = scratch.array("one pass", plan.size, np.float32)
    plan.resize(values[plan.cut], made)
    return made, plan.rest


@dataclass(frozen=True)
class _Plan:
    """cut: what of a slice is read. size: of the result. rest: the steps that are left."""

    cut: tuple[slice, slice]
    resize: Callable[[NDArray[Any], NDArray[np.float32]], None]
    size: tuple[int, int]
    rest: tuple[Step, ...]


@dataclass
class _Draft:
    """A plan as far as steps were looked at."""

    whole: bool
    size: tuple[int, int]
    cut: tuple[slice, slice]
    before: list[Change] = field(default_factory=list)
    after: list[Change] = field(default_factory=list)
    terms: tuple[Terms, Terms] | None = None
    columns_first: bool = False

    def take(self, step: Step) -> bool:
        """Whether the step goes along."""
        match step:
            case CenterCropStep():
                self._crop(step)
            case ClipScaleStep():
                lower = np.float32(step.lower)
                scale = float(np.float32(step.upper) - lower)
                self._change(("subtract", float(lower)), ("divide", scale), ("limit", 0.0))
            case SubtractStep():
                self._change(("subtract", step.value))
            case ResizeStep() if self.terms is None and (step.rows, step.columns) != self.size:
                return self._resize(step)
            case _:
                return False
        return True

    def _change(self, *changes: Change) -> None:
        (self.before if self.terms is None else self.after).extend(changes)

    def _crop(self, step: CenterCropStep) -> None:
        (rows, columns), wanted = self.size, (step.rows, step.columns)
        top, left = (rows - step.rows) // 2, (columns - step.columns) // 2
        if self.terms is None:
            self.cut = _within(self.cut, (top, left), wanted)
        else:
            by_row, by_column = self.terms
            self.terms = by_row[top : top + step.rows], by_column[left : left + step.columns]
        self.size = wanted

    def _resize(self, step: ResizeStep) -> bool:
        wanted = (step.rows, step.columns)
        blocks = whole_blocks(self.size, wanted) if step.rounding == "opencv" else None
        if blocks is None:
            self.terms = area_terms(self.size, wanted)
            self.columns_first = step.rounding == "opencv"
            self.after += [] if step.rounding == "none" else [("round", 0.0)]
        elif not self.whole or self.before:  # Sums of other than whole values depend on their order.
            return False
        else:
            down, across = blocks
            self.terms = _blocks(step.rows, down), _blocks(step.columns, across)
            halved: list[Change] = [("subtract", -2.0), ("multiply", 0.25), ("floor", 0.0)]
            mean: list[Change] = [("multiply", 1 / (down * across)), ("round", 0.0)]
            self.after += halved if blocks == (2, 2) else mean
        self.size = wanted
        return True


@lru_cache(maxsize=16)
def _planned(steps: tuple[Step, ...], shape: tuple[int, int], whole: bool) -> _Plan | None:
    """Of slices of a shape, whole numbers or not; None where the pass would not resize."""
    draft = _Draft(whole, shape, (slice(0, shape[0]), slice(0, shape[1])))
    done = next((at for at, step in enumerate(steps) if not draft.take(step)), len(steps))
    if draft.terms is None:
        return None
    from mmcaf_kernels.cpu.area_resize import AreaResize

    rows, columns = ((axis.stop - axis.start) for axis in draft.cut)
    resize = AreaResize(
        (rows, columns),
        *draft.terms,
        columns_first=draft.columns_first,
        before=draft.before,
        after=draft.after,
    )
    return _Plan(draft.cut, resize, draft.size, steps[done:])


def _within(cut: Iterable[slice], first: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """A part of a part, from the given row and column on."""
    rows, columns = (
        slice(axis.start + at, axis.start + at + length) for axis, at, length in zip(cut, first, size, strict=True)
    )
    return rows, columns


def _blocks(outputs: int, length: int) -> Terms:
    """Of each output pixel, `length` pixels of its own, unweighted."""
    return [[(output * length + at, 1.0) for at in range(length)] for output in range(outputs)]
