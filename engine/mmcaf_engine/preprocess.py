"""From a volume to the network's windows, by the manifest's steps."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import StudyError, UsageError
from .manifest import CenterCropStep, ClipScaleStep, PreprocessingSpec, ResizeStep, SubtractStep
from .resize import resize_area
from .volume import Volume
from .workers import Scratch, each_slice

Values = NDArray[np.int16] | NDArray[np.float32]


@dataclass(frozen=True)
class Windows:
    """Every slice of a study, processed once, and the windows as views of them.

    slices: float32 [S, H, W], read-only; S is the study's slice count, or `depth` where it was padded.
    depth: slices per window, D.
    starts: first slice of each window, rising.
    """

    slices: NDArray[np.float32]
    depth: int
    starts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self.window(index) for index in range(len(self)))

    def window(self, index: int) -> NDArray[np.float32]:
        """Window `index` as float32 [1, 1, D, H, W]: contiguous, read-only, not a copy."""
        start = self.starts[index]
        return self.slices[np.newaxis, np.newaxis, start : start + self.depth]

    @property
    def values(self) -> NDArray[np.float32]:
        """All windows as one new array, float32 [N, 1, D, H, W]."""
        return np.concatenate(list(self))


@dataclass(frozen=True)
class Layout:
    """What a study's windows will be: shape [S, H, W] of the processed slices, and each window's first slice."""

    shape: tuple[int, int, int]
    starts: tuple[int, ...]


def lay_out(shape: tuple[int, int, int], spec: PreprocessingSpec, *, stride: int | None = None) -> Layout:
    """Lay windows over a study so that each slice is seen.

    Windows start at 0, stride, 2 stride ...; the last one is moved back to end at the last slice.

    Args:
        shape: slices, rows and columns of the volume.
        spec: the manifest's preprocessing section.
        stride: slices from one window's start to the next, 1 to the window's depth; the manifest's
            own without it.

    Raises:
        UsageError: `stride` would skip slices.
        StudyError: no slices, or slices smaller than a centre crop.
    """
    depth = spec.windows.slices
    stride = spec.windows.stride if stride is None else stride
    if not 1 <= stride <= depth:
        raise UsageError(
            f"stride: {stride} slices came; 1 to {depth} were expected, so that no slice is skipped "
            f"by windows of {depth} slices.",
            f"Choose a stride of {depth} or less.",
        )
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
    padded = max(count, depth)
    last = padded - depth
    return Layout((padded, rows, columns), (*range(0, last, stride), last))


class Preprocessor:
    """Takes the slices of one study in any order, from any thread, and gives the windows once it has them all.

    A study shorter than a window is padded after its last slice with `spec.windows.pad_value`, an
    intensity, before the steps. The steps run slice by slice in float32.
    """

    def __init__(self, shape: tuple[int, int, int], spec: PreprocessingSpec, *, stride: int | None = None) -> None:
        """Arguments and errors are those of `lay_out`."""
        self._shape = shape
        self._spec = spec
        self._layout = lay_out(shape, spec, stride=stride)
        self._slices = np.empty(self._layout.shape, np.float32)

    def put(self, index: int, values: Values, scratch: Scratch) -> None:
        """Process slice `index`, intensities [H, W], which stay as they are.

        Raises:
            StudyError: a value is NaN or infinite.
        """
        if values.dtype != np.int16 and not np.isfinite(values).all():
            broken = int(np.count_nonzero(~np.isfinite(values)))
            raise StudyError(
                f"preprocessing: slice {index + 1} of {self._shape[0]}: {broken} of {values.size} pixels are NaN or "
                "infinite; finite intensities were expected.",
                "Export the series again.",
            )
        self._slices[index] = _processed(values, self._spec, scratch)

    def windows(self) -> Windows:
        """The windows over all slices, each of which was put once."""
        count, rows, columns = self._shape
        if count < len(self._slices):
            padding = np.full((rows, columns), self._spec.windows.pad_value, np.float32)
            self._slices[count:] = _processed(padding, self._spec, Scratch())
        self._slices.setflags(write=False)
        return Windows(self._slices, self._spec.windows.slices, self._layout.starts)


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


def _processed(values: Values, spec: PreprocessingSpec, scratch: Scratch) -> Values:
    """One slice [H, W] after all steps, worked out in `scratch`; what came stays as it is."""
    for step in spec.steps:
        match step:
            case ResizeStep():
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
