"""The answer as one picture: what a viewer that shows nothing but images can show.

On the left the answer in words, on the right slices that the network saw. It holds nothing of the patient's header but
the study's UID, which ties it to its study.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..inputs.prepare import Prepared
from .decisions.statements import scored_in_words
from .drawing import (
    BODY,
    DIM,
    INK,
    SMALL,
    Picture,
    blank,
    draw_on,
    grey_of,
    lines_of,
    paste,
    pixels_of,
    scaled,
    write,
)
from .heatmap import PADDING, slice_names
from .result import Result, in_utc

WIDTH, HEIGHT = 1024, 640
MARGIN, WORDS = 24, 430
"""Pixels around all, and of the width of the words."""
HEADLINE, BANNER = 26, (255, 190, 60)
SHOWN = 4
"""Slices that are drawn, at most."""
RESEARCH = "RESEARCH, unverified: not for diagnosis or treatment"
MORE = "There is more to say than fits here: see the report or the JSON."


@dataclass(frozen=True)
class Slice:
    """One plane with its name, [H, W] as the network saw it. sides: whether the patient's right is on the left."""

    name: str
    values: NDArray[np.float32]
    sides: bool


def draw_card(result: Result, prepared: Prepared, deciding: int) -> Picture:
    """The picture, uint8 [640, 1024, 3].

    Args:
        deciding: the window whose slices are drawn.
    """
    picture = blank(WIDTH, HEIGHT)
    draw = draw_on(picture)
    y = MARGIN
    for text, size, ink in _said(result):
        lines = lines_of(text, size, WORDS)
        if y + len(lines) * int(size * 1.35) > HEIGHT - MARGIN - SMALL:  # Room for this is always left.
            write(draw, (MARGIN, HEIGHT - MARGIN - SMALL), MORE, SMALL, within=WORDS, ink=BANNER)
            break
        for line in lines:
            write(draw, (MARGIN, y), line, size, within=WORDS, ink=ink)
            y += int(size * 1.35)
        y += size // 2
    left, room = 2 * MARGIN + WORDS, WIDTH - 3 * MARGIN - WORDS
    shown = list(_shown(prepared, deciding))
    across = 1 if len(shown) == 1 else 2
    side, caption = (room - (across - 1) * MARGIN // 2) // across, SMALL + 8
    for at, plane in enumerate(shown):
        x, top = left + at % across * (side + MARGIN // 2), MARGIN + at // across * (side + caption + MARGIN // 2)
        paste(picture, (x, top), scaled(grey_of(plane.values), side))
        if plane.sides:
            write(draw, (x + 2, top + side + 2), "R", SMALL, within=side)
            write(draw, (x + side - 2, top + side + 2), "L", SMALL, within=side, anchor="ra")
        write(draw, (x + side // 2, top + side + 2), plane.name, SMALL, within=side - 40, anchor="ma", ink=DIM)
    return pixels_of(picture)


def _said(result: Result) -> Iterator[tuple[str, int, tuple[int, int, int]]]:
    """Each paragraph with its size and colour; warnings last, since there may be no room for all of them."""
    yield RESEARCH, BODY, BANNER
    yield result.disclaimer, SMALL, INK
    yield result.wording.headline, HEADLINE, INK
    for name, text in result.wording.rows:
        yield f"{name}: {text}", BODY, INK
    study, model, engine = result.study, result.model, result.engine
    part = scored_in_words(result)
    yield f"{study.modality}, {study.slices} slice(s){part and ', '}{part}", BODY, DIM
    version = "" if model.version is None else f" {model.version}"
    yield f"{model.name}{version}, bundle {model.bundle_sha256[:12]}", BODY, DIM
    yield f"{engine.backend} {engine.precision} on {engine.device}", BODY, DIM
    if result.created is not None:
        yield in_utc(result.created), BODY, DIM
    if uid := study.uids.get("study"):
        yield f"Study {uid}", SMALL, DIM
    for warning in result.warnings:
        yield f"Warning: {warning}", SMALL, BANNER


def _shown(prepared: Prepared, deciding: int) -> Iterator[Slice]:
    """The image; slices of the deciding window, evenly spread; or of several series the middle one of each."""
    if prepared.image is not None:
        yield Slice(prepared.image.input, prepared.image.values[0, 0], sides=False)
        return
    for entry in prepared.series[:SHOWN]:
        windows = entry.windows
        start = windows.starts[deciding]
        names = slice_names(entry, deciding)
        shown = sum(name != PADDING for name in names)  # what a short study was padded with comes last
        parts = min(SHOWN, shown) if len(prepared.series) == 1 else 1
        for part in range(parts):
            at = start + int((part + 0.5) * shown / parts)
            yield Slice(f"{entry.input}, {names[at - start]}", windows.slices[at], sides=True)
