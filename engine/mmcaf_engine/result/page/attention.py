"""What the network's attention weighed besides parts of an image: words of the report, and fields of the record."""

from collections.abc import Iterator

from ...page.markup import Markup, join, tag
from ...page.tables import Column, bar, table
from ..attended import Agreement, Attended, AttendedParts, Weight

TOP, PRINTED = 8, 3
"""Words or fields that are listed, and those that paper has room for."""
SHADES = 4


def attention_part(found: Attended | None) -> Markup | None:
    """Each output with what weighs most and, of words, the report with them shaded; None without any.

    Paper has a line of it.

    Args:
        found: as the result has it; of a deidentified one without words.
    """
    if found is None:
        return None
    agreement = None if found.agreement is None else tag("p", _agreement(found.agreement))
    on_paper = "; ".join(filter(None, map(_in_short, found.parts)))
    return join(
        tag("div", *map(_part, found.parts), agreement, class_="screen"),
        tag("p", on_paper or "The page shows more on a screen.", class_="paper clamp"),
    )


def _in_short(part: AttendedParts) -> str:
    """What weighs most, on one line."""
    return ", ".join(f"{one.name} {_figures(one.weight)}" for one in _highest(part)[:PRINTED])


def _highest(part: AttendedParts) -> list[Weight]:
    return sorted(part.weights, key=lambda one: -one.weight)


def _part(part: AttendedParts) -> Markup:
    highest = _highest(part)
    return join(
        tag("h3", part.title),
        tag("p", part.meaning or "Weights of the attention.", class_="soft"),
        *(_listed(part, highest) if highest else [tag("p", f"The {part.of} are not shown.")]),
        None
        if part.markers is None
        else tag("p", f"[CLS] and [SEP], which are no words: {_figures(part.markers)}", class_="soft"),
    )


def _listed(part: AttendedParts, highest: list[Weight]) -> Iterator[Markup]:
    largest = highest[0].weight or 1.0
    rows = [
        (tag("span", one.name, class_="clamp"), bar(one.weight / largest), _figures(one.weight))
        for one in highest[:TOP]
    ]
    columns = [Column(part.of, "words"), Column("", "gauge"), Column("weight")]
    yield table(f"The {part.of} that weigh most, of {len(highest)}", columns, rows)
    if part.of == "words":
        yield tag("p", *_shaded(part.weights, largest), class_="attended")


def _shaded(words: tuple[Weight, ...], largest: float) -> Iterator[Markup | str]:
    """The report as the network read it, each word the darker the more it weighs."""
    for word in words:
        shade = round(SHADES * word.weight / largest)
        yield tag("span", word.name, class_=f"w{shade}") if shade else word.name
        yield " "


def _figures(weight: float) -> str:
    return f"{weight:.3f}" if weight >= 0.0005 else "below 0.001"


def _agreement(found: Agreement) -> str:
    first, second = found.outputs
    return (
        f"{first} and {second} agree to {found.share:.2f}; on {100 - found.percentile:g} % of {found.studies} measured "
        f"studies it was {found.bound:.2f} or more."
    )
