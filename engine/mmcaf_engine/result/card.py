"""The answer as one picture: what a viewer that shows nothing but images can show.

On the left the answer in words, on the right slices that the network saw. It holds nothing of the patient's header but
the study's UID, which ties it to its study.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .decisions.statements import scored_in_words
from .drawing import (
    BODY,
    DIM,
    INK,
    SMALL,
    Picture,
    blank,
    coloured,
    draw_on,
    drawable,
    grey_of,
    lines_of,
    paste,
    pixels_of,
    scaled,
    write,
)
from .explain import ExplanationMap
from .heatmap import NO_PLACE
from .key_slices import KeySlice
from .result import Result, in_utc
from .risk import level_rows

WIDTH, HEIGHT = 1024, 640
MARGIN, WORDS = 24, 430
"""Pixels around all, and of the width of the words."""
HEADLINE, BANNER = 26, (255, 190, 60)
SHOWN = 4
"""Slices that are drawn, at most."""
RESEARCH = "RESEARCH, unverified: not for diagnosis or treatment"
SPELLED_OUT = "\\u and four figures stand for a letter that no picture has: see the report or the JSON."
MORE = "There is more to say than fits here: see the report or the JSON."


def draw_card(result: Result, keys: Sequence[KeySlice]) -> Picture:
    """The picture, uint8 [640, 1024, 3].

    Of slices with a heat map it shows the two where that is highest, each without and with it.

    Args:
        keys: the slices to draw.
    """
    picture = blank(WIDTH, HEIGHT)
    draw = draw_on(picture)
    y = MARGIN
    for text, size, ink in _said(result, keys):
        lines = lines_of(text, size, WORDS)
        if y + len(lines) * int(size * 1.35) > HEIGHT - MARGIN - SMALL:  # Room for this is always left.
            write(draw, (MARGIN, HEIGHT - MARGIN - SMALL), MORE, SMALL, within=WORDS, ink=BANNER)
            break
        for line in lines:
            write(draw, (MARGIN, y), line, size, within=WORDS, ink=ink)
            y += int(size * 1.35)
        y += size // 2
    left, room = 2 * MARGIN + WORDS, WIDTH - 3 * MARGIN - WORDS
    shown = _shown(keys)
    across = 1 if len(shown) == 1 else 2
    side, caption = (room - (across - 1) * MARGIN // 2) // across, SMALL + 8
    for at, (key, drawn) in enumerate(shown):
        x, top = left + at % across * (side + MARGIN // 2), MARGIN + at // across * (side + caption + MARGIN // 2)
        grey = scaled(grey_of(key.values), side)
        paste(picture, (x, top), _under_map(grey, key, side) if drawn else grey)
        if key.name:
            write(draw, (x + 2, top + side + 2), "R", SMALL, within=side)
            write(draw, (x + side - 2, top + side + 2), "L", SMALL, within=side, anchor="ra")
        name = ", ".join(part for part in (key.input, key.name, "heat map" if drawn else "") if part)
        write(draw, (x + side // 2, top + side + 2), name, SMALL, within=side - 40, anchor="ma", ink=DIM)
    return pixels_of(picture)


def _shown(keys: Sequence[KeySlice]) -> list[tuple[KeySlice, bool]]:
    """What is drawn, in order, and whether with its map."""
    drawn = sorted((key for key in keys if key.drawn is not None), key=lambda key: -key.highest)
    chosen = drawn[: SHOWN // 2]
    pairs = [(key, with_map) for key in keys if key in chosen for with_map in (False, True)]
    inputs = {key.input for key in chosen}
    others = [(key, False) for key in keys if key.input not in inputs]
    return [*pairs, *others][:SHOWN]


def _under_map(grey: NDArray[np.uint8], key: KeySlice, side: int) -> Picture:
    strength = scaled(key.strength * 255.0, side) / 255.0
    return coloured(grey.astype(np.float64), strength)


def _said(result: Result, keys: Sequence[KeySlice] = ()) -> Iterator[tuple[str, int, tuple[int, int, int]]]:
    """Each paragraph with its size and colour; warnings last, since there may be no room for all of them."""
    yield RESEARCH, BODY, BANNER
    yield result.disclaimer, SMALL, INK
    yield result.wording.headline, HEADLINE, INK
    for name, text in result.wording.rows:
        yield f"{name}: {text}", BODY, INK
    for label, level in level_rows(result):
        yield f"risk of {label}: {level}", BODY, INK
    for drawn in dict.fromkeys(key.drawn for key in keys if key.drawn is not None):
        yield _of_map(drawn), SMALL, INK
    study, model, engine = result.study, result.model, result.engine
    part = scored_in_words(result)
    yield f"{study.modality}, {study.slices} slice(s){part and ', '}{part}", BODY, DIM
    version = "" if model.version is None else f" {model.version}"
    yield f"{model.name}{version}, bundle {model.bundle_sha256[:12]}", BODY, DIM
    yield f"{engine.backend} {engine.precision} on {engine.device}", BODY, DIM
    if result.created is not None:
        yield in_utc(result.created), BODY, DIM
    if any("\\u" in drawable(label) for label in result.probabilities):
        yield SPELLED_OUT, SMALL, DIM
    if uid := study.uids.get("study"):
        yield f"Study {uid}", SMALL, DIM
    for warning in result.warnings:
        yield f"Warning: {warning}", SMALL, BANNER


def _of_map(drawn: ExplanationMap) -> str:
    """What the colours mean, and what they do not."""
    whose = "all labels" if drawn.label is None else drawn.label
    ends = f"yellow {drawn.floor:.3g} to red {float(drawn.values.max()):.3g}"
    return f"Heat map: {drawn.title}, for {whose}, {ends}. {'' if drawn.localises else NO_PLACE[drawn.method]}".strip()
