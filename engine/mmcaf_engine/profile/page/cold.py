"""What a new process does before its first window is out."""

from ...page.markup import Markup, join, tag
from ...page.tables import Cell, Column, drawing, table
from ..figures import COLD_PARTS, cold_medians, milliseconds, title
from ..report import Cold, Configuration


def cold_part(ranked: list[Configuration]) -> Markup | None:
    """From the start of a process to its first window, with nothing kept and with the engine kept."""
    cold = [(title(one), one.cold) for one in ranked if one.cold]
    if not cold:
        return None
    sums = [sum(ms for _, ms in cold_medians(one, kept=kept)) for _, one in cold for kept in (True, False)]
    longest = max(sums) or 1.0
    columns = [Column(""), Column("", "gauge"), *map(Column, COLD_PARTS), Column("in all"), Column("first answer")]
    rows = [
        _cold_row(f"{name}, {words}", one, kept, longest)
        for name, one in cold
        for kept, words in ((True, "engine kept"), (False, "nothing kept"))
    ]
    legend = [
        tag("li", tag("span", class_=f"swatch stage{index}", aria_hidden="true"), name)
        for index, name in enumerate(COLD_PARTS)
    ]
    lead = "Medians of new processes. The first answer is from the start of the process to the answer of a whole study."
    return join(
        tag("p", lead, class_="lead"),
        tag("ul", *legend, class_="legend"),
        table("From the start of a process to its first window", columns, rows),
    )


def _cold_row(name: str, cold: Cold, kept: bool, longest: float) -> tuple[Cell, ...]:
    parts = cold_medians(cold, kept=kept)
    shapes, at = [], 0.0
    for index, (_, ms) in enumerate(parts):
        width = 1000 * ms / longest
        shapes.append(tag("rect", x=at, y=0, width=width, height=10, class_=f"stage{index}"))
        at += width
    first = cold.first_answer.p50 if kept and cold.first_answer else None
    total = sum(ms for _, ms in parts)
    figures = [milliseconds(ms) for _, ms in parts]
    return (name, drawing("bar", *shapes), *figures, milliseconds(total), milliseconds(first))
