"""From a volume to the network's windows, by the manifest's steps."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import StudyError, UsageError
from .manifest import CenterCropStep, ClipScaleStep, PreprocessingSpec, ResizeStep, Step, SubtractStep
from .resize import resize_area
from .volume import Volume


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


def preprocess(volume: Volume, spec: PreprocessingSpec, *, stride: int | None = None) -> Windows:
    """Process every slice once and lay the windows over them so that each slice is seen.

    Windows start at 0, stride, 2 stride ...; the last one is moved back to end at the last slice.
    A study shorter than a window is padded after its last slice with `spec.windows.pad_value`, an
    intensity, before the steps. The steps run slice by slice in float32.

    Args:
        volume: [S, H, W] slices in the intensity that the network was trained on.
        spec: the manifest's preprocessing section.
        stride: slices from one window's start to the next, 1 to the window's depth; the manifest's
            own without it.

    Raises:
        UsageError: `stride` would skip slices, or the volume's intensity is not the specification's.
        StudyError: a value is NaN or infinite, or a slice is smaller than a centre crop.
    """
    depth = spec.windows.slices
    stride = spec.windows.stride if stride is None else stride
    if not 1 <= stride <= depth:
        raise UsageError(
            f"stride: {stride} slices came; 1 to {depth} were expected, so that no slice is skipped "
            f"by windows of {depth} slices.",
            f"Choose a stride of {depth} or less.",
        )
    if volume.intensity != spec.intensity:
        raise UsageError(
            f'preprocessing: the volume holds "{volume.intensity}" intensities; the network was trained on '
            f'"{spec.intensity}".',
            f'Read the study with intensity="{spec.intensity}".',
        )
    count = len(volume.values)
    if count == 0:
        raise StudyError("preprocessing: the volume has no slices.", "Send a series with images.")
    processed = [_prepared(volume.values[0], spec, f"slice 1 of {count}")]
    slices = np.empty((max(count, depth), *processed[0].shape), np.float32)
    slices[0] = processed[0]
    for index in range(1, count):
        slices[index] = _prepared(volume.values[index], spec, f"slice {index + 1} of {count}")
    if count < depth:
        padding = np.full(volume.values.shape[1:], spec.windows.pad_value, np.float32)
        slices[count:] = _prepared(padding, spec, "padding")
    slices.setflags(write=False)
    return Windows(slices, depth, _starts(len(slices), depth, stride))


def _starts(count: int, depth: int, stride: int) -> tuple[int, ...]:
    last = count - depth
    return (*range(0, last, stride), last)


def _prepared(
    plane: NDArray[np.int16] | NDArray[np.float32], spec: PreprocessingSpec, name: str
) -> NDArray[np.float32]:
    """One slice [H, W] after all steps, float32."""
    values = plane.astype(np.float32)
    if not np.isfinite(values).all():
        broken = int(values.size - np.isfinite(values).sum())
        raise StudyError(
            f"preprocessing: {name}: {broken} of {values.size} pixels are NaN or infinite; "
            "finite intensities were expected.",
            "Export the series again.",
        )
    for step in spec.steps:
        values = _run(step, values, name)
    return values


def _run(step: Step, values: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    match step:
        case ResizeStep():
            resized = resize_area(values, step.rows, step.columns)
            return np.rint(resized) if step.rounding == "half_even" else resized
        case CenterCropStep():
            return _center_crop(values, step.rows, step.columns, name)
        case ClipScaleStep():
            lower = np.float32(step.lower)
            scaled: NDArray[np.float32] = (values - lower) / (np.float32(step.upper) - lower)
            return scaled.clip(np.float32(0), np.float32(1))
        case SubtractStep():
            return values - np.float32(step.value)


def _center_crop(values: NDArray[np.float32], rows: int, columns: int, name: str) -> NDArray[np.float32]:
    height, width = values.shape
    if height < rows or width < columns:
        raise StudyError(
            f"preprocessing: {name}: {height} x {width} pixels came to a centre crop of {rows} x {columns}.",
            "Send a series with a matrix of at least that size.",
        )
    top, left = (height - rows) // 2, (width - columns) // 2
    cropped: NDArray[np.float32] = values[top : top + rows, left : left + columns]
    return cropped
