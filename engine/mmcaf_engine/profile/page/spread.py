"""How the runs of each configuration are spread: every run a dot, and beside them the runs in their order."""

from collections.abc import Sequence

from ...page.markup import Markup, join, tag
from ...page.tables import Column, table
from ..figures import milliseconds
from ..report import Samples
from .scale import Scale

_WIDTH, _ROW, _TOP = 960, 52, 24
_LEFT, _RIGHT = 165, 740
_TREND = (775, 950)
_GOLDEN = 0.6180339887
"""Its multiples, taken modulo 1, are spread evenly however many there are; they move the dots apart."""


def spread_chart(what: str, named: Sequence[tuple[str, Samples]]) -> Markup:
    """The drawing and its table; at least one entry."""
    scale = Scale.over([value for _, runs in named for value in runs.values], _LEFT, _RIGHT)
    bottom = _TOP + _ROW * len(named)
    title = f"{what}: every run of each configuration"
    rows = [_row(name, runs, scale, _TOP + index * _ROW) for index, (name, runs) in enumerate(named)]
    drawing = tag(
        "svg",
        tag("title", title),
        tag("text", "in the order of the runs", x=_TREND[0], y=12),
        *(_tick(scale, value, bottom) for value in scale.ticks()),
        *rows,
        class_="chart",
        viewBox=f"0 0 {_WIDTH} {bottom + 26}",
        role="img",
        aria_label=f"{title}; the table below holds the figures",
    )
    kind = "logarithmic axis" if scale.logarithmic else "axis does not begin at 0"
    said = f"One dot for each run; the line is the median, the dashed line p95. {kind[0].upper()}{kind[1:]}."
    return join(
        tag("h3", what), tag("p", said, class_="soft"), tag("div", drawing, class_="scroll"), _table(what, named)
    )


def _row(name: str, runs: Samples, scale: Scale, top: float) -> Markup:
    middle = top + _ROW / 2 + 5
    dots = "".join(
        f"M{scale.at(value):.1f} {middle + 18 * ((index * _GOLDEN) % 1 - 0.5):.1f}h0"
        for index, value in enumerate(runs.values)
    )
    at, at95 = scale.at(runs.p50), scale.at(runs.p95)
    return tag(
        "g",
        tag("text", name, x=0, y=middle + 4, class_="name"),
        tag("path", d=dots, class_="dots"),
        tag("line", x1=at95, x2=at95, y1=middle - 14, y2=middle + 14, class_="mark95"),
        tag("line", x1=at, x2=at, y1=middle - 14, y2=middle + 14, class_="mark"),
        tag("text", milliseconds(runs.p50), x=at, y=middle - 18, text_anchor="middle"),
        tag("path", d=_trend(runs, middle), class_="trend"),
    )


def _trend(runs: Samples, middle: float) -> str:
    low, high = min(runs.values), max(runs.values)
    left, right = _TREND
    step = (right - left) / max(len(runs.values) - 1, 1)
    points = [
        f"{left + index * step:.1f} {middle + 13 - 26 * ((value - low) / (high - low) if high > low else 0.5):.1f}"
        for index, value in enumerate(runs.values)
    ]
    return "M" + "L".join(points) + ("h0.1" if len(points) == 1 else "")


def _tick(scale: Scale, value: float, bottom: float) -> Markup:
    at = scale.at(value)
    return join(
        tag("line", x1=at, x2=at, y1=_TOP - 4, y2=bottom, class_="grid"),
        tag("text", f"{value:g} ms", x=at, y=bottom + 17, text_anchor="middle"),
    )


def _table(what: str, named: Sequence[tuple[str, Samples]]) -> Markup:
    heads = ("", "runs", "p50", "p90", "p95", "p99", "max", "mean", "outliers", "warm-up runs left out")
    rows = [
        (
            name,
            str(len(runs.values)),
            *map(milliseconds, (runs.p50, runs.p90, runs.p95, runs.p99, runs.max, runs.mean)),
            str(runs.outliers),
            str(runs.discarded),
        )
        for name, runs in named
    ]
    caption = f"{what}; an outlier lies more than three interquartile ranges above p75 and is counted, not left out"
    return table(caption, [Column(head) for head in heads], rows)
