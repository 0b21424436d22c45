"""The raw case of a bundle: a synthetic study and record, drawn from the manifest alone and the same everywhere.

It is noise of the right form, not anatomy: it serves to see that each step of the preprocessing does what it did.
Values lie within and beyond what the steps clip, no axis is as long as another, and short windows are padded.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcaf_engine.bundle.golden import RawStudy
from mmcaf_engine.inputs.windows import lay_out
from mmcaf_engine.manifest import (
    CategoryField,
    CenterCropStep,
    ClipScaleStep,
    Manifest,
    NumberField,
    PreprocessingSpec,
    ResizeStep,
    TableField,
    TextSpec,
)
from mmcaf_engine.volume import Volume

SEED = 0
LEVELS = 16
"""Intensities that occur, evenly spread, so that a volume stores small."""
CELL = 12
"""Pixels of a side of the squares that share a level, but for noise of a third of that."""
BEYOND = 0.2
"""Share of the clipped range by which intensities exceed it on either side."""
SPACING_MM = (2.5, 0.7, 0.8)
CANONICAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
WORDS = 12

_LOWEST, _HIGHEST = -1024, 32767


def draw_study(manifest: Manifest, pieces: Sequence[str] = ()) -> RawStudy:
    """The study and record of a bundle's raw case.

    Args:
        pieces: the vocabulary of a network that reads a report.
    """
    rng = np.random.default_rng(SEED)
    spec = manifest.preprocessing
    volumes = {} if spec is None else {entry.name: _volume(spec, entry.shape, rng) for entry in manifest.volumes}
    plane = None
    if manifest.image is not None:
        rows, columns = manifest.image.size
        plane = (_levels((1, rows * 5 // 4 + 1, columns * 4 // 3 + 2), rng)[0] * (255 // (LEVELS - 1))).astype(np.uint8)
    return RawStudy(
        volumes=volumes,
        plane=plane,
        record=None if manifest.table is None else {field.name: _value(field) for field in manifest.table.fields},
        report=None if manifest.text is None else _report(manifest.text, pieces),
    )


def _volume(spec: PreprocessingSpec, shape: Sequence[int | str], rng: np.random.Generator) -> Volume:
    low, high = _range(spec)
    levels = np.rint(low + (high - low) * np.arange(LEVELS) / (LEVELS - 1)).astype(np.int16)
    values = levels[_levels(_size(spec, shape), rng)]
    return Volume(values, spec.intensity, SPACING_MM, (0.0, 0.0, 0.0), CANONICAL)


def _range(spec: PreprocessingSpec) -> tuple[float, float]:
    """The lowest and the highest intensity."""
    clip = next((step for step in spec.steps if isinstance(step, ClipScaleStep)), None)
    lower, upper = (0.0, 1000.0) if clip is None else (clip.lower, clip.upper)
    beyond = BEYOND * (upper - lower) if clip is not None else 0.0
    return max(lower - beyond, _LOWEST), min(upper + beyond, _HIGHEST)


def _size(spec: PreprocessingSpec, shape: Sequence[int | str]) -> tuple[int, int, int]:
    """Slices, rows and columns: fewer slices than a window, a matrix that the first step in the plane makes smaller.

    Whole volumes are smaller than what they are resized to, since there are several of them.
    """
    size = None if spec.windows is not None else lay_out((2, _HIGHEST, _HIGHEST), spec).shape
    slices = size[0] // 2 + 2 if size is not None else -(-2 * int(shape[2 + spec.slice_axis]) // 3)
    for step in spec.steps:
        if isinstance(step, ResizeStep):
            return slices, step.rows * 5 // 4 + 1, step.columns * 4 // 3 + 2
        if isinstance(step, CenterCropStep):
            return slices, step.rows + 3, step.columns + 5
    if size is not None:
        return slices, size[1] // 2 + 3, size[2] // 2 + 5
    rows, columns = (
        next(int(shape[2 + at]) for at, letter in enumerate(spec.axes) if letter in along) for along in ("AP", "LR")
    )
    return slices, rows, columns


def _levels(size: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.intp]:
    """[D, H, W] from 0 to LEVELS - 1: squares of CELL pixels, and finer ones above and below them."""
    depth, rows, columns = size
    fine = CELL // 3
    coarse = rng.integers(0, LEVELS - 2, (depth, -(-rows // CELL), -(-columns // CELL)))
    noise = rng.integers(-3, 6, (depth, -(-rows // fine), -(-columns // fine)))
    blocks = coarse.repeat(CELL, 1).repeat(CELL, 2)[:, :rows, :columns]
    levels: NDArray[np.intp] = np.clip(
        blocks + noise.repeat(fine, 1).repeat(fine, 2)[:, :rows, :columns], 0, LEVELS - 1
    )
    return levels


def _value(field: TableField) -> Any:
    """A plausible value of a field: the middle category, or a number that scales to 0.6."""
    if isinstance(field, CategoryField):
        return list(field.categories)[len(field.categories) // 2]
    return _number(field)


def _number(field: NumberField) -> float:
    wanted = field.minimum + 0.6 * (field.maximum - field.minimum)
    if field.lower is not None and field.upper is not None:
        wanted = field.lower + 0.6 * (field.upper - field.lower)
    elif field.mean is not None and field.std is not None:
        wanted = field.mean + 0.6 * field.std
    return min(max(round(wanted, 3), field.minimum), field.maximum)


def _report(spec: TextSpec, pieces: Sequence[str]) -> str:
    """Words of the vocabulary, one of them with a capital letter, with a marker to remove and a stop."""
    words = [piece for piece in pieces if piece.isalpha() and piece.isascii() and len(piece) > 1] or ["report"]
    chosen = [words[at] for at in np.linspace(0, len(words) - 1, min(WORDS, len(words))).round().astype(int)]
    chosen[0] = chosen[0].capitalize()
    return f"{' '.join([*chosen[:1], *spec.remove[:1], *chosen[1:]])}."
