"""What pages are made of: whatever text is given stays text, and no browser may run or fetch anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import CHROMIUM, Page, browser
from counterparts import need
from mmcaf_engine.page.document import document
from mmcaf_engine.page.markup import Markup, join, tag
from mmcaf_engine.page.style import DARK, LIGHT, stylesheet
from mmcaf_engine.page.tables import Column, bar, facts, table
from pages import HOSTILE, Reader, contrast, faults, opened, overflowing, refuse_any_request, sheets


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tag("p", "a < b", Markup("<b>c</b>"), None), "<p>a &lt; b<b>c</b></p>"),
        (tag("td", class_="a", x=0, y=1.5, width=1 / 3, open=True, hidden=False, id=None),
         '<td class="a" x="0" y="1.5" width="0.33" open></td>'),
        (tag("meta", http_equiv='a"b', name="c"), '<meta http-equiv="a&quot;b" name="c">'),
        (join("&", tag("br")), "&amp;<br>"),
        (tag("p", "a\x00\u202eb", title="\x1b"), '<p title="\\u001b">a\\u0000\\u202eb</p>'),
        (tag("p", f"{tag('b')}", tag("b") + "c"), "<p>&lt;b&gt;&lt;/b&gt;&lt;b&gt;&lt;/b&gt;c</p>"),
    ],
    ids=["text", "attributes", "void", "joined", "steering", "what was joined to markup is text"],
)  # fmt: skip
def test_markup(made: Markup, expected: str) -> None:
    assert made == expected


def hostile() -> str:
    """A page of every piece, each given a text that tries to be more than that."""
    return document(
        HOSTILE,
        stylesheet(".a{color:var(--own)}\n", light={"own": "#123456"}),
        tag("header", tag("h1", HOSTILE, title=HOSTILE)),
        tag(
            "main",
            table(HOSTILE, [Column(HOSTILE, "words"), Column(HOSTILE)], [(HOSTILE, HOSTILE)], foot=(HOSTILE, "")),
            facts([(HOSTILE, HOSTILE), ("left out", "")]),
            bar(2.0, part=0.5),
            tag("a", HOSTILE, href=f"#{HOSTILE}"),
        ),
    )


def test_whatever_text_is_given_stays_text() -> None:
    page = hostile()
    assert " ".join(Reader(page).texts).count(HOSTILE) == 11
    refuse_any_request(page)
    assert tag("p", "\udcff").isascii()  # half a character, which a file's name may hold and no file can


def test_what_a_page_must_not_hold_is_noticed() -> None:
    for piece in ("<script></script>", '<p onclick="a()"></p>', '<a href="http:a">b</a>', '<p style="top:0">a</p>'):
        with pytest.raises(AssertionError):
            refuse_any_request(document("a", stylesheet(), Markup(piece)))
    with pytest.raises(AssertionError):
        refuse_any_request(document("a", stylesheet()).replace("</style>", "b{top:0}</style>"))


def test_a_page_has_colours_of_its_own_and_paper_is_light() -> None:
    style = stylesheet(".a{color:red}", light={"own": "#123456"}, dark={"own": "#654321"})
    assert style.index("--own:#123456") < style.index("@media screen and (prefers-color-scheme:dark)")
    assert style.index("--own:#654321") > style.index("prefers-color-scheme:dark") and style.endswith(".a{color:red}")


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast(colours: dict[str, str]) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ground in ("card", "page"):
        for text in ("ink", "soft", "accent", "good", "bad"):
            assert contrast(colours[text], colours[ground]) >= 4.5, f"{text} on {ground}"
    assert contrast(colours["badge-ink"], colours["badge"]) >= 4.5


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser(need(*CHROMIUM)) as page:
        yield page


def test_hostile_text_in_a_browser(tab: Page, tmp_path: Path) -> None:
    page = opened(tab, tmp_path / "page.html", hostile())
    assert page.evaluate("document.querySelectorAll('script, img').length") == 0
    assert page.evaluate("document.title") == HOSTILE


def test_the_browser_notices(tab: Page, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text("<img src=missing.png><script>console.error('a'); throw new Error('b')</script>")
    tab.problems.clear()
    tab.requests.clear()
    tab.open(file.as_uri(), width=400)
    assert len(tab.requests) == 2 and len(tab.problems) >= 2
    assert any(fault.startswith("image-alt") for fault in faults(tab))
    tab.evaluate("document.body.innerHTML = '<p style=width:900px>a</p>'.repeat(90)")
    assert len(overflowing(tab)) == 90 and sheets(tab.printed()) == 3


@pytest.mark.parametrize("given", ["<p style='color:red'>a</p>", "<style>p{color:red}</style><p>a</p>"])
def test_no_other_style_has_any_effect(tab: Page, tmp_path: Path, given: str) -> None:
    file = tmp_path / "page.html"
    file.write_text(document("a", stylesheet(), Markup(given)), encoding="utf-8")
    tab.open(file.as_uri())
    assert tab.evaluate("getComputedStyle(document.querySelector('p')).color") != "rgb(255, 0, 0)"
