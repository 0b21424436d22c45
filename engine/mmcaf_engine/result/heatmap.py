"""The heat map: where a network's attention lies, drawn over the slices that it saw.

Parts that weigh more than an even share are coloured, from yellow to red for the one that weighs most.

The picture holds slices, weights and the manifest's names; nothing of the patient's header.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Remedy, UsageError
from ..inputs.prepare import Prepared
from ..manifest import AttentionSpec, Manifest
from ..orientation import canonical
from ..outputs import Output, write_all
from .pixel_font import text_mask

MOST_SLICES = 16
"""Of one branch; of more slices so many are shown, evenly spread."""
TILE = 128
"""Pixels that the shorter side of a slice has at least; it is enlarged by a whole number."""
GREY_PERCENTILES = (1.0, 99.0)
"""Intensities that become black and white."""
OPACITY = 0.6
"""Of the colour over the part that weighs most; it falls to nothing at an even share."""

_LOW, _HIGH = np.array([255.0, 220.0, 0.0]), np.array([235.0, 0.0, 0.0])
_MARGIN, _SCALE, _LINE = 8, 3, 24
_BACKGROUND, _INK = 16, 235

Picture = NDArray[np.uint8]


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
        slices = _slices(prepared, name, window)
        shown = _shown(len(slices))
        weights = weight_map(spec, outputs[spec.output][window], axes)
        panels.append(_panel(_grey(slices)[shown], shown, weights, spec, name))
    height = max(len(panel) for panel in panels)
    picture: Picture = np.concatenate([_padded(panel, height) for panel in panels], axis=1)
    return picture


def weight_map(spec: AttentionSpec, weights: NDArray[np.float32], axes: str | None) -> NDArray[np.float32]:
    """The weights [rows * columns] of one window as [R, C]: over a slice, toward the back and the left, or the image.

    Args:
        axes: of the volume inputs; None of an image.
    """
    if axes is None:
        return weights.reshape(spec.grid)
    shape = [*spec.grid]
    shape.insert(next(at for at, letter in enumerate(axes) if letter in "SI"), 1)
    over: NDArray[np.float32] = canonical(weights.reshape(shape), axes)[0]
    return over


def write_png(file: Path, picture: Picture) -> None:
    """Write a picture as PNG, in one rename.

    Raises:
        UsageError: the file cannot be written.
    """
    import imagecodecs

    write_all([(Output("heatmap", file), bytes(imagecodecs.png_encode(picture, level=6)))], force=True)


def _slices(prepared: Prepared, name: str, window: int) -> NDArray[np.float32]:
    """What the network saw as one input, [D, H, W]: the slices of one window, or the image as one."""
    if prepared.image is not None:
        return prepared.image.values[0, :1]
    windows = next(entry.windows for entry in prepared.series if entry.input == name)
    start = windows.starts[window]
    return windows.slices[start : start + windows.depth]


def _grey(slices: NDArray[np.float32]) -> NDArray[np.float64]:
    """[D, H, W] in 0 to 255."""
    low, high = np.percentile(slices, GREY_PERCENTILES)
    grey: NDArray[np.float64] = np.clip((slices - low) / max(high - low, 1e-12), 0, 1) * 255.0
    return grey


def _shown(depth: int) -> NDArray[np.intp]:
    """The slices to draw."""
    return np.linspace(0, depth - 1, min(depth, MOST_SLICES)).round().astype(np.intp)


def _panel(
    grey: NDArray[np.float64], numbers: NDArray[np.intp], weights: NDArray[np.float32], spec: AttentionSpec, over: str
) -> Picture:
    """One branch: its title, the slices under its weights, and the colours' meaning."""
    depth, height, width = grey.shape
    factor = -(-TILE // min(height, width))
    part = excess(weights)
    rows = np.arange(height) * len(part) // height
    columns = np.arange(width) * part.shape[1] // width
    over_slice = part[rows][:, columns].repeat(factor, axis=0).repeat(factor, axis=1)
    across = int(np.ceil(np.sqrt(depth)))
    down = -(-depth // across)
    tall, wide = height * factor + 2, width * factor + 2
    top = _MARGIN + 2 * _LINE
    picture = np.full((top + down * tall + 2 * _LINE + _MARGIN, 2 * _MARGIN + across * wide, 3), _BACKGROUND, np.uint8)
    _write(picture, _MARGIN, _MARGIN, spec.title)
    _write(picture, _MARGIN + _LINE, _MARGIN, f"over {over}")
    for at, (number, plane) in enumerate(zip(numbers, grey, strict=True)):
        tile = plane.repeat(factor, axis=0).repeat(factor, axis=1)[..., np.newaxis].repeat(3, axis=2)
        if spec.slices is None or spec.slices[0] <= number < spec.slices[1]:
            tile = _coloured(tile, over_slice)
        y, x = top + at // across * tall, _MARGIN + at % across * wide
        picture[y : y + tall - 2, x : x + wide - 2] = tile.astype(np.uint8)
        _write(picture, y + 4, x + 4, str(number + 1), scale=2)
    _legend(picture, top + down * tall + _LINE // 2, float(weights.mean()), float(weights.max()))
    return picture


def excess(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far each weight is from an even share, 0, to the largest, 1; 0 below it, and where all weigh the same."""
    even, largest = float(weights.mean()), float(weights.max())
    if largest - even <= 1e-6 * largest:
        return np.zeros(weights.shape)
    part: NDArray[np.float64] = np.clip((weights.astype(np.float64) - even) / (largest - even), 0, 1)
    return part


def _coloured(tile: NDArray[np.float64], over: NDArray[np.float64]) -> NDArray[np.float64]:
    part = over[..., np.newaxis]
    colour = _LOW + part * (_HIGH - _LOW)
    blended: NDArray[np.float64] = tile + OPACITY * part * (colour - tile)
    return blended


def _legend(picture: Picture, y: int, even: float, largest: float) -> None:
    """A bar over mid grey, from an even share to the largest weight."""
    x = _MARGIN + _write(picture, y, _MARGIN, f"even {even:.3f}") + 6
    length = max(min(160, picture.shape[1] - x - 84), 8)
    bar = np.linspace(0, 1, length)[np.newaxis].repeat(5 * _SCALE, axis=0)
    region = picture[y : y + 5 * _SCALE, x : x + length]
    region[:] = _coloured(np.full((*bar.shape, 3), 96.0), bar)[:, : region.shape[1]].astype(np.uint8)
    _write(picture, y, x + length + 6, f"{largest:.3f}")


def _write(picture: Picture, y: int, x: int, text: str, *, scale: int = _SCALE) -> int:
    """Write a text with its upper left corner at (y, x), as far as it fits; returns its width."""
    mask = text_mask(text, scale)[: picture.shape[0] - y, : picture.shape[1] - x]
    region: NDArray[Any] = picture[y : y + mask.shape[0], x : x + mask.shape[1]]
    region[mask] = _INK
    return int(mask.shape[1])


def _padded(panel: Picture, height: int) -> Picture:
    return np.pad(panel, ((0, height - len(panel)), (0, 0), (0, 0)), constant_values=_BACKGROUND)
