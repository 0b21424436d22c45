"""What every page must be: well nested, inert, one file; and in a browser, in place, silent and accessible."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from browser import Page
from counterparts import need_npm

HOSTILE = "<script>alert(1)</script>\"'><img src=https://example.org/x onerror=alert(2)>&amp;"
VOID = {"meta", "link", "br", "img", "input"}
PICTURE = re.compile(r'src="data:[^"]*"')


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


def without_pictures(page: str) -> str:
    """A page as it was written, without what its pictures hold."""
    return PICTURE.sub('src=""', page)


def refuse_any_request(page: str) -> None:
    """Nothing in it can run, be fetched, or be sent; its one style sheet is the one that its policy names."""
    read = Reader(page)
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    [policy] = [str(a["content"]) for _, a in read.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert not {name for name, _ in read.elements} & {"script", "iframe", "object", "embed", "form", "base", "svg:use"}
    for _, attributes in read.elements:
        assert not [key for key in attributes if key.startswith("on") or key in ("style", "srcset", "action")]
        for key in attributes.keys() & {"src", "href"}:
            assert str(attributes[key]).startswith(("#", "data:")), attributes[key]
    assert "url(" not in style and "@import" not in style


def overflowing(tab: Page) -> list[str]:
    """Elements that reach beyond the page's right edge and do not scroll within one that does not."""
    return list(
        tab.evaluate(
            """(() => {
                const wide = document.documentElement.clientWidth + 1
                const clips = one => getComputedStyle(one).overflowX !== 'visible'
                const scrolls = one => one && (clips(one) || scrolls(one.parentElement))
                return [...document.body.querySelectorAll('*')]
                    .filter(one => one.getBoundingClientRect().right > wide && !scrolls(one.parentElement))
                    .map(one => one.outerHTML.slice(0, 80))
            })()"""
        )
    )


def faults(tab: Page) -> list[str]:
    """Serious and critical findings of axe-core, which only the test brings into the page."""
    script = need_npm("axe-core") / "node_modules" / "axe-core" / "axe.min.js"
    tab.evaluate(f"{script.read_text(encoding='utf-8')};0")
    found: list[dict[str, Any]] = tab.evaluate(
        "axe.run({resultTypes: ['violations']}).then(found => found.violations)", wait=True
    )
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}, of {len(one['nodes'])}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def sheets(pdf: bytes) -> int:
    """How many pages a PDF has that Chromium printed."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def opened(tab: Page, file: Path, page: str, **screen: Any) -> Page:
    """A page opened from a file, which asked for nothing but itself and said nothing."""
    file.write_text(page, encoding="utf-8")
    tab.problems.clear()
    tab.requests.clear()
    tab.open(file.as_uri(), **screen)
    assert [one for one in tab.requests if not one.startswith("data:")] == [file.as_uri()]
    assert tab.problems == []
    return tab


def contrast(first: str, second: str) -> float:
    """WCAG 2.2, contrast ratio of two colours, from their relative luminance."""
    luminances = []
    for colour in (first, second):
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)
