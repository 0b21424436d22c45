"""The page of an answer: it says what the result says, shows what the network saw, and whoever opens it is safe."""

import base64
import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from browser import CHROMIUM, Page, browser
from counterparts import need
from mmcaf_engine.inputs.prepare import Prepared
from mmcaf_engine.record.clinical import Clinical
from mmcaf_engine.record.record import Record
from mmcaf_engine.result.decisions.statements import in_words
from mmcaf_engine.result.deidentify import deidentify
from mmcaf_engine.result.drawing import coloured, grey_of, overlay
from mmcaf_engine.result.page import pictures
from mmcaf_engine.result.page.answer_page import answer_page
from mmcaf_engine.result.page.pictures import Pictures, draw_pictures
from mmcaf_engine.result.parts import Positive, RecordSummary, SelectedSeries, Window
from pages import HOSTILE, Reader, faults, opened, overflowing, refuse_any_request, sheets, without_pictures
from tiny_pages import FINDINGS, PAGES, PHASES, REPORT, SELF_TEST, a_map, attended, ct, mr, radiograph, series
from tiny_result import UID, multiclass, tiny_result


def text_of(page: str) -> str:
    return " ".join(" ".join(Reader(page).texts).split())


def table_of(page: str, head: str) -> list[list[str]]:
    """The rows of the table whose first column is called so."""
    return next(table[1:] for table in Reader(page).tables if table[0][0] == head)


def drawn(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(imagecodecs.png_decode(png))


def drawing_of(prepared: Prepared, window: int = 0, *maps: object) -> Pictures:
    found = draw_pictures(prepared, window, maps)  # type: ignore[arg-type]
    assert found is not None
    return found


every_page = pytest.mark.parametrize("name", PAGES)


@every_page
def test_every_page_is_one_file_that_nothing_runs_in(name: str) -> None:
    page = PAGES[name]()
    refuse_any_request(page)
    assert page == PAGES[name]()
    read = Reader(page)
    names = [element for element, _ in read.elements]
    assert [names.count(one) for one in ("h1", "main", "header", "footer")] == [1, 1, 1, 1]
    identities = [a["id"] for _, a in read.elements if "id" in a]
    assert len(identities) == len(set(identities))
    for element, attributes in read.elements:
        if element == "img":
            assert attributes["alt"] or "map" in str(attributes.get("class"))
        if element == "th":
            assert attributes["scope"] in ("row", "col")
        if element == "a":
            assert str(attributes["href"]).removeprefix("#") in identities
    if "extreme" not in name:
        assert len(without_pictures(page)) < 60_000
    said = text_of(page)
    assert "not for diagnosis or treatment" in said and "To make it again" in said


def test_label_and_probability_come_first() -> None:
    page = ct()
    read = Reader(page)
    assert read.texts.index("loud") < read.texts.index("0.700") < read.texts.index("Slices")
    assert table_of(page, "label") == [["loud", "", "0.700", "0.5", "answer"], ["quiet", "", "0.300", "", ""]]
    assert "<title>loud: answer of tiny</title>" in page and "2026-11-30T09:08:48Z" in page


def test_a_probability_just_below_its_threshold_is_not_shown_as_that() -> None:
    near = replace(
        tiny_result(),
        label="quiet",
        probability=0.50004,
        probabilities={"quiet": 0.50004, "loud": 0.49996},
        positive=Positive("loud", 0.49996, -0.0, 0.5),
    )
    assert [row[2:4] for row in table_of(ct(result=near), "label")] == [["0.500", ""], ["0.49996", "0.5"]]
    assert in_words(near) == "quiet, probability 0.500."
    other = replace(near, label="loud", probability=0.49996, positive=replace(near.positive, threshold=0.4))  # type: ignore[type-var]
    assert in_words(other) == "loud, probability 0.500."


def test_of_many_labels_the_most_probable_is_first() -> None:
    found = answer_page(multiclass(), Prepared(()), 0)
    assert [row[0] for row in table_of(found, "label")] == ["bRADLEX RID1", "cRADLEX RID2", "aRADLEX RID0"]
    assert [row[-1] for row in table_of(found, "label")] == ["answer", "", ""]
    unlikely = replace(tiny_result(), label="quiet", probability=0.3)  # as a threshold of 0.8 has it
    assert [row[0] for row in table_of(ct(result=unlikely), "label")] == ["quiet", "loud"]


def test_independent_labels_each_have_a_threshold() -> None:
    rows = table_of(radiograph(), "label")
    assert [row[0].split("SCT")[0].split("99LAB")[0] for row in rows] == list(FINDINGS)
    assert [row[-1] for row in rows].count("present") == 8 and {row[-2] for row in rows} == {"0.5"}


def test_windows_are_named_and_drawn() -> None:
    page = ct(60, starts=[0, 12, 24, 36, 48])
    assert [row[0] for row in table_of(page, "slices")] == ["1-12", "13-24", "25-36", "37-48", "49-60"]
    [line] = [a["d"] for name, a in Reader(page).elements if name == "path" and a.get("class") == "score"]
    assert str(line).count("M") == 5 and str(line).startswith("M0 20.8h200M200 20.8")
    one = replace(tiny_result(), windows=(Window(0, 12, 0.8, 0.7),))
    assert "windows, each with its score" not in ct(12, window=0, result=one)


def test_the_record_is_shown_as_it_was_given_and_as_the_network_saw_it() -> None:
    rows = table_of(ct(), "field")
    assert rows == [["sex", "F", "0"], ["age", "63", "0.53"], ["age >= 50", "", "1"]]
    summary = RecordSummary({"age": 0.5, "word_pieces": 57.0}, ("age",), "1" * 64, "not_compared", ())
    page = ct(result=replace(tiny_result(), record=summary))
    assert table_of(page, "field") == [["age", "63, imputed", "0.5"]]
    said = text_of(page)
    assert "57 word pieces" in said and "this was not compared" in said
    none = ct(
        result=replace(tiny_result(), record=replace(summary, features={"word_pieces": 0.0}, missing=("report",)))
    )
    assert "There was no report." in text_of(none)
    assert "Record" not in Reader(ct(result=replace(tiny_result(), record=None))).texts


def test_what_was_attended_to_is_listed_and_shaded() -> None:
    page = radiograph()
    rows = table_of(page, "words")
    assert len(rows) == 8 and [[row[0], row[2]] for row in rows[:2]] == [["effusion", "0.400"], ["left", "0.200"]]
    assert [row[0] for row in table_of(page, "fields")] == ["field 2", "field 1", "field 0"]
    [shaded] = re.findall(r'<p class="attended">(.*?)</p>', page)
    assert shaded.split() == " ".join(REPORT).replace("effusion", '<span class="w4">effusion</span>').replace(
        "left", '<span class="w2">left</span>'
    ).split()  # fmt: skip
    said = text_of(page)
    assert "no words: 0.010" in said and "w0 and w1 agree to 0.80; on 95 % of 200 measured studies" in said
    assert "Attention" not in Reader(ct()).texts


def test_a_deidentified_page_shows_no_word_of_the_report() -> None:
    page = ct(result=deidentify(replace(tiny_result(), attention=attended())))
    assert "The words are not shown." in page and "effusion" not in page and "field 2" in page


def test_what_vouches_for_it_is_said() -> None:
    said = text_of(ct())
    assert "passed: 4 stored cases of the source network repeated within 3.8e-06" in said
    assert "not shown to find lesions" in said and "not where disease lies" in said
    assert "by no key that is trusted here" in said and "fp32, that of the source network" in said
    found = tiny_result()
    signed = replace(found, model=replace(found.model, signed_by={"name": "lab", "id": "A1"}))
    other = answer_page(replace(signed, engine=replace(found.engine, precision="int8")), Prepared(()), 0)
    assert "by lab, key A1" in other and "int8; its cost is not known" in other
    assert "not run: nothing says" in other and "heat map" not in text_of(other)


def test_a_map_is_called_a_localisation_only_if_it_was_shown_to_be_one() -> None:
    one = replace(a_map("image"), localises=True)
    prepared = Prepared((series("image", 12),))
    said = text_of(answer_page(tiny_result(), prepared, 0, maps=(one,), self_test=SELF_TEST))
    assert "lay in one more often than by chance" in said and "not where disease lies" not in said
    said = text_of(answer_page(tiny_result(), prepared, 0, maps=(one, a_map("image", title="other"))))
    assert "not shown to find lesions" in said


def test_what_differs_from_run_to_run_is_not_on_it() -> None:
    found = tiny_result("a gap")
    assert ct(result=found) == ct(result=replace(found, timing_ms={"total": 99.0}))
    assert ct(result=found) != ct(result=replace(found, created=None))


def test_with_what_it_can_be_made_again_is_said_in_the_arguments_own_words() -> None:
    found = tiny_result()
    asked = replace(found.options, series={"t2": "4", "dwi": "5"}, explain=("occlusion", "gradcam"), stride=3)  # type: ignore[type-var]
    said = text_of(ct(result=replace(found, options=asked)))
    for told in (
        "series t2=4, dwi=5",
        "explain occlusion, gradcam",
        "stride 3",
        "threads 2",
        f"record (SHA-256) {'1' * 64}",
    ):
        assert told in said
    assert "row" not in said.partition("To make it again")[2] and "created 2026-11-30T09:08:48Z" in said


def test_a_deidentified_page_says_nothing_of_the_patient() -> None:
    given = tiny_result(f"/data/Sentinel.nii holds {UID}.7.8.9", sources=(f"{UID}.9", "/data/Sentinel.nii"))
    page = ct(result=deidentify(given, "/data/Sentinel.nii"))
    for secret in (UID, "Sentinel", "1" * 64, "2026-11-30", ">63<"):
        assert secret in ct(result=given) and secret not in page, secret
    assert [row for table in Reader(page).tables for row in table if row[0] == "field"] == []
    assert "burnt-in text" in page and "burnt-in text" not in ct(result=given)


def test_whatever_text_others_gave_stays_text() -> None:
    found = tiny_result(HOSTILE, sources=(HOSTILE, HOSTILE))
    found = replace(
        found,
        label=HOSTILE,
        probabilities={HOSTILE: 0.7, "quiet": 0.3},
        study=replace(found.study, modality=HOSTILE, body_part=HOSTILE, uids={HOSTILE: HOSTILE}),
        record=RecordSummary({HOSTILE: 0.5}, (HOSTILE,), HOSTILE, "matched", ()),
        model=replace(found.model, name=HOSTILE, version=HOSTILE, signed_by={"name": HOSTILE, "id": HOSTILE}),
        engine=replace(found.engine, device=HOSTILE, processor=HOSTILE, fallback=HOSTILE, kernels={HOSTILE: 1}),
        options=replace(found.options, series={HOSTILE: HOSTILE}),  # type: ignore[type-var]
        attention=attended([HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE]),
        disclaimer=HOSTILE,
    )
    clinical = Clinical(Record({HOSTILE: HOSTILE}, {HOSTILE: 0.5}))
    prepared = Prepared((series(HOSTILE, 12), series(f"{HOSTILE}2", 12)), clinical)
    page = answer_page(found, prepared, 0, maps=(a_map(HOSTILE, title=HOSTILE),), self_test=SELF_TEST)
    refuse_any_request(page)
    assert "<script" not in page and page.count(html.escape(HOSTILE)) > 25
    assert {a["type"] for name, a in Reader(page).elements if name == "input"} == {"radio"}


# The pictures


def test_the_slices_are_what_the_network_saw() -> None:
    one = series("image", 26)
    page = ct()
    [held] = re.findall(r"<ol>(.*)</ol>", page)
    shown = [
        drawn(base64.b64decode(text)) for text in re.findall(r'src="data:image/png;base64,([^"]*)" alt="image"', held)
    ]
    np.testing.assert_array_equal(shown, grey_of(one.windows.slices[:24]).round())
    assert re.findall(r"<p><span>R</span>(\d+ of 26)<span>L", held) == [f"{at + 1} of 26" for at in range(24)]
    keys = page.partition('class="viewer')[0]
    assert re.findall(r'alt="image, slice (\d+ of 26)"', keys) == ["8 of 26", "11 of 26", "13 of 26", "17 of 26"]


def test_a_map_lies_over_the_slices_of_its_window_alone() -> None:
    prepared = Prepared((series("image", 24, starts=[0, 12]),))
    one = a_map("image", window=1, slices=(3, 9))
    found = drawing_of(prepared, 1, one)
    covered = [at for at, (tile,) in found.frames.items() if tile.maps]
    assert covered == [15, 16, 17, 18, 19, 20]
    shown = [at for at in covered if drawn(found.frames[at][0].maps[0])[..., 3].any()]
    assert shown == [17, 18]  # the middle third alone is above nothing
    tile = found.frames[17][0]
    grey, over = drawn(tile.grey).astype(float), drawn(tile.maps[0]).astype(float)
    under = np.repeat(grey[..., None], 3, axis=-1)
    blended = under + over[..., 3:] / 255 * (over[..., :3] - under)
    strength = np.kron(one.values[1], np.ones((6, 6)))
    np.testing.assert_allclose(blended, coloured(grey, strength), atol=1.5)
    assert (over[..., 3] > 0).sum() == 2 * 36 and over.shape == (24, 24, 4)
    assert [at for at, _ in found.keys] == [13, 16, 18, 22]  # 18, where it is largest, in place of 19
    assert not drawing_of(prepared, 0).frames[0][0].maps


def test_an_overlay_hides_nothing_and_shows_nothing_where_nothing_is() -> None:
    strength = np.array([[0.0, 0.2, 1.0]])
    tile = overlay(strength)
    assert (tile[0, 0] == 0).all() and 0 < tile[0, 1, 3] < 128 and tile.dtype == np.uint8


@pytest.mark.parametrize(("slices", "window"), [(1000, 40), (1000, 0), (161, 13)])
def test_of_many_slices_the_windows_own_are_held_and_the_rest_is_said(slices: int, window: int) -> None:
    starts = [*range(0, slices - 12, 12), slices - 12]
    prepared = Prepared((series("image", slices, starts=starts),))
    found = drawing_of(prepared, window)
    assert len(found.frames) == pictures.MOST_PICTURES and found.positions == slices and found.of_window == 0
    assert set(range(starts[window], starts[window] + 12)) <= set(found.frames)
    gaps = np.diff([0, *found.frames, slices - 1])
    assert gaps.max() <= 2 * slices / len(found.frames) + 1
    page = ct(slices, window=window, starts=starts)
    assert f"160 of {slices} slices are on this page" in page and f"{slices - 160} are left out." in page
    assert len(without_pictures(page)) < 60_000


def test_large_slices_are_fewer_and_very_large_ones_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = Prepared((series("image", 60, size=30, depth=60, starts=[0]),))
    monkeypatch.setattr(pictures, "MOST_PIXELS", 30 * 30 * 10 + 50)
    found = drawing_of(prepared)
    assert len(found.frames) == 10 and found.of_window == 50 and not found.reduced
    assert "50 are left out, 50 of them in that window." in ct(60, window=0, size=30, depth=60, starts=[0])
    monkeypatch.setattr(pictures, "LARGEST_SIDE", 16)
    found = drawing_of(prepared)
    [first, *_] = found.frames.values()
    assert found.reduced and drawn(first[0].grey).shape == (15, 15) and len(found.frames) == 40
    assert "but smaller: not for reading" in ct(60, window=0, size=30, depth=60, starts=[0])
    monkeypatch.setattr(pictures, "MOST_PIXELS", 1)
    assert len(drawing_of(prepared).frames) == pictures.LEAST_FRAMES


def test_of_several_series_all_are_seen_at_once() -> None:
    page = mr(slices=40)
    [held] = re.findall(r"<ol>(.*)</ol>", page)
    assert held.count("<li") == pictures.MOST_PICTURES // 8 and held.count("<figcaption") == pictures.MOST_PICTURES
    assert re.findall(r"<figcaption>([^<]*)<", held)[:8] == list(PHASES)
    assert [a["class"] for _, a in Reader(page).elements if "map map-1" in str(a.get("class"))]
    assert len(without_pictures(page)) < 60_000


def test_a_map_lies_over_its_own_input() -> None:
    names = ("a", "b", "c")
    found = drawing_of(Prepared(tuple(series(name, 12) for name in names)), 0, a_map("b"))
    assert {tile.input for frame in found.frames.values() for tile in frame if tile.maps} == {"b"}
    assert {name for _, name in found.keys} == set(names)


def test_what_a_short_study_was_padded_with_is_not_shown() -> None:
    one = series("image", 12)
    short = replace(one, facts=replace(one.facts, slices=3))
    assert list(drawing_of(Prepared((short,))).frames) == [0, 1, 2]
    assert draw_pictures(Prepared(()), 0, ()) is None


def test_of_more_maps_than_a_page_holds_the_first_are_shown() -> None:
    maps = [a_map("image", title=f"map {at}") for at in range(11)]
    page = answer_page(tiny_result(), Prepared((series("image", 12),)), 0, maps=maps)
    said = text_of(page)
    assert "map 7" in said and "map 8" not in said and "3 more maps are not on this page" in said


# In a browser


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser(need(*CHROMIUM)) as page:
        yield page


heavy = {"ct without maps", "deidentified", "extreme mr"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full if name in heavy else ()) for name in PAGES]
)
def test_it_fits_every_screen_and_one_sheet(tab: Page, tmp_path: Path, name: str) -> None:
    page = opened(tab, tmp_path / "page.html", PAGES[name](), width=1280)
    for width in (1280, 700, 400, 320):
        page.screen(width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        assert overflowing(page) == [], width
    assert sheets(page.printed()) == sheets(page.printed(width=8.5, height=11)) == 1
    assert page.problems == []


@pytest.mark.parametrize(
    ("name", "dark"),
    [("ct", False), pytest.param("ct", True, marks=pytest.mark.full)]
    + [pytest.param(name, False, marks=pytest.mark.full) for name in PAGES if name != "ct"],
)
def test_it_is_accessible(tab: Page, tmp_path: Path, name: str, dark: bool) -> None:
    assert faults(opened(tab, tmp_path / "page.html", PAGES[name](), width=1280, dark=dark)) == []


def test_slices_are_scrolled_one_by_one_and_maps_chosen(tab: Page, tmp_path: Path) -> None:
    """Without a script: a slice fills what is seen, the choice shows one map or none, and a key slice leads there."""
    page = opened(tab, tmp_path / "page.html", mr(), width=1280)
    sizes = "[document.querySelector('.film').clientHeight, document.querySelector('.film li').offsetHeight]"
    seen, one = page.evaluate(sizes)
    assert seen == one > 300
    visible = (
        "[...document.querySelectorAll('.film .map')].filter(one => one.checkVisibility()).map(one => one.className)"
    )
    assert set(page.evaluate(visible)) == {"map map-0"}
    page.evaluate("document.getElementById('map-1').click()")
    assert set(page.evaluate(visible)) == {"map map-1"}
    page.evaluate("document.getElementById('map-none').click()")
    assert page.evaluate(visible) == []
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'; location.hash = 'slice-12'")
    assert page.evaluate("document.querySelector('.film').scrollTop") == 12 * seen
    assert page.evaluate("document.images.length") == page.evaluate(
        "[...document.images].filter(one => one.naturalWidth == 24).length"
    )


def test_hostile_text_in_a_browser(tab: Page, tmp_path: Path) -> None:
    found = replace(tiny_result(HOSTILE, sources=(HOSTILE,)), label=HOSTILE, disclaimer=HOSTILE)
    selection = (SelectedSeries(HOSTILE, HOSTILE, HOSTILE, 1, (1.0, 1.0, 1.0)),)
    found = replace(found, study=replace(found.study, selection=selection))
    page = opened(tab, tmp_path / "page.html", ct(result=found))
    assert page.evaluate("document.querySelectorAll('script, [onerror]').length") == 0
    assert page.evaluate("document.querySelector('h1').textContent") == HOSTILE
