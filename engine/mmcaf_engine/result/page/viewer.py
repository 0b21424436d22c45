"""The pictures of a page: the few that stand on paper too, and all slices to scroll through, with and without maps."""

import base64
from collections.abc import Iterator, Sequence

from ...page.markup import Markup, join, tag
from ..explain import ExplanationMap
from ..heatmap import NO_PLACE, meaning
from .pictures import Pictures, Tile

_SCROLL = "Slices from the feet upwards, seen from the feet. Scroll, or use the arrow keys."
_FOUND = "On studies with known lesions its largest value lay in one more often than by chance; that proves no finding."
_METHODS = {"attention": "attention", "gradcam": "Grad-CAM", "occlusion": "occlusion"}


def pictures_part(pictures: Pictures, maps: Sequence[ExplanationMap], left_out: int) -> Markup:
    """The key slices with what the maps mean, beside all slices to scroll through.

    Args:
        maps: those that are drawn, in the order of their numbers. left_out: how many more there are.
    """
    shown = tag(
        "div",
        _keys(pictures, maps),
        _legend(maps, left_out) if maps else None,
        *(tag("p", line, class_="soft") for line in _held(pictures)),
    )
    if len(pictures.frames) == 1:
        return shown
    several = len({name for _, name in pictures.keys}) > 1
    return tag("div", shown, _viewer(pictures, maps, several), class_="images stacked" if several else "images")


def _keys(pictures: Pictures, maps: Sequence[ExplanationMap]) -> Markup:
    """Each key slice alone, and under the first map that covers it; an image under each map."""
    tiles = [(at, _tile(pictures, at, name)) for at, name in pictures.keys]
    if len(pictures.frames) == 1:
        at, tile = tiles[0]
        figures = [_key(at, tile, number, maps, tile.input) for number in (None, *tile.maps)]
        return tag("div", *figures, class_="keys single")
    if len({name for _, name in pictures.keys}) > 1:
        plain = [_key(at, tile, None, maps, f"{tile.input}, {tile.name}") for at, tile in tiles]
        under = [_key(at, tile, number, maps, tile.input) for at, tile in tiles for number in list(tile.maps)[:1]]
        return tag("div", *plain, *under, class_="keys many")
    pairs = [
        tag("div", *(_key(at, tile, number, maps, tile.name) for number in (None, *list(tile.maps)[:1])))
        for at, tile in tiles
    ]
    return tag("div", *pairs, class_="keys pairs" if any(tile.maps for _, tile in tiles) else "keys")


def _viewer(pictures: Pictures, maps: Sequence[ExplanationMap], several: bool) -> Markup:
    """Every slice that the page holds, one below the other, of which one is seen at a time; under one map, or none."""
    first = pictures.keys[0][0]
    frames = [
        tag(
            "li",
            tag("div", *(_slide(tile, several) for tile in tiles)),
            tag("p", tag("span", "R"), tiles[0].name, tag("span", "L")),
            id=f"slice-{at}",
            class_="first" if at == first else None,
        )
        for at, tiles in pictures.frames.items()
    ]
    choices = [("none", "no map"), *((str(number), one.title) for number, one in enumerate(maps))]
    buttons = [
        join(
            tag("input", type="radio", name="map", id=f"map-{value}", checked=at == min(1, len(maps))),
            tag("label", title, for_=f"map-{value}"),
        )
        for at, (value, title) in enumerate(choices)
    ]
    return tag(
        "div",
        *(buttons if maps else ()),
        tag("div", tag("ol", *frames), class_="film", role="region", tabindex=0, aria_label=_SCROLL),
        tag("p", _SCROLL, class_="soft", aria_hidden="true"),
        class_=f"viewer{' several' if several else ''}",
        role="group",
        aria_label="All slices",
    )


def _tile(pictures: Pictures, at: int, name: str) -> Tile:
    return next(tile for tile in pictures.frames[at] if tile.input == name)


def _key(at: int, tile: Tile, number: int | None, maps: Sequence[ExplanationMap], name: str) -> Markup:
    """A key slice alone, or under a map. name: of the slice alone; it leads to its place among all slices."""
    said = f"{tile.input}, slice {tile.name}" if tile.name else tile.input
    over = None if number is None else _over(tile, number)
    title = name if number is None else maps[number].title
    inside = join(_picture(tile.grey, said if number is None else f"{said}, under the map {title}"), over)
    linked = number is None and tile.name
    return tag(
        "figure",
        tag("a", inside, href=f"#slice-{at}", class_="plane") if linked else tag("span", inside, class_="plane"),
        tag("figcaption", tag("span", title), class_="sides" if tile.name else None),
    )


def _slide(tile: Tile, several: bool) -> Markup:
    over = [_over(tile, number) for number in tile.maps]
    return tag(
        "figure",
        tag("span", _picture(tile.grey, tile.input), *over, class_="plane"),
        tag("figcaption", tile.input) if several else None,
    )


def _picture(png: bytes, said: str) -> Markup:
    return tag("img", src=_address(png), alt=said)


def _over(tile: Tile, number: int) -> Markup:
    """A map over a slice, whose own picture says what is seen."""
    return tag("img", src=_address(tile.maps[number]), alt="", class_=f"map map-{number}")


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _legend(maps: Sequence[ExplanationMap], left_out: int) -> Markup:
    rows = [tag("li", tag("b", one.title), f" ({', '.join(_about(one))}). ", _meaning(one)) for one in maps]
    more = [tag("li", f"{left_out} more maps are not on this page.")] if left_out else []
    bar = tag("p", "nothing ", tag("span", class_="colours", aria_hidden="true"), " largest", class_="soft")
    return tag("div", bar, tag("ul", *rows, *more, class_="notes"), class_="meaning")


def _about(one: ExplanationMap) -> Iterator[str]:
    if _METHODS[one.method].casefold() != one.title.casefold():
        yield _METHODS[one.method]
    yield f"over {one.input}"
    yield "shared by all labels" if one.label is None else f"for {one.label}"


def _meaning(one: ExplanationMap) -> str:
    (low, high), what = meaning(one)
    return f"From {low} to {high}: {what}. {_FOUND if one.localises else NO_PLACE[one.method]}"


def _held(pictures: Pictures) -> Iterator[str]:
    """What of the study is on this page."""
    shown = len(pictures.frames)
    if shown < pictures.positions:
        window = f", {pictures.of_window} of them in that window" if pictures.of_window else ""
        yield (
            f"{shown} of {pictures.positions} slices are on this page: those of the window that the answer rests on, "
            f"and of the others some, evenly spread; {pictures.positions - shown} are left out{window}."
        )
    smaller = ", but smaller" if pictures.reduced else ""
    yield f"Drawn as the network saw them{smaller}: not for reading the study."
