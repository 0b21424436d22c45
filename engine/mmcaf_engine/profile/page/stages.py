"""One study stage by stage: the whole as one bar, and the waterfall of the median run."""

from collections.abc import Iterable, Iterator

from ...page.markup import Markup, join, tag
from ...page.tables import Column, drawing, table
from ..figures import milliseconds, percent, stage_name
from ..report import Answer, SpanTime
from .scale import Scale
from .style import STAGES_LIGHT

REST = "unaccounted"
_NETWORK = "infer"
_LEAST_GAP = 0.6
"""Stretches of a stage that lie closer together than this, of 1000 units, are drawn as one."""


def stage_bar(answer: Answer) -> Markup:
    """The wall time of one study, its stages side by side; the legend holds the figures."""
    parts = [(stage.name, stage.ms, stage.share) for stage in answer.stages]
    parts.append((REST, answer.unaccounted_ms, answer.unaccounted_ms / (answer.wall_ms or 1)))
    colours = _colours(answer)
    shapes, at = [], 0.0
    for name, _, share in parts:
        width = 1000 * max(share, 0.0)
        shapes.append(
            tag("rect", tag("title", stage_name(name)), x=at, y=0, width=width, height=10, class_=colours[name])
        )
        at += width
    legend = [
        tag("li", _swatch(colours[name]), tag("b", stage_name(name)), f" {milliseconds(ms)}, {percent(share)}")
        for name, ms, share in parts
    ]
    return join(drawing("stack", *shapes), tag("ul", *legend, class_="legend"))


def waterfall(name: str, answer: Answer) -> Markup:
    """A row for each stage with its stretches on a common axis of time."""
    end = max([answer.wall_ms, *(span.end_ms for span in answer.spans)]) or 1.0
    colours = _colours(answer)
    rows = [
        (
            join(_swatch(colours[stage.name]), stage_name(stage.name)),
            drawing("lanes", *_bars(stage.name, answer.spans, end, colours[stage.name])),
            milliseconds(stage.ms),
            percent(stage.share),
            milliseconds(stage.thread_ms),
        )
        for stage in answer.stages
    ]
    heads = (Column(""), Column(_axis(end), "wide"), Column("wall time"), Column("share"), Column("of all threads"))
    share = answer.unaccounted_ms / (answer.wall_ms or 1)
    rest = (join(_swatch(colours[REST]), REST), "", milliseconds(answer.unaccounted_ms), percent(share), "")
    caption = f"{name}, the run nearest the median: {milliseconds(answer.wall_ms)} from the study's files to the result"
    total = ("in all", "", milliseconds(answer.wall_ms), "100%", "")
    return table(caption, heads, [*rows, rest], foot=total)


def _bars(stage: str, spans: Iterable[SpanTime], end: float, colour: str) -> Iterator[Markup]:
    """The stage's stretches, a lane for each of its threads."""
    threads: dict[int, list[tuple[float, float]]] = {}
    for span in spans:
        if span.name == stage:
            threads.setdefault(span.thread, []).append((span.start_ms, span.end_ms))
    height = 10 / max(len(threads), 1)
    for lane, thread in enumerate(sorted(threads)):
        for start, stop in _joined([(1000 * a / end, 1000 * b / end) for a, b in threads[thread]]):
            yield tag(
                "rect", x=start, y=lane * height, width=max(stop - start, 1.0), height=height * 0.92, class_=colour
            )  # fmt: skip


def _joined(stretches: list[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, stop in sorted(stretches):
        if joined and start - joined[-1][1] < _LEAST_GAP:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def _axis(end: float) -> Markup:
    scale = Scale(0.0, end, 0.0, 100.0)
    marks = [
        tag("text", f"{tick:g}", x=f"{scale.at(tick):.2f}%", y=13, text_anchor="middle" if index else None)
        for index, tick in enumerate(scale.ticks()[:-1])
    ]
    last = f"{end:.3g} ms"
    marks.append(tag("text", last, x="100%", y=13, text_anchor="end"))
    return tag("svg", *marks, class_="ticks", role="img", aria_label=f"from 0 to {last}")


def _colours(answer: Answer) -> dict[str, str]:
    """Stage -> class of its colour: the network has the first, what no stage accounts for the last."""
    others = [stage.name for stage in answer.stages if stage.name != _NETWORK]
    last = len(STAGES_LIGHT) - 1
    colours = {name: f"stage{1 + index % (last - 1)}" for index, name in enumerate(others)}
    return {**colours, _NETWORK: "stage0", REST: f"stage{last}"}


def _swatch(colour: str) -> Markup:
    return tag("span", class_=f"swatch {colour}", aria_hidden="true")
