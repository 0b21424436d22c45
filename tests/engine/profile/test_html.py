"""The page of a report: right figures, readable on any screen, and nothing on it can run or be fetched."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import profile_reports
from browser import CHROMIUM, Page, browser
from counterparts import need
from mmcaf_engine.page.style import DARK, LIGHT
from mmcaf_engine.profile.compare import compare, judge
from mmcaf_engine.profile.html import html_page
from mmcaf_engine.profile.page.scale import Scale, round_up
from mmcaf_engine.profile.page.stages import waterfall
from mmcaf_engine.profile.page.style import STAGES_DARK, STAGES_LIGHT
from mmcaf_engine.profile.report import ProfileReport, Samples, SpanTime
from pages import HOSTILE, Reader, contrast, faults, opened, overflowing, refuse_any_request

Show = Callable[..., Page]


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
    assert " ".join(read.texts).count(HOSTILE) > 10
    refuse_any_request(page)


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


@pytest.mark.parametrize(("colours", "stages"), [(LIGHT, STAGES_LIGHT), (DARK, STAGES_DARK)], ids=["light", "dark"])
def test_stages_are_told_from_what_lies_under_them(colours: dict[str, str], stages: tuple[str, ...]) -> None:
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
def show(tab: Page, tmp_path: Path) -> Show:
    """Opens a report in the browser, from a file."""
    return lambda report, **screen: opened(
        tab, tmp_path / "report.html", html_page(report, compare(report, report)), **screen
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser(show: Show, report: ProfileReport, dark: bool) -> None:
    page = show(report, dark=dark)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    expected = (DARK if dark else LIGHT)["page"]
    assert background == f"rgb({', '.join(str(int(expected[at : at + 2], 16)) for at in (1, 3, 5))})"
    assert page.evaluate("document.querySelectorAll('svg').length") > 20
    assert page.picture().startswith(b"\x89PNG")


def test_hostile_text_in_a_browser(show: Show, hostile: ProfileReport) -> None:
    page = show(hostile)
    assert page.evaluate("document.querySelectorAll('script, img').length") == 0
    assert HOSTILE in page.evaluate("document.title")


def test_no_screen_scrolls_sideways(show: Show, report: ProfileReport) -> None:
    page = show(report)
    for width in (320, 400, 768, 1280, 1600):
        page.screen(width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        assert overflowing(page) == [], width


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.full)], ids=["light", "dark"])
def test_it_is_accessible(show: Show, report: ProfileReport, dark: bool) -> None:
    assert faults(show(report, dark=dark)) == []


def test_all_can_be_unfolded(show: Show, report: ProfileReport) -> None:
    page = show(report)
    before = page.evaluate("document.documentElement.scrollHeight")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollHeight") > before
    assert page.problems == []
