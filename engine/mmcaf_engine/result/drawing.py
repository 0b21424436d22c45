"""What every picture of an answer is drawn with: texts, colour bars, tiles with their captions, by Pillow.

Pillow brings a scalable font of its own, so that a picture looks alike wherever it is drawn. It has the shapes of few
letters but those of English; what stands for others is told from anything else, and no empty box.
"""

import json
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any
from unicodedata import combining, normalize

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Picture = NDArray[np.uint8]
"""RGB, [H, W, 3]."""

BACKGROUND, INK, DIM = (16, 16, 16), (235, 235, 235), (160, 160, 160)
TITLE, BODY, SMALL = 18, 14, 12
"""Heights of letters in pixels."""
LEAST = 8
LOW, HIGH = np.array([255.0, 220.0, 0.0]), np.array([235.0, 0.0, 0.0])
"""The colours of the weakest and of the strongest, RGB."""
GREY_PERCENTILES = (1.0, 99.0)
"""Intensities that become black and white."""
OPACITY = 0.45
"""Of the colour where it is strongest; what lies under it stays seen."""
_IN_NO_FONT = "\uffff"
"""No character: what is drawn for it is drawn for all that a font does not have."""
OUTLINED = 0.5
"""The part of the strongest from which on a region has an outline."""


@cache
def font(size: int) -> "FreeTypeFont":
    """Pillow's own, in this size."""
    from PIL import ImageFont

    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, which draws texts.")
    return found


def blank(width: int, height: int) -> "Image":
    """An empty picture."""
    from PIL import Image

    return Image.new("RGB", (width, height), BACKGROUND)


def draw_on(picture: "Image") -> "ImageDraw":
    """What draws on a picture."""
    from PIL import ImageDraw

    return ImageDraw.Draw(picture)


def drawable(text: str) -> str:
    r"""A text in letters that the font has: others without their accents or, if that is not enough, as `\u80ba`."""
    return "".join(map(_drawn_as, normalize("NFC", text)))


@cache
def _drawn_as(character: str) -> str:
    if _has_shape(character):
        return character
    plain = "".join(part for part in normalize("NFKD", character) if not combining(part))
    return plain if plain and all(map(_has_shape, plain)) else json.dumps(character)[1:-1]


def _has_shape(character: str) -> bool:
    return character.isascii() or _shape(character) != _shape(_IN_NO_FONT)


def _shape(character: str) -> bytes:
    return bytes(font(SMALL).getmask(character))


def width_of(text: str, size: int) -> int:
    """Of one line, in pixels."""
    return int(np.ceil(font(size).getlength(text)))


def write(
    draw: "ImageDraw",
    place: tuple[int, int],
    text: str,
    size: int = BODY,
    *,
    within: int,
    anchor: str = "la",
    ink: tuple[int, int, int] = INK,
) -> None:
    """One line of text, smaller where it would not fit, and cut with an ellipsis where even that does not help.

    Args:
        place: x and y of what `anchor` says, as Pillow names it: "la" of the upper left corner.
        within: the width that it may take.
    """
    text = drawable(text)
    while size > LEAST and width_of(text, size) > within:
        size -= 1
    if width_of(text, size) > within:
        while text and width_of(f"{text}…", size) > within:
            text = text[:-1]
        text = f"{text}…"
    draw.text(place, text, fill=ink, font=font(size), anchor=anchor)


def lines_of(text: str, size: int, within: int) -> list[str]:
    """A text broken between its words, so that each line fits; a word that is too long has a line of its own."""
    lines: list[str] = []
    for word in drawable(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size) <= within:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def grey_of(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intensities in 0, black, to 255, white, of which a hundredth at either end is beyond what is told apart."""
    low, high = np.percentile(values, GREY_PERCENTILES)
    grey: NDArray[np.float64] = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255.0
    return grey


def scaled(grey: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """A plane of grey values in a square of so many pixels, its shape kept, in the middle of black."""
    from PIL import Image

    height, width = grey.shape
    factor = side / max(height, width)
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    tile = np.zeros((side, side), np.uint8)
    small = Image.fromarray(grey.round().astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = np.asarray(small)
    return tile


def paste(picture: "Image", place: tuple[int, int], tile: NDArray[np.uint8]) -> None:
    """Put a tile, grey [H, W] or RGB [H, W, 3], with its upper left corner at x and y."""
    from PIL import Image

    picture.paste(Image.fromarray(tile), place)


def coloured(grey: NDArray[np.floating[Any]], strength: NDArray[np.floating[Any]]) -> Picture:
    """Grey values with a colour over them, through which they are seen, from yellow to red, and the strongest outlined.

    Args:
        grey: [H, W], 0 to 255.
        strength: [H, W], 0, where there is no colour, to 1.
    """
    tile = _blended(grey, strength)
    tile[_outline(strength >= OUTLINED)] = HIGH
    return tile


def overlay(strength: NDArray[np.floating[Any]]) -> Picture:
    """The colour alone, as it lies over whatever is below: RGBA, uint8 [H, W, 4]; see `coloured`."""
    part = strength[..., np.newaxis]
    tile: Picture = np.concatenate([_colour(part), 255 * OPACITY * part], axis=-1).round().astype(np.uint8)
    tile[strength <= 0] = 0
    tile[_outline(strength >= OUTLINED)] = [*HIGH, 255]
    return tile


def _colour(part: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """From yellow to red, [..., 3], of strengths [..., 1]."""
    colour: NDArray[np.float64] = LOW + part * (HIGH - LOW)
    return colour


def _blended(grey: NDArray[np.floating[Any]], strength: NDArray[np.floating[Any]]) -> Picture:
    under, part = grey[..., np.newaxis], strength[..., np.newaxis]
    blended: Picture = (under + OPACITY * part * (_colour(part) - under)).round().astype(np.uint8)
    return blended


def _outline(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The outermost pixels of what is inside; the border of the picture is no edge."""
    inner = inside.copy()
    inner[1:] &= inside[:-1]
    inner[:-1] &= inside[1:]
    inner[:, 1:] &= inside[:, :-1]
    inner[:, :-1] &= inside[:, 1:]
    return inside & ~inner


def colour_bar(picture: "Image", place: tuple[int, int], width: int, ends: Sequence[str], name: str) -> None:
    """What the colours mean: a bar over mid grey, the texts of its ends, and its name below."""
    draw = draw_on(picture)
    x, y = place
    low, high = ends
    left, right = width_of(low, SMALL) + 6, width_of(high, SMALL) + 6
    length = max(width - left - right, 16)
    bar = np.repeat(np.linspace(0, 1, length)[np.newaxis], SMALL, axis=0)
    write(draw, (x, y), low, SMALL, within=left)
    paste(picture, (x + left, y + 1), _blended(np.full(bar.shape, 96.0), bar))
    write(draw, (x + left + length + 6, y), high, SMALL, within=right)
    write(draw, (x, y + SMALL + 6), name, SMALL, within=width, ink=DIM)


def pixels_of(picture: "Image") -> Picture:
    """A picture as an array."""
    return np.array(picture, np.uint8)


def png(picture: Picture) -> bytes:
    """A picture as a PNG file: the same bytes for the same picture and library, and no word beside the pixels."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(picture).save(stream, "PNG", compress_level=6)
    return stream.getvalue()
