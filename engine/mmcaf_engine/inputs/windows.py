"""From a volume to the network's windows, by the manifest's steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..cancel import check
from ..errors import Remedy, StudyError, UsageError
from ..manifest import (
    CenterCropStep,
    ClipScaleStep,
    PreprocessingSpec,
    ResizeStep,
    ResizeVolumeStep,
    StandardiseStep,
    Step,
    SubtractStep,
)
from ..orientation import AXIS_OF, HEAD_BACK_LEFT, oriented
from ..record.slices import SliceSpan
from ..study.extremes import Extremes
from ..volume import Volume
from ..workers import Scratch, each_slice
from .one_pass import in_one_pass
from .pooling import pool_area
from .resize import resize_area, resize_area_whole

Values = NDArray[np.int16] | NDArray[np.float32]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Windows:
    """Every slice of a series, processed once, and the windows as views of them.

    slices: float32 [S, H, W], read-only, toward head, back and left; S is the series' slice count, or `depth` where
        it was padded, or what the whole volume was resized to.
    before: slices of padding in front of the series' first, at the feet; behind its last lies all other padding.
    depth: slices per window, D.
    starts: first slice of each window, rising, of the part of the series that is scored; (0,) where the whole series
        is one window.
    axes: whither the network wants the three axes to rise, as in the manifest.
    resized_from: how many slices the whole series had that these were resized from; None where each is one of its own.
    """

    slices: NDArray[np.float32]
    depth: int
    starts: tuple[int, ...]
    axes: str = HEAD_BACK_LEFT
    resized_from: int | None = None
    before: int = 0

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self.window(index) for index in range(len(self)))

    def window(self, index: int) -> NDArray[np.float32]:
        """Window `index` as float32 [1, 1, *axes]: contiguous, read-only; not a copy where they are D, H, W."""
        start = self.starts[index]
        window = np.ascontiguousarray(oriented(self.slices[start : start + self.depth], self.axes))
        window.setflags(write=False)
        return window[np.newaxis, np.newaxis]

    @property
    def values(self) -> NDArray[np.float32]:
        """All windows as one new array, float32 [N, 1, *axes]."""
        return np.concatenate(list(self))


@dataclass(frozen=True)
class Layout:
    """What a study's windows will be: shape [S, H, W] of the processed slices, each window's first slice, and how many
    slices of padding come before the series' own."""

    shape: tuple[int, int, int]
    starts: tuple[int, ...]
    before: int = 0


def lay_out(
    shape: tuple[int, int, int], spec: PreprocessingSpec, *, stride: int | None = None, span: SliceSpan | None = None
) -> Layout:
    """Lay windows over a series, or over a part of it, so that each slice is seen.

    Windows start at 0, stride, 2 stride ...; the last one is moved back to end at the last slice. Without windows the
    whole series, resized, is the only one. A part that is shorter than a window is in one that has the part's middle
    slice as its own, as MMCAF-Net's authors centred windows on a lesion, but that does not reach beyond the series.
    All of this is counted from the feet, or from the head where the manifest says so.

    Args:
        shape: slices, rows and columns of the volume.
        spec: the manifest's preprocessing section.
        stride: slices from one window's start to the next, 1 to the window's depth; the manifest's
            own without it.
        span: the part, within the series.

    Raises:
        UsageError: `stride` would skip slices, or it or `span` came although there are no windows.
        StudyError: no slices, a single one for a whole volume, or slices smaller than a centre crop.
    """
    count, rows, columns = shape
    if count == 0:
        raise StudyError("preprocessing: the volume has no slices.", "Send a series with images.")
    for step in spec.steps:
        if isinstance(step, CenterCropStep) and (rows < step.rows or columns < step.columns):
            raise StudyError(
                f"preprocessing: {rows} x {columns} pixels came to a centre crop of {step.rows} x {step.columns}.",
                "Send a series with a matrix of at least that size.",
            )
        if isinstance(step, ResizeStep | CenterCropStep):
            rows, columns = step.rows, step.columns
    if spec.windows is None:
        if given := [name for name, value in (("stride", stride), ("slices", span)) if value is not None]:
            raise UsageError(
                f"{' and '.join(given)}: this network takes whole series, not windows of them.",
                *(Remedy("Leave it out", option=name) for name in given),
            )
        if count == 1:
            raise StudyError("preprocessing: a single slice came; a whole volume was expected.", "Send the series.")
        return Layout(_canonical_size(spec), (0,))
    depth = spec.windows.slices
    stride = spec.windows.stride if stride is None else stride
    if not 1 <= stride <= depth:
        raise UsageError(
            f"stride: {stride} slices came; 1 to {depth} were expected, so that no slice is skipped "
            f"by windows of {depth} slices.",
            f"Choose a stride of {depth} or less.",
        )
    padded = max(count, depth)
    if not spec.from_head:
        return Layout((padded, rows, columns), _starts(padded, depth, stride, span))
    if span is not None:
        span = SliceSpan(count + 1 - span.last, count + 1 - span.first)
    from_head = _starts(padded, depth, stride, span)
    starts = tuple(padded - depth - start for start in reversed(from_head))
    return Layout((padded, rows, columns), starts, before=padded - count)


def _starts(count: int, depth: int, stride: int, span: SliceSpan | None) -> tuple[int, ...]:
    """Each window's first slice, rising, of at least a window's slices, counted from where windows are laid from."""
    last = count - depth
    if span is None:
        return (*range(0, last, stride), last)
    first, end = span.first - 1, span.last
    if end - first < depth:
        centred = (first + end - 1) // 2 - depth // 2
        return (min(max(centred, 0), last),)
    return (*range(first, end - depth, stride), end - depth)


class Preprocessor:
    """Takes the slices of one series in any order, from any thread, and gives the windows once it has them all.

    A series shorter than a window is padded after its last slice with `spec.windows.pad_value`, an intensity, before
    the steps; before its first one, where windows are laid from the head. The steps run slice by slice in float32,
    until one needs the whole volume. A resize of the whole volume averages each slice in-plane as it comes, so that no
    more than that is held.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        spec: PreprocessingSpec,
        *,
        stride: int | None = None,
        span: SliceSpan | None = None,
        name: str = "preprocessing",
    ) -> None:
        """Arguments and errors are those of `lay_out`.

        Args:
            name: what messages call the series.
        """
        self.extremes = Extremes(shape, name)
        self._shape = shape
        self._spec = spec
        self._layout = lay_out(shape, spec, stride=stride, span=span)
        self._of_slices, self._of_volume = _split(spec.steps)
        self._slices: NDArray[np.float32]
        if spec.windows is not None:
            self._slices = np.empty(self._layout.shape, np.float32)
            return
        held = _slice_shape(shape, self._of_slices)
        if isinstance(self._of_volume[0], ResizeVolumeStep):
            held = self._layout.shape[1:]
        self._slices = np.empty((shape[0], *held), np.float32)

    def put(self, index: int, values: Values, scratch: Scratch) -> None:
        """Process slice `index`, intensities [H, W], which stay as they are.

        Raises:
            StudyError: a value is NaN or infinite.
        """
        self.extremes.look(index, values)
        processed = after_steps(values, self._of_slices, scratch)
        if self._of_volume and isinstance(self._of_volume[0], ResizeVolumeStep):
            processed = pool_area(processed, self._layout.shape[1:])
        self._slices[self._layout.before + index] = processed

    def windows(self) -> Windows:
        """The windows over all slices, each of which was put once."""
        count, rows, columns = self._shape
        windows, before = self._spec.windows, self._layout.before
        if windows is None:
            self._slices = _of_whole_volume(self._slices, self._of_volume, self._layout.shape)
        elif count < len(self._slices):
            padding = np.full((rows, columns), windows.pad_value, np.float32)
            processed = after_steps(padding, self._of_slices, Scratch())
            self._slices[:before] = processed
            self._slices[before + count :] = processed
        self._slices.setflags(write=False)
        if windows is None:
            return Windows(self._slices, len(self._slices), self._layout.starts, self._spec.axes, resized_from=count)
        return Windows(self._slices, windows.slices, self._layout.starts, self._spec.axes, before=before)


def preprocess(volume: Volume, spec: PreprocessingSpec, *, stride: int | None = None) -> Windows:
    """Process every slice of a volume, in a few threads whose number no bit depends on; see `Preprocessor`.

    Args:
        volume: [S, H, W] slices in the intensity that the network was trained on.
        spec, stride: as for `lay_out`.

    Raises:
        UsageError: `stride` would skip slices, or the volume's intensity is not the specification's.
        StudyError: a value is NaN or infinite, or a slice is smaller than a centre crop.
    """
    if volume.intensity != spec.intensity:
        raise UsageError(
            f'preprocessing: the volume holds "{volume.intensity}" intensities; the network was trained on '
            f'"{spec.intensity}".',
            f'Read the study with intensity="{spec.intensity}".',
        )
    count, rows, columns = volume.values.shape
    preprocessor = Preprocessor((count, rows, columns), spec, stride=stride)
    each_slice(volume.values, preprocessor.put)
    return preprocessor.windows()


def padding_value(spec: PreprocessingSpec) -> float:
    """What a short series is padded with, as the network sees it; the manifest has windows."""
    if spec.windows is None:
        raise ValueError("a whole volume is not padded")
    steps = tuple(step for step in spec.steps if not isinstance(step, CenterCropStep))
    plane = np.full((1, 1), spec.windows.pad_value, np.float32)
    return float(after_steps(plane, steps, Scratch()).flat[0])


def _canonical_size(spec: PreprocessingSpec) -> tuple[int, int, int]:
    """What the whole volume is resized to, as [D, H, W]."""
    size = spec.size or (1, 1, 1)
    depth, rows, columns = (size[at] for at in np.argsort([AXIS_OF[letter] for letter in spec.axes]))
    return depth, rows, columns


def _split(steps: tuple[Step, ...]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps that each slice takes alone, and those from the first one on that needs the whole volume."""
    whole = (ResizeVolumeStep, StandardiseStep)
    at = next((at for at, step in enumerate(steps) if isinstance(step, whole)), len(steps))
    return steps[:at], steps[at:]


def _slice_shape(shape: tuple[int, int, int], steps: tuple[Step, ...]) -> tuple[int, int]:
    """Rows and columns of a slice after steps of its own."""
    sizes = [(step.rows, step.columns) for step in steps if isinstance(step, ResizeStep | CenterCropStep)]
    return sizes[-1] if sizes else shape[1:]


def _of_whole_volume(
    volume: NDArray[np.float32], steps: tuple[Step, ...], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """A volume [S, H, W] after the steps from the first that needs it whole, [D, H, W] of `shape`."""
    for step in steps:
        check()
        match step:
            case ResizeVolumeStep():
                volume = pool_area(volume, shape)
            case StandardiseStep():
                mean, deviation = volume.mean(dtype=np.float64), volume.std(dtype=np.float64)
                volume = ((volume - mean) / (deviation or 1.0)).astype(np.float32)
            case _:
                volume = np.stack([after_steps(plane, (step,), Scratch()) for plane in volume])
    return volume


def after_steps(values: Values, steps: tuple[Step, ...], scratch: Scratch) -> Values:
    """One slice [H, W] after steps of its own, worked out in `scratch`; what came stays as it is.

    In one pass as far as the processor's library goes; what NumPy does is the reference, to whose bits that is equal.
    """
    values, left = in_one_pass(values, steps, scratch)
    for step in left:
        match step:
            case ResizeStep():
                if step.rounding == "opencv":
                    values = resize_area_whole(values, step.rows, step.columns, scratch)
                    continue
                values = resize_area(values, step.rows, step.columns, scratch)
                if step.rounding == "half_even":
                    np.rint(values, out=values)
            case CenterCropStep():
                top, left = (values.shape[0] - step.rows) // 2, (values.shape[1] - step.columns) // 2
                values = values[top : top + step.rows, left : left + step.columns]
            case ClipScaleStep():
                lower = np.float32(step.lower)
                scaled: NDArray[np.float32] = scratch.array("steps", values.shape, np.float32)
                np.subtract(values, lower, out=scaled)
                scaled /= np.float32(step.upper) - lower
                values = scaled.clip(np.float32(0), np.float32(1), out=scaled)
            case SubtractStep():
                lowered: NDArray[np.float32] = scratch.array("steps", values.shape, np.float32)
                values = np.subtract(values, np.float32(step.value), out=lowered)
    return values
