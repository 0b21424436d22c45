"""The service's pages in a real browser, by keyboard alone: what went wrong is seen, and mended there."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("pynetdicom")
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from browser import CHROMIUM, Page, browser
from counterparts import need
from engine.service.test_sender import Archive
from engine.service.test_service import free_port
from engine.service.test_site import answerer, given, stack
from engine.service.ward import ENOUGH, Ward
from mmcaf_engine.pipeline import Answerer
from mmcaf_engine.service.life import alive
from pages import HOSTILE, faults, overflowing

__all__ = ["answerer", "stack"]  # Fixtures.

pytestmark = pytest.mark.full
SCREENS = [(400, True), (1300, False), (3840, False)]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser(need(*CHROMIUM)) as page:
        yield page


class Person:
    """Somebody at the keyboard."""

    def __init__(self, tab: Page, address: str, pictures: Path) -> None:
        self.tab, self.address, self.pictures = tab, address, pictures

    def open(self, path: str) -> None:
        self.tab.problems.clear()
        self.tab.requests.clear()
        self.tab.open(self.address + path)

    def go_to(self, identity: str) -> None:
        """By Tab, as often as it takes."""
        for _ in range(80):
            self.tab.press("Tab")
            if self.tab.evaluate("document.activeElement.id") == identity:
                return
        raise AssertionError(f"{identity} is not reached with the keyboard")

    def press(self, identity: str) -> None:
        self.go_to(identity)
        self.tab.press("Enter")

    def fill(self, **fields: str) -> None:
        for identity, text in fields.items():
            self.go_to(identity.replace("_", "-"))
            self.tab.evaluate("document.activeElement.select && document.activeElement.select()")
            self.tab.write(text)

    def sees(self, text: str, seconds: float = 15.0) -> None:
        """Sooner or later, without loading the page again."""
        try:
            wait_for(lambda: text in self.said(), seconds)
        except AssertionError:
            raise AssertionError(f"{text!r} is not seen in {self.said()}") from None

    def said(self) -> str:
        return str(self.tab.evaluate("document.body ? document.body.innerText : ''"))

    def looks(self, name: str) -> None:
        """In order on every screen, and drawn."""
        for width, dark in SCREENS:
            self.tab.screen(width=width, dark=dark, height=1000)
            assert overflowing(self.tab) == [], f"{name} on {width}"
            assert self.tab.evaluate("document.documentElement.scrollWidth") <= width
            if width < 2000:
                assert faults(self.tab) == [], f"{name}, {width} pixels wide"
                picture = self.tab.picture()
                (self.pictures / f"{name}-{width}.png").write_bytes(picture)
                assert picture.startswith(PNG) and len(picture) > 8000
        self.tab.screen()

    def asked_only_here(self) -> bool:
        foreign = [one for one in self.tab.requests if not one.startswith((self.address, "data:"))]
        return foreign == [] and self.tab.problems == []


def wait_for(found: Callable[[], Any], seconds: float = 15.0, otherwise: str = "it did not come in time") -> None:
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        try:
            if found():
                return
        except AssertionError:  # The page was just being replaced.
            pass
        time.sleep(0.05)
    raise AssertionError(otherwise)


def at_work(tmp_path: Path, stack: ExitStack, answerer: Answerer, tab: Page, **settings: Any) -> tuple[Ward, Person]:
    port = free_port()
    settings["http"] = {**settings.get("http", {}), "port": port}
    ward = Ward(tmp_path, stack, answerer, **settings)
    address = stack.enter_context(ward.listening(port))
    return ward, Person(tab, address, tmp_path)


def test_three_failures_are_seen_and_mended(tmp_path: Path, stack: ExitStack, answerer: Answerer, tab: Page) -> None:
    down = free_port()
    pacs = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": down}
    ward, person = at_work(tmp_path, stack, answerer, tab, destination=[pacs])

    ward.take()
    person.open("/")
    person.sees("coming in")
    ward.whole()
    person.sees("record missing")
    person.looks("worklist")
    person.press("s-1.2.3")
    person.sees("Its record has not come")
    person.looks("record-missing")
    person.fill(f_patient="P-77", f_1="6O", f_author="A. Reader")
    tab.press("Enter")
    person.sees("Not kept")
    assert tab.evaluate("document.getElementById('f-1').getAttribute('aria-invalid')") == "true"
    person.sees("a number in years from 0 to 120 was expected")
    person.looks("record-refused")
    person.go_to("f-0")
    tab.press("F")
    person.fill(f_1="60")
    tab.press("Enter")
    wait_for(lambda: ward.states() == ["queued"])
    assert ward.answer()
    person.sees("loud")
    assert ward.send()
    person.sees("does not answer")

    person.looks("destination-down")
    with Archive(Comprehensive3DSRStorage, SecondaryCaptureImageStorage, port=down) as archive:
        person.press("do-1-0")
        wait_for(lambda: ward.send())
    assert len(archive.got) == 2 and ward.states() == ["delivered"]
    person.sees("delivered")
    assert "Send again" not in person.said()

    ward.take("1.2.4", without=3, slices=ENOUGH)
    given(ward)
    ward.whole()
    person.open("/?state=todo")
    person.press("s-1.2.4")
    person.sees("1 slice missing")
    person.press("close")
    person.sees("Nothing more is waited for")
    assert ward.whole() == 1 and ward.answer() and ward.states() == ["delivered", "refused"]
    person.sees("or accept interpolation")
    person.looks("geometry-refused")
    person.press("do-2-0")
    wait_for(lambda: ward.states() == ["delivered", "queued"])
    assert ward.answer()
    person.sees("Accepted by a person: gaps = interpolate.")
    person.sees("The answer's page")
    assert person.asked_only_here()
    person.press("open-2")
    person.sees("To make it again")
    assert person.asked_only_here(), "the answer's own page is drawn under its own policy"


def test_the_other_pages_in_a_browser(tmp_path: Path, stack: ExitStack, answerer: Answerer, tab: Page) -> None:
    pacs = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": free_port()}
    ward, person = at_work(tmp_path, stack, answerer, tab, destination=[pacs])
    given(ward)
    ward.take(PatientName=HOSTILE, StudyDescription=HOSTILE)
    ward.whole()
    ward.answer()
    for role in ("receiver", "runner tiny", "sender", "web"):
        stack.enter_context(alive(ward.memory, role))
    for name, path, said in (
        ("hostile", "/", "<script>alert(1)</script>"),
        ("hostile-study", "/studies/1.2.3", "<script>alert(1)</script>"),
        ("figures", "/figures?hours=1", "Where the time goes"),
        ("health", "/health", "Every process runs"),
    ):
        person.open(path)
        person.sees(said)
        person.looks(name)
        assert person.asked_only_here(), tab.problems


def test_the_page_follows_without_the_stream_and_keeps_what_is_typed(
    tmp_path: Path, stack: ExitStack, answerer: Answerer, tab: Page
) -> None:
    ward, person = at_work(tmp_path, stack, answerer, tab)
    ward.take()
    ward.whole()
    tab.block("*/api/v1/events")
    try:
        person.open("/studies/1.2.3")
        person.fill(f_1="61")
        ward.take("1.2.4")
        assert ward.client().post("/answers/1/cancel").status_code == 303
        person.sees("Cancelled by a person")
        assert tab.evaluate("document.getElementById('f-1').value") == "61", "what is typed is not thrown away"
    finally:
        tab.block()


def test_a_browser_logs_in_and_out(tmp_path: Path, stack: ExitStack, answerer: Answerer, tab: Page) -> None:
    (tmp_path / "token").write_text("a-token-of-this-test")
    ward, person = at_work(tmp_path, stack, answerer, tab, http={"token_file": tmp_path / "token"})
    ward.take()
    ward.whole()
    person.open("/studies/1.2.3")
    person.sees("Token of this service")
    assert tab.evaluate("document.activeElement.id") == "token"
    person.looks("login")
    tab.evaluate("document.getElementById('token').focus()")
    tab.write("a-token-of-this-test")
    tab.press("Enter")
    person.sees("record missing")
    assert tab.evaluate("document.cookie") == "" and "token" not in tab.evaluate("location.href")
    person.press("s-1.2.3")
    person.sees("Its record has not come")
    assert ward.client().get("/").status_code == 401
    for number in list(ward.context.sessions._until):
        ward.context.sessions._until[number] = 0.0
    person.sees("Token of this service")
