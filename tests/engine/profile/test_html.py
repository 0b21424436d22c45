"""The page of a report: right figures, readable on any screen, and nothing on it can run or be fetched."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import profile_reports
from browser import CHROMIUM, Page, browser
from counterparts import need
from mmcaf_engine.profile.compare import compare, judge
from mmcaf_engine.profile.html import html_page
from mmcaf_engine.profile.page.markup import Markup, join, tag
from mmcaf_engine.profile.page.scale import Scale, round_up
from mmcaf_engine.profile.page.stages import waterfall
from mmcaf_engine.profile.page.style import DARK, LIGHT, STAGES_DARK, STAGES_LIGHT
from mmcaf_engine.profile.report import ProfileReport, Samples, SpanTime

HOSTILE = "<script>alert(1)</script>\"'><img src=https://example.org/x onerror=alert(2)>&amp;"
VOID = {"meta", "link", "br"}


class Reader(HTMLParser):
    """Elements, texts and attributes of a page; fails if it is not well nested."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in {tag}"
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def report() -> ProfileReport:
    return profile_reports.report()


@pytest.fixture(scope="module")
def hostile(report: ProfileReport) -> ProfileReport:
    """A report in which every text that another file could hold tries to be more than text."""
    first, second = report.configurations[:2]
    assert first.layers is not None and first.answer is not None
    layers = replace(
        first.layers,
        source=HOSTILE,
        rows=tuple(replace(row, name=HOSTILE, kind=HOSTILE, module=HOSTILE) for row in first.layers.rows),
        modules=tuple(replace(row, module=f"{row.module}{HOSTILE}") for row in first.layers.modules),
    )
    stages = tuple(replace(stage, name=HOSTILE) for stage in first.answer.stages[:1]) + first.answer.stages[1:]
    answer = replace(first.answer, stages=stages, threads=(HOSTILE, *first.answer.threads[1:]))
    worst = replace(
        first, backend=HOSTILE, version=HOSTILE, device=HOSTILE, layers=layers, answer=answer, notes=(HOSTILE,)
    )
    skipped = replace(second, skipped=HOSTILE)
    return replace(
        report,
        machine=replace(report.machine, system=HOSTILE, processor=HOSTILE),
        bundle=replace(report.bundle, name=HOSTILE, network=HOSTILE),
        subject=replace(report.subject, inputs={HOSTILE: (1, 2)}),
        roofline=None,
        configurations=(worst, skipped),
        notes=(HOSTILE,),
    )


def variants() -> dict[str, ProfileReport]:
    """Reports that lack something."""
    whole = profile_reports.report()
    first = whole.configurations[0]
    assert first.steady is not None
    bare = replace(first, cold=None, answer=None, throughput=(), memory=None, energy=None, layers=None, notes=())
    once = replace(bare, steady=replace(first.steady, call=Samples.of([7.0])))
    even = replace(bare, steady=replace(first.steady, call=Samples.of([0.0, 0.0])))
    golden = replace(whole.subject, kind="golden cases", slices=None)
    return {
        "whole": whole,
        "interrupted": replace(whole, interrupted=True, configurations=(bare,)),
        "nothing-measured": replace(whole, configurations=whole.configurations[-1:], notes=()),
        "no-configuration": replace(whole, configurations=(), notes=()),
        "one-run": replace(whole, configurations=(once,), subject=golden),
        "no-time-at-all": replace(whole, configurations=(even,)),
        "no-roofline": replace(whole, roofline=None),
        "many-runs": profile_reports.report(runs=1500),
    }


@pytest.mark.parametrize("name", variants())
def test_any_report_becomes_a_well_formed_page(name: str) -> None:
    page = html_page(variants()[name])
    read = Reader(page)
    assert page.startswith("<!DOCTYPE html>\n<html lang=") and "nan" not in " ".join(read.texts)
    identifiers = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    links = [attributes["href"] for element, attributes in read.elements if element == "a"]
    assert sorted(f"#{one}" for one in identifiers) == sorted(map(str, links))
    assert "Not a medical device" in " ".join(read.texts)


def test_figures_are_the_reports(report: ProfileReport) -> None:
    read = Reader(html_page(report))
    rows = {row[0]: row for table in read.tables for row in table if len(row) == 9 and "openvino" in row[0]}
    assert rows["openvino fp32"][1:] == [
        "186 ms", "", "11.9 ms", *rows["openvino fp32"][4:6], "92.4", "232 MB", "-"
    ]  # fmt: skip
    text = " ".join(read.texts)
    assert "openvino int8 is the fastest of what was measured" in text
    assert "openvino bf16 : this processor has no units for BF16" in text
    modules = next(table for table in read.tables if table[0][2:3] == ["time"])
    assert [row[0] for row in modules[1:4]] == ["E3D-MSCA stage 1", "BFPU 1", "E3D-MSCA stage 2"]


def test_stages_and_the_rest_are_the_wall_time(report: ProfileReport) -> None:
    read = Reader(html_page(report))
    table = next(table for table in read.tables if table[0][-1] == "of all threads")
    shown = [float(row[2].removesuffix(" ms")) for row in table[1:]]
    assert sum(shown[:-1]) == pytest.approx(shown[-1], abs=0.5)
    assert [row[0] for row in table[1:]] == [
        "read", "decode", "preprocess", "infer", "aggregate", "unaccounted", "in all"
    ]  # fmt: skip


def test_bars_are_as_long_as_their_figures(report: ProfileReport) -> None:
    read = Reader(html_page(report))
    strong = [float(str(a["width"])) for tag_, a in read.elements if tag_ == "rect" and a.get("class") == "solid"]
    windows = [one.steady.per_window_ms for one in report.configurations if one.steady]
    expected = [1000 * window / max(windows) for window in sorted(windows)]
    assert strong[: len(windows)] == pytest.approx(expected, abs=0.01)


def test_a_stretch_is_drawn_from_its_start_to_its_end(report: ProfileReport) -> None:
    answer = report.configurations[0].answer
    assert answer is not None
    spans = tuple(SpanTime("read", start, start + 30.0, 0) for start in (0.0, 30.0, 100.0))
    drawn = waterfall("one", replace(answer, wall_ms=200.0, spans=spans))
    bars = [a for tag_, a in Reader(drawn).elements if tag_ == "rect"]
    assert [(float(str(bar["x"])), float(str(bar["width"]))) for bar in bars] == [(0, 300), (500, 150)]


def test_interrupted_is_said_first(report: ProfileReport) -> None:
    texts = Reader(html_page(replace(report, interrupted=True))).texts
    assert texts.index("Interrupted.") < texts.index("Configurations", texts.index("Notes"))


def test_comparison_is_on_the_page(report: ProfileReport) -> None:
    slower = profile_reports.slower(report, 1.2, only=("openvino", "int8"))
    page = html_page(slower, judge(compare(slower, report), 0.05))
    read = Reader(page)
    table = next(table for table in read.tables if "95 % interval" in table[0])
    assert [row[-1] for row in table[1:]].count("slower") == 2 and "+20.0%" in page
    assert "Slower than the limit allows." in page
    assert "Within the limit." in html_page(report, judge(compare(report, report), 0.05))


def test_text_of_others_stays_text(hostile: ProfileReport) -> None:
    page = html_page(hostile, compare(hostile, hostile))
    read = Reader(page)
    assert not {name for name, _ in read.elements} & {"script", "img", "iframe", "object", "form"}
    assert not [key for _, attributes in read.elements for key in attributes if key.startswith("on")]
    assert page.count("<script") == 0 and " ".join(read.texts).count(HOSTILE) > 10


def test_a_browser_may_run_and_fetch_nothing(report: ProfileReport) -> None:
    page = html_page(report)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and "default-src &#x27;none&#x27;" in policy[1] and "script" not in policy[1]
    addresses = re.findall(r'(?:src|href|action)="([^"]*)"', page)
    assert all(address.startswith("#") or address == "data:," for address in addresses)
    assert "url(" not in page and "@import" not in page and "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tag("p", "a < b", Markup("<b>c</b>"), None), "<p>a &lt; b<b>c</b></p>"),
        (tag("td", class_="a", x=0, y=1.5, width=1 / 3, open=True, hidden=False, id=None),
         '<td class="a" x="0" y="1.5" width="0.33" open></td>'),
        (tag("meta", http_equiv='a"b', name="c"), '<meta http-equiv="a&quot;b" name="c">'),
        (join("&", tag("br")), "&amp;<br>"),
    ],
    ids=["text", "attributes", "void", "joined"],
)  # fmt: skip
def test_markup(made: Markup, expected: str) -> None:
    assert made == expected


@pytest.mark.parametrize(
    ("values", "logarithmic", "ticks"),
    [
        ([10.0, 30.0], False, [10.0, 15.0, 20.0, 25.0, 30.0]),
        ([5.0, 200.0], True, [5.0, 10.0, 20.0, 50.0, 100.0, 200.0]),
        ([5.0, 30.0], True, [5.0, 10.0, 20.0]),
        ([7.0], False, None),
        ([0.0, 0.0], False, None),
    ],
    ids=["linear", "logarithmic", "just-logarithmic", "one-value", "zero"],
)
def test_scale(values: list[float], logarithmic: bool, ticks: list[float] | None) -> None:
    scale = Scale.over(values, 100.0, 500.0)
    assert scale.logarithmic is logarithmic
    assert all(100 <= scale.at(value) <= 500 for value in [*values, *scale.ticks()])
    assert scale.at(scale.low) == pytest.approx(100) and scale.at(scale.high) == pytest.approx(500)
    if ticks is not None:
        assert scale.ticks() == pytest.approx(ticks)


@pytest.mark.parametrize(("value", "expected"), [(0.011, 0.02), (1, 1), (2.1, 5), (51, 100), (0, 1), (-3, 1)])
def test_round_up(value: float, expected: float) -> None:
    assert round_up(value) == pytest.approx(expected)


def contrast(first: str, second: str) -> float:
    """WCAG 2.2, contrast ratio of two colours, from their relative luminance."""
    luminances = []
    for colour in (first, second):
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


@pytest.mark.parametrize(("colours", "stages"), [(LIGHT, STAGES_LIGHT), (DARK, STAGES_DARK)], ids=["light", "dark"])
def test_contrast(colours: dict[str, str], stages: tuple[str, ...]) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ground in ("card", "page"):
        for text in ("ink", "soft", "accent", "good", "bad"):
            assert contrast(colours[text], colours[ground]) >= 4.5, f"{text} on {ground}"
    assert contrast(colours["badge-ink"], colours["badge"]) >= 4.5
    for stage in stages:
        assert contrast(stage, colours["card"]) >= 3, stage


def test_every_drawing_has_a_name_or_is_told_beside(report: ProfileReport) -> None:
    for element, attributes in Reader(html_page(report)).elements:
        if element == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
        if element == "th":
            assert attributes["scope"] in ("row", "col")


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser(need(*CHROMIUM)) as page:
        yield page


@pytest.fixture
def opened(tab: Page, tmp_path: Path) -> Iterator[Any]:
    """Opens a report in the browser, from a file."""

    def open_report(report: ProfileReport, **screen: Any) -> Page:
        file = tmp_path / "report.html"
        file.write_text(html_page(report, compare(report, report)), encoding="utf-8")
        tab.problems.clear()
        tab.requests.clear()
        tab.open(file.as_uri(), **screen)
        assert tab.requests == [file.as_uri()]
        return tab

    yield open_report


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser(opened: Any, report: ProfileReport, dark: bool) -> None:
    page = opened(report, dark=dark)
    assert page.problems == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    expected = (DARK if dark else LIGHT)["page"]
    assert background == f"rgb({', '.join(str(int(expected[at : at + 2], 16)) for at in (1, 3, 5))})"
    assert page.evaluate("document.querySelectorAll('svg').length") > 20
    assert page.picture().startswith(b"\x89PNG")


def test_hostile_text_in_a_browser(opened: Any, hostile: ProfileReport) -> None:
    page = opened(hostile)
    assert page.problems == []
    assert page.evaluate("document.querySelectorAll('script, img').length") == 0
    assert HOSTILE in page.evaluate("document.title")


@pytest.mark.parametrize("width", [320, 768, 1600])
def test_no_screen_scrolls_sideways(opened: Any, report: ProfileReport, width: int) -> None:
    page = opened(report, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_all_can_be_unfolded(opened: Any, report: ProfileReport) -> None:
    page = opened(report)
    before = page.evaluate("document.documentElement.scrollHeight")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollHeight") > before
    assert page.problems == []


def test_the_browser_notices(tab: Page, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text("<img src=missing.png><script>console.error('a'); throw new Error('b')</script>")
    tab.problems.clear()
    tab.requests.clear()
    tab.open(file.as_uri())
    assert len(tab.requests) == 2 and len(tab.problems) >= 2
