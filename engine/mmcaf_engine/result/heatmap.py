"""The heat map: maps of what counted, drawn over the slices that the network saw.

Parts above a map's floor, such as an even share of the attention, are coloured, from yellow to red for the largest, and
those that are nearer to the largest than to the floor have an outline; the slices are seen through the colour.

The picture holds slices, values and the manifest's names; nothing of the patient's header.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Remedy, UsageError
from ..inputs.prepare import Prepared, PreparedSeries
from ..manifest import Manifest
from ..outputs import Output, write_all
from .drawing import (
    BACKGROUND,
    BODY,
    DIM,
    SMALL,
    TITLE,
    Picture,
    blank,
    colour_bar,
    coloured,
    draw_on,
    grey_of,
    paste,
    pixels_of,
    png,
    write,
)
from .explain import ExplanationMap

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

MOST_SLICES = 16
"""Of one branch; of more slices so many are shown, evenly spread."""
TILE = 128
"""Pixels that the shorter side of a slice has at least; it is enlarged by a whole number."""
PADDING = "padding"
"""The name of a slice that is none of the study's."""
MARGIN, GAP = 8, 4
TOP, CAPTION, BOTTOM = 60, SMALL + 8, 48
"""Heights of what stands above the slices, below each of them, and below all."""
NARROWEST = 300
"""Pixels that a branch is wide at least, so that its texts are read."""
NO_PLACE = {
    "attention": "Shows what the network weighed, not where disease lies.",
    "gradcam": "Shows what moved this answer, not where disease lies.",
    "occlusion": "Shows what moved this answer, not where disease lies.",
}
"""What a map is not that was not shown to find lesions."""


def check_heatmap(manifest: Manifest, over: str | None = None) -> None:
    """Refuse what cannot be drawn before any work is done.

    Raises:
        UsageError: `over` is none of the inputs that maps are drawn over.
    """
    names = [spec.name for spec in manifest.inputs if spec.kind in ("volume", "image")]
    if over is not None and over not in names:
        raise UsageError(
            f"Unknown input {over!r}; the heat map can be drawn over {', '.join(names)}.",
            Remedy("For example", option="heatmap_over", value=names[0]),
        )


def draw_heatmap(prepared: Prepared, maps: Sequence[ExplanationMap], *, over: str | None = None) -> Picture:
    """Draw maps over the slices of their window, or over the image, side by side.

    Slices run from the feet upwards, line by line, each seen from the feet: the patient's right is on the left.

    Args:
        maps: at least one.
        over: the input whose slices are drawn; without it, that which each map is about.

    Returns:
        RGB, uint8 [H, W, 3].
    """
    panels = []
    for found in maps:
        name = over or found.input
        slices = _slices(prepared, name, found.window)
        panels.append(_panel(slices, _names(prepared, name, found.window), found, name))
    height = max(len(panel) for panel in panels)
    picture: Picture = np.concatenate([_padded(panel, height) for panel in panels], axis=1)
    return picture


def write_png(file: Path, picture: Picture) -> None:
    """Write a picture as PNG, in one rename.

    Raises:
        UsageError: the file cannot be written.
    """
    write_all([(Output("heatmap", file), png(picture))], force=True)


def _slices(prepared: Prepared, name: str, window: int) -> NDArray[np.float32]:
    """What the network saw as one input, [D, H, W]: the slices of one window, or the image as one."""
    if prepared.image is not None:
        return prepared.image.values[0, :1]
    windows = next(entry.windows for entry in prepared.series if entry.input == name)
    start = windows.starts[window]
    return windows.slices[start : start + windows.depth]


def _shown(depth: int) -> NDArray[np.intp]:
    """The slices to draw."""
    return np.linspace(0, depth - 1, min(depth, MOST_SLICES)).round().astype(np.intp)


def _panel(slices: NDArray[np.float32], names: Sequence[str], found: ExplanationMap, over: str) -> Picture:
    """One map: its title, the slices under their parts of it with their names, and the colours' meaning."""
    shown = _shown(len(slices))
    grey = grey_of(slices)[shown]
    height, width = grey.shape[1:]
    factor = -(-TILE // min(height, width))
    across = int(np.ceil(np.sqrt(len(shown))))
    down = -(-len(shown) // across)
    caption = CAPTION if any(names) else 0
    tall, wide = height * factor + caption + GAP, width * factor + GAP
    inner = max(across * wide - GAP, NARROWEST)
    picture = blank(inner + 2 * MARGIN, TOP + down * tall + BOTTOM)
    draw = draw_on(picture)
    whose = "shared by all labels" if found.label is None else f"for {found.label}"
    write(draw, (MARGIN, MARGIN), found.title, TITLE, within=inner)
    write(draw, (MARGIN, MARGIN + TITLE + 6), f"over {over}, {whose}", BODY, within=inner, ink=DIM)
    for at, (number, plane) in enumerate(zip(shown, grey, strict=True)):
        part = over_slice(found, int(number), (height, width))
        part = np.zeros((height, width)) if part is None else part
        x, y = MARGIN + at % across * wide, TOP + at // across * tall
        paste(picture, (x, y), coloured(_enlarged(plane, factor), _enlarged(part, factor)))
        if caption:
            _caption(draw, (x, y + height * factor), width * factor, names[number])
    below = TOP + down * tall
    colour_bar(picture, (MARGIN, below), inner, *meaning(found))
    if not found.localises:
        write(draw, (MARGIN, below + 2 * SMALL + 7), NO_PLACE[found.method], SMALL, within=inner)
    return pixels_of(picture)


def meaning(found: ExplanationMap) -> tuple[tuple[str, str], str]:
    """What stands at the ends of a map's colour bar, and below it."""
    largest = float(found.values.max())
    if found.method == "attention":
        return (f"even {found.floor:.3f}", f"{largest:.3f}"), "share of the attention weight"
    name = f"how far the score of {found.label} falls without a part"
    if found.method == "gradcam":
        name = f"how much a part raises the score of {found.label}, in no unit"
    return (f"{found.floor:.3g}", f"{largest:.3g}"), name


def _caption(draw: "ImageDraw", place: tuple[int, int], width: int, name: str) -> None:
    """Below a slice, so that nothing of it is hidden: the patient's sides, and its name."""
    x, y = place
    write(draw, (x + 2, y + 2), "R", SMALL, within=width)
    write(draw, (x + width // 2, y + 2), name, SMALL, within=width - 32, anchor="ma", ink=DIM)
    write(draw, (x + width - 2, y + 2), "L", SMALL, within=width, anchor="ra")


def _enlarged(plane: NDArray[np.floating[Any]], factor: int) -> NDArray[np.floating[Any]]:
    return plane.repeat(factor, axis=0).repeat(factor, axis=1)


def _names(prepared: Prepared, name: str, window: int) -> list[str]:
    """Of each slice of one window; empty for the image."""
    if prepared.image is not None:
        return [""]
    return slice_names(next(entry for entry in prepared.series if entry.input == name), window)


def slice_names(entry: PreparedSeries, window: int) -> list[str]:
    """Of each slice of one window, in the study's own numbers."""
    count = entry.facts.slices
    return [f"{number} of {count}" if 1 <= number <= count else PADDING for number in slice_numbers(entry, window)]


def slice_numbers(entry: PreparedSeries, window: int) -> list[int]:
    """Of each slice of one window, in the study, from 1 at the feet; of what it was padded with, beyond the last or
    before the first."""
    windows = entry.windows
    first, count = windows.starts[window], windows.resized_from
    if count is None:  # As they are, or padded at the head or the feet.
        return [first - windows.before + at + 1 for at in range(windows.depth)]
    # The slice in whose middle it lies.
    return [int((first + at + 0.5) * count / len(windows.slices)) + 1 for at in range(windows.depth)]


def excess(values: NDArray[np.float32], floor: float) -> NDArray[np.float64]:
    """How far each value is from the floor, 0, to the largest, 1; 0 below it, and where nothing rises above it."""
    largest = float(values.max())
    if largest - floor <= 1e-6 * abs(largest):
        return np.zeros(values.shape)
    part: NDArray[np.float64] = np.clip((values.astype(np.float64) - floor) / (largest - floor), 0, 1)
    return part


def over_slice(found: ExplanationMap, at: int, shape: tuple[int, int]) -> NDArray[np.float64] | None:
    """How strong a map is over each pixel of a slice of its window, [H, W] from 0 to 1; None where it does not reach.

    Args:
        at: place of the slice in the window. shape: rows and columns of the slice.
    """
    first, end = found.slices
    if not first <= at < end:
        return None
    part = excess(found.values, found.floor)[(at - first) * len(found.values) // (end - first)]
    rows, columns = (np.arange(size) * count // size for size, count in zip(shape, part.shape, strict=True))
    over: NDArray[np.float64] = part[rows][:, columns]
    return over


def _padded(panel: Picture, height: int) -> Picture:
    return np.pad(panel, ((0, height - len(panel)), (0, 0), (0, 0)), constant_values=BACKGROUND[0])
