"""How much was answered, and how fast: drawn by this machine, each drawing with the table of its figures."""

from collections.abc import Sequence
from datetime import datetime

from fastapi import Response

from ....page.markup import Markup, join, tag
from ....page.tables import Column, table
from ...figures import PERIODS, Figures, percentile
from .frame import live, page, span

_HEIGHT = 100.0
_PERIODS = {1: "hour", 24: "24 hours", 168: "7 days"}


def figures_page(found: Figures, *, leave: bool) -> Response:
    """Throughput, latency, and how long each stage takes."""
    written = sum(part.written for part in found.parts)
    links = [
        tag(
            "li",
            tag(
                "a",
                f"Last {_PERIODS[hours]}",
                href=f"/figures?hours={hours}",
                id=f"last-{hours}",
                aria_current="true" if hours == found.hours else None,
            ),
        )
        for hours in PERIODS
    ]
    return page(
        "Throughput",
        tag("nav", tag("ul", *links, class_="chips"), aria_label="How far back"),
        live(
            "figures",
            _section("Answers", f"In the last {_PERIODS[found.hours]}: {written}.", _answers(found)),
            _section("From queued to answered", "", _latency(found)),
            _section("Where the time goes", "", _stages(found)),
        ),
        here="/figures",
        leave=leave,
    )


def _section(head: str, said: str, inside: Markup) -> Markup:
    return tag("section", tag("h2", head), tag("p", said, class_="soft") if said else None, inside)


def _answers(found: Figures) -> Markup:
    highest = max((part.written + part.bad for part in found.parts), default=0)
    pairs = [(part.written, part.written + part.bad) for part in found.parts]
    key = tag("p", _key("a", "answered"), _key("b", "refused, failed or not in time"), class_="key")
    rows = [
        (_label(found, at), f"{one.written}", f"{one.delivered}", f"{one.bad}") for at, one in enumerate(found.parts)
    ]
    columns = [Column("From"), Column("Answered"), Column("Delivered"), Column("Refused, failed, expired")]
    return join(
        tag("p", f"At most {highest} in {span(found.length_s)}.", class_="soft"),
        _chart(pairs, float(highest)),
        _ends(found),
        key,
        _details("answers", table("Answers in each part of the time", columns, rows)),
    )


def _latency(found: Figures) -> Markup:
    pairs = [(part.median or 0.0, part.p95 or 0.0) for part in found.parts]
    highest = max((p95 for _, p95 in pairs), default=0.0)
    rows = [
        (_label(found, at), _seconds(one.median), _seconds(one.p95), f"{len(one.seconds)}")
        for at, one in enumerate(found.parts)
    ]
    columns = [Column("From"), Column("Median"), Column("95 %"), Column("Answers")]
    return join(
        tag("p", f"The highest bar is {span(highest)}." if highest else "Nothing was answered.", class_="soft"),
        _chart(pairs, highest),
        _ends(found),
        tag("p", _key("a", "median"), _key("b", "95 of 100 took no longer"), class_="key"),
        _details("latency", table("From queued to answered, in each part of the time", columns, rows)),
    )


def _stages(found: Figures) -> Markup:
    rows = [
        (name, _seconds(percentile(values, 0.5)), _seconds(percentile(values, 0.95)), f"{len(values)}")
        for name, values in found.stages.items()
    ]
    return table("Each stage", [Column("Stage", "words"), Column("Median"), Column("95 %"), Column("Answers")], rows)


def _chart(pairs: Sequence[tuple[float, float]], highest: float) -> Markup:
    """Bars: the first value dark, and behind it the second, which is no less."""
    step = 1000 / max(len(pairs), 1)
    bars = []
    for at, (low, high) in enumerate(pairs):
        for value, look in ((high, "pale"), (low, "solid")):
            if value > 0 and highest > 0:
                tall = max(1.0, _HEIGHT * value / highest)
                bars.append(
                    tag(
                        "rect", x=at * step + step * 0.12, y=_HEIGHT - tall, width=step * 0.76, height=tall, class_=look
                    )
                )
    lines = [tag("line", x1=0, y1=y, x2=1000, y2=y, class_="grid") for y in (0.0, _HEIGHT / 2, _HEIGHT)]
    return tag(
        "svg", *lines, *bars, class_="chart", viewBox="0 0 1000 100", preserveAspectRatio="none", aria_hidden="true"
    )


def _ends(found: Figures) -> Markup:
    return tag("p", tag("span", _label(found, 0)), tag("span", "now"), class_="ends")


def _label(found: Figures, at: int) -> str:
    return datetime.fromtimestamp(found.parts[at].begin).astimezone().strftime("%m-%d %H:%M")


def _details(name: str, inside: Markup) -> Markup:
    return tag("details", tag("summary", "The figures"), inside, id=f"of-{name}")


def _key(look: str, said: str) -> Markup:
    return tag("span", tag("i", class_=look, aria_hidden="true"), said)


def _seconds(value: float | None) -> str:
    return "" if value is None else span(value)
