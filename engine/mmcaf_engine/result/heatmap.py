"""The heat map: where a network's attention lies, drawn over the slices that it saw.

Parts that weigh more than an even share are coloured, from yellow to red for the one that weighs most, and those that
are nearer to the largest weight than to an even share have an outline; the slices are seen through the colour.

The picture holds slices, weights and the manifest's names; nothing of the patient's header.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Remedy, UsageError
from ..inputs.prepare import Prepared, PreparedSeries
from ..manifest import AttentionSpec, Manifest
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
from .explain import weight_map

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


def check_heatmap(manifest: Manifest, over: str | None = None) -> None:
    """Refuse what cannot be drawn before any work is done.

    Raises:
        UsageError: the network has no attention outputs, or `over` is none of the inputs that they are drawn over.
    """
    if not manifest.attention:
        raise UsageError(
            f"{manifest.name} has no attention outputs, so that there is no heat map of it.",
            Remedy("Leave it out", option="heatmap"),
        )
    names = [spec.name for spec in manifest.inputs if spec.kind in ("volume", "image")]
    if over is not None and over not in names:
        raise UsageError(
            f"Unknown input {over!r}; the heat map can be drawn over {', '.join(names)}.",
            Remedy("For example", option="heatmap_over", value=names[0]),
        )


def draw_heatmap(
    manifest: Manifest,
    prepared: Prepared,
    outputs: Mapping[str, NDArray[np.float32]],
    window: int = 0,
    *,
    over: str | None = None,
) -> Picture:
    """Draw every attention output over the slices of one window, or over the image, side by side.

    Slices run from the feet upwards, line by line, each seen from the feet: the patient's right is on the left.

    Args:
        outputs: of all windows, by name, as `run_windows` gives them.
        window: which one.
        over: the input whose slices are drawn; without it, that which the attention weighs.

    Returns:
        RGB, uint8 [H, W, 3].

    Raises:
        UsageError: as `check_heatmap`.
    """
    check_heatmap(manifest, over)
    axes = None if manifest.preprocessing is None else manifest.preprocessing.axes
    panels = []
    for spec in manifest.attention:
        name = over or manifest.weighed(spec).name
        weights = weight_map(spec, outputs[spec.output][window], axes)
        panels.append(_panel(_slices(prepared, name, window), _names(prepared, name, window), weights, spec, name))
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


def _panel(
    slices: NDArray[np.float32], names: Sequence[str], weights: NDArray[np.float32], spec: AttentionSpec, over: str
) -> Picture:
    """One branch: its title, the slices under its weights with their names, and the colours' meaning."""
    shown = _shown(len(slices))
    grey = grey_of(slices)[shown]
    height, width = grey.shape[1:]
    factor = -(-TILE // min(height, width))
    part = excess(weights)
    rows = np.arange(height) * len(part) // height
    columns = np.arange(width) * part.shape[1] // width
    over_slice = _enlarged(part[rows][:, columns], factor)
    across = int(np.ceil(np.sqrt(len(shown))))
    down = -(-len(shown) // across)
    caption = CAPTION if any(names) else 0
    tall, wide = height * factor + caption + GAP, width * factor + GAP
    inner = max(across * wide - GAP, NARROWEST)
    picture = blank(inner + 2 * MARGIN, TOP + down * tall + BOTTOM)
    draw = draw_on(picture)
    write(draw, (MARGIN, MARGIN), spec.title, TITLE, within=inner)
    write(draw, (MARGIN, MARGIN + TITLE + 6), f"over {over}, shared by all labels", BODY, within=inner, ink=DIM)
    for at, (number, plane) in enumerate(zip(shown, grey, strict=True)):
        covered = spec.slices is None or spec.slices[0] <= number < spec.slices[1]
        x, y = MARGIN + at % across * wide, TOP + at // across * tall
        paste(picture, (x, y), coloured(_enlarged(plane, factor), over_slice if covered else 0 * over_slice))
        if caption:
            _caption(draw, (x, y + height * factor), width * factor, names[number])
    even, largest = float(weights.mean()), float(weights.max())
    bar = (MARGIN, TOP + down * tall)
    colour_bar(picture, bar, inner, (f"even {even:.3f}", f"{largest:.3f}"), "share of the attention weight")
    return pixels_of(picture)


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
    """Of each slice of one window, in the study's own numbers, counted from the feet."""
    windows, count = entry.windows, entry.facts.slices
    first = windows.starts[window]
    if len(windows.slices) == max(count, windows.depth):  # As they are, or padded at the head.
        numbers = [first + at + 1 for at in range(windows.depth)]
    else:  # Resized along the series: the slice in whose middle it lies.
        numbers = [int((first + at + 0.5) * count / len(windows.slices)) + 1 for at in range(windows.depth)]
    return [f"{number} of {count}" if number <= count else PADDING for number in numbers]


def excess(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far each weight is from an even share, 0, to the largest, 1; 0 below it, and where all weigh the same."""
    even, largest = float(weights.mean()), float(weights.max())
    if largest - even <= 1e-6 * largest:
        return np.zeros(weights.shape)
    part: NDArray[np.float64] = np.clip((weights.astype(np.float64) - even) / (largest - even), 0, 1)
    return part


def _padded(panel: Picture, height: int) -> Picture:
    return np.pad(panel, ((0, height - len(panel)), (0, 0), (0, 0)), constant_values=BACKGROUND[0])
