"""Tables of the page, each also the text of the drawing beside it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .markup import Markup, join, tag

Cell = str | Markup


@dataclass(frozen=True)
class Column:
    """One column. kind: "" for figures; "words" for text; "gauge" or "wide" for a drawing."""

    head: Cell
    kind: str = ""


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell]],
    *,
    foot: Sequence[Cell] | None = None,
    first: bool = False,
    printed: int | None = None,
) -> Markup:
    """A table that scrolls sideways where the screen is narrow.

    Args:
        first: stress the first row.
        printed: so many rows are on paper, and how many there are more; all without.
    """
    head = tag("tr", *map(_head, columns))
    body = [
        _row(columns, row, "first" if first and index == 0 else "screen" if index >= (printed or index + 1) else None)
        for index, row in enumerate(rows)
    ]
    inside = [tag("caption", caption), tag("thead", head), tag("tbody", *body)]
    inside += [tag("tfoot", _row(columns, foot, None))] if foot is not None else []
    more = 0 if printed is None else len(body) - printed
    return tag(
        "div",
        tag("table", *inside),
        on_screen(more) if more > 0 else None,
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=caption,
    )


def on_screen(more: int) -> Markup:
    """On paper alone: that there is more to see on a screen."""
    return tag("p", f"And {more} more, which the page shows on a screen.", class_="paper")


def bar(share: float, *, part: float | None = None) -> Markup:
    """A bar, 0 to 1 of its cell, of which `part`, 0 to 1, is stressed; the numbers stand in the row."""
    stressed = share if part is None else share * min(max(part, 0.0), 1.0)
    drawn = [_rectangle(share, "pale")] if part is not None else []
    drawn.append(_rectangle(stressed, "solid"))
    return drawing("bar", *drawn)


def drawing(class_: str, *shapes: Markup) -> Markup:
    """A drawing as wide as its cell, 1000 units by 10; the row says in text what it shows."""
    return tag(
        "svg", *shapes, class_=class_, viewBox="0 0 1000 10", preserveAspectRatio="none", aria_hidden="true"
    )  # fmt: skip


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names with their values; those without a value are left out."""
    return tag("dl", *(join(tag("dt", name), tag("dd", value)) for name, value in pairs if value), class_="facts")


def _head(column: Column) -> Markup:
    if not column.head:
        return tag("td", class_=column.kind or None)
    return tag("th", column.head, scope="col", class_=column.kind or None)


def _row(columns: Sequence[Column], cells: Sequence[Cell], class_: str | None) -> Markup:
    inside = [
        tag("th", cell, scope="row", class_=column.kind or None)
        if index == 0
        else tag("td", cell, class_=column.kind or None)
        for index, (column, cell) in enumerate(zip(columns, cells, strict=True))
    ]
    return tag("tr", *inside, class_=class_)


def _rectangle(share: float, class_: str) -> Markup:
    return tag("rect", x=0, y=0, width=1000 * min(max(share, 0.0), 1.0), height=10, class_=class_)
