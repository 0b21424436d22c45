"""The service's pages without a browser: who sees them, what they hold, and what their forms and buttons do."""

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("pynetdicom")
from starlette.testclient import TestClient

from engine.service.ward import ENOUGH, PATIENT, SLICES, Ward
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.pipeline import Answerer
from mmcaf_engine.service import answers
from mmcaf_engine.service.database import FILE
from mmcaf_engine.service.delivery import DELIVERED, Sent
from mmcaf_engine.service.figures import figures_of, percentile
from mmcaf_engine.service.headers import text_of
from mmcaf_engine.service.life import alive, tell_refused_to_start
from mmcaf_engine.service.records import keep_record, read_given
from mmcaf_engine.service.retention import remove_images
from mmcaf_engine.service.web import events, sessions
from mmcaf_engine.service.web.sessions import Attempts, Sessions
from mmcaf_engine.service.worklist import ON_A_PAGE, ORDERS, worklist
from mmcaf_engine.session.session import open_session
from pages import HOSTILE, Reader
from tiny_bundle import make_tiny_bundle

HTML = {"accept": "text/html"}
OURS = {"origin": "http://localhost"}
RECORD = {"field.patient_id": "P-77", "field.sex": "F", "field.age": "60", "author": "A. Reader"}
TOKEN = "a-token-of-this-test"
PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 9}


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answerer]:
    bundle = load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.mmcaf"))
    with open_session(bundle, backend="onnxruntime", threads=1) as session:
        yield Answerer(session)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


@pytest.fixture
def ward(tmp_path: Path, stack: ExitStack, answerer: Answerer) -> Ward:
    return Ward(tmp_path, stack, answerer, destination=[PACS])


@pytest.fixture
def guarded(tmp_path: Path, stack: ExitStack, answerer: Answerer) -> Ward:
    (tmp_path / "token").write_text(TOKEN)
    return Ward(tmp_path, stack, answerer, http={"token_file": tmp_path / "token"})


def given(ward: Ward, **fields: Any) -> int:
    content = json.dumps({"patient_id": "P-77", "sex": "F", "age": 60, **fields}).encode()
    return keep_record(ward.memory, ward.spool, read_given(content, ward.context.key), source="http", now=time.time())[
        0
    ]


def text_of_page(page: str) -> str:
    return " ".join(" ".join(Reader(page).texts).split())


def error_at(page: str, name: str) -> str:
    """What a screen reader says beside a field that was refused."""
    read = Reader(page)
    [field] = [a for _, a in read.elements if a.get("name") == name]
    assert field["aria-invalid"] == "true"
    found = re.search(rf'id="{str(field["aria-describedby"]).split()[-1]}">([^<]*)<', page)
    assert found is not None
    return found[1]


def logged_in(ward: Ward, address: str = "http://localhost") -> TestClient:
    client = ward.client(address)
    assert client.post("/login", data={"token": TOKEN}, headers={"origin": address}).status_code == 303
    return client


# Who is let in


def test_a_browser_shows_the_token_once_and_leaves_for_good(guarded: Ward) -> None:
    client = guarded.client()
    for path in ("/", "/studies/1.2.3", "/health", "/figures"):
        turned = client.get(path, headers=HTML)
        assert turned.status_code == 303 and turned.headers["location"] == "/login"
        assert client.get(path).status_code == 401
    assert "token" in client.get("/login").text
    assert client.post("/login", data={"token": "other"}, headers=OURS).status_code == 403
    assert not client.cookies
    let_in = client.post("/login", data={"token": f" {TOKEN}\n"}, headers=OURS)
    assert let_in.status_code == 303 and let_in.headers["location"] == "/" and TOKEN not in str(let_in.headers)
    cookie = let_in.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; ")) and "Secure" not in cookie
    assert client.get("/", headers=HTML).status_code == 200 and client.get("/api/v1/studies").json() == []
    assert client.get("/login").headers["location"] == "/"
    kept = dict(client.cookies)
    assert client.post("/logout", headers=OURS).headers["location"] == "/login"
    assert not client.cookies
    again = guarded.client()
    again.cookies.update(kept)
    assert again.get("/", headers=HTML).status_code == 303, "the session has ended, not its cookie alone"


def test_the_stream_ends_with_its_session(guarded: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LOOK_S", 0.01)
    client = logged_in(guarded)
    asked = iter([True, True, True, False])
    monkeypatch.setattr(Sessions, "holds", lambda *_: next(asked))
    assert client.get("/api/v1/events").text == "" and list(asked) == []


def test_over_tls_the_cookie_stays_there(tmp_path: Path, stack: ExitStack, answerer: Answerer) -> None:
    (tmp_path / "token").write_text(TOKEN)
    tls = {"certificate": "c", "key": "k"}
    ward = Ward(tmp_path, stack, answerer, http={"token_file": tmp_path / "token", "tls": tls})
    answer = ward.client("https://host").post("/login", data={"token": TOKEN}, headers={"origin": "https://host"})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-mmcaf=") and "Secure" in cookie and "Domain" not in cookie


def test_whoever_guesses_waits(guarded: Ward) -> None:
    client, now = guarded.client(), [0.0]
    object.__setattr__(guarded.context, "attempts", Attempts(lambda: now[0]))
    for at in range(sessions.MOST_TRIES):
        assert client.post("/login", data={"token": f"{at}"}, headers=OURS).status_code == 403
    right = client.post("/login", data={"token": TOKEN}, headers=OURS)
    assert right.status_code == 429 and int(right.headers["retry-after"]) == sessions.WITHIN_S and not client.cookies
    now[0] += sessions.WITHIN_S + 1
    assert client.post("/login", data={"token": TOKEN}, headers=OURS).status_code == 303


def test_sessions_and_tries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 3)
    monkeypatch.setattr(sessions, "MOST_ADDRESSES", 3)
    held, tried = Sessions(lambda: now[0]), Attempts(lambda: now[0])
    numbers = [held.open() for _ in range(4)]
    assert [held.holds(one) for one in numbers] == [False, True, True, True] and not held.holds(None)
    now[0] = sessions.SESSION_S
    assert not any(held.holds(one) for one in numbers)
    for at in range(30):
        for wrong in range(sessions.MOST_TRIES):
            tried.note(f"{at}", f"{wrong}")
    assert tried.wait_s("0") == 0 and tried.wait_s("29") == sessions.WITHIN_S


def test_another_sites_page_changes_nothing_with_a_persons_cookie(guarded: Ward) -> None:
    guarded.waits()
    client, program = logged_in(guarded), guarded.client()
    foreign: list[dict[str, str]] = [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:81"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://localhost"},
    ]
    for headers in foreign:
        assert client.post("/answers/1/cancel", headers=headers).status_code == 403, headers
        assert client.post("/logout", headers=headers).status_code == 403, headers
        assert client.post("/api/v1/records", content=b"{}", headers=headers).status_code == 403, headers
        shown = {"authorization": f"Bearer {TOKEN}", **headers}
        assert program.post("/api/v1/records", content=b"{}", headers=shown).status_code == 200, "the token is proof"
    assert guarded.states() == ["waiting-record"] and client.get("/").status_code == 200
    ours = {"sec-fetch-site": "same-origin", "origin": "null"}
    assert client.post("/api/v1/records", content=b"{}", headers=ours).status_code == 200
    assert client.post("/answers/1/cancel", headers=OURS).status_code == 303 and guarded.states() == ["cancelled"]


def test_without_a_token_only_this_machine_asks_and_no_site_changes_anything(ward: Ward) -> None:
    assert ward.client("http://rebound.example").get("/api/v1/studies").status_code == 421
    for here in ("http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost"):
        assert ward.client(here).get("/", headers=HTML).status_code == 200
    client = ward.client()
    foreign = {"origin": "https://evil.example"}
    assert client.post("/api/v1/records", content=b"{}", headers=foreign).status_code == 403
    assert client.post("/api/v1/records", content=b"{}").status_code == 200, "a program names no origin"
    assert "Log out" not in client.get("/").text


def test_what_is_no_form_is_refused(ward: Ward) -> None:
    client = ward.client()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/studies/1/record", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    for wrong in (b"a=\xff", b"a=%ff", b"&".join(b"a=1" for _ in range(600))):
        assert client.post("/studies/1/record", content=wrong, headers=kind).status_code == 400
    assert client.post("/studies/1/record", content=b"a" * 2**22, headers=kind).status_code == 413
    assert client.post("/studies/1/record", content=b"a=1", headers=kind).status_code == 404


# What a page may do


def test_every_page_runs_its_own_script_alone_and_asks_for_nothing(ward: Ward) -> None:
    given(ward)
    ward.take()
    ward.whole()
    assert ward.answer()
    client = ward.client()
    for path in ("/", "/studies/1.2.3", "/figures", "/health", "/studies/9.9"):
        answer = client.get(path, headers=HTML)
        read, page = Reader(answer.text), answer.text
        policy = answer.headers["content-security-policy"]
        assert (
            policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        )
        [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
        scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
        assert len(scripts) == [name for name, _ in read.elements].count("script") <= 1
        for text in (style, *scripts):
            assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
        assert ("script-src" in policy) == bool(scripts)
        assert answer.headers["cache-control"] == "no-store" and answer.headers["referrer-policy"] == "same-origin"
        for _, attributes in read.elements:
            assert not [key for key in attributes if key.startswith("on") or key in ("style", "srcset", "target")]
            for key in attributes.keys() & {"src", "href", "action"}:
                assert str(attributes[key]).startswith(("#", "/", "data:,")) and "//" not in str(attributes[key])
        identities = [a["id"] for _, a in read.elements if "id" in a]
        assert len(identities) == len(set(identities))
        assert "<title>" in page and PATIENT["PatientID"] not in page.partition("<title>")[2].partition("</title>")[0]
    kept = client.get("/api/v1/answers/1/answer")
    assert (
        "script-src" not in kept.headers["content-security-policy"]
        and "sandbox" in kept.headers["content-security-policy"]
    )
    [style] = re.findall(r"<style>(.*?)</style>", kept.text, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in kept.headers["content-security-policy"]


def test_whatever_a_header_holds_stays_text(ward: Ward) -> None:
    texts = ("PatientName", "PatientID", "StudyDescription", "AccessionNumber", "PatientBirthDate")
    ward.take(**dict.fromkeys(texts, HOSTILE))
    ward.whole()
    client = ward.client()
    for path in ("/", "/studies/1.2.3"):
        page = client.get(path).text
        assert [name for name, _ in Reader(page).elements].count("script") == 1 and HOSTILE not in page
        assert "<script>alert(1)" in text_of_page(page) and "<img" not in page
    form = {**RECORD, "field.age": HOSTILE, "author": HOSTILE}
    page = client.post("/studies/1.2.3/record", data=form).text
    assert "script" not in [name for name, _ in Reader(page).elements] and HOSTILE not in page
    assert [a["value"] for _, a in Reader(page).elements if a.get("name") == "field.age"] == [HOSTILE]


# The worklist


def test_a_name_is_one_value() -> None:
    from pydicom.dataset import Dataset

    header = Dataset()
    header.PatientName = "Muster^Anna"
    header.ImageType = ["ORIGINAL", "PRIMARY"]
    assert text_of(header, "PatientName") == "Muster^Anna" and text_of(header, "ImageType") == "ORIGINAL\\PRIMARY"


def test_the_worklist_names_patients_and_the_memory_does_not(ward: Ward) -> None:
    ward.take(PatientName="Muster^Anna Maria^^Dr.")
    ward.take("1.2.4", PatientName="", PatientID="")
    page = ward.client().get("/").text
    said = text_of_page(page)
    assert (
        "Muster, Anna Maria Dr. P-77" in said and "No name No patient ID" in said and "2 studies; page 1 of 1" in said
    )
    memory = b"".join(file.read_bytes() for file in ward.spool.glob(f"{FILE}*"))
    assert b"Muster" not in memory and b"P-77" not in memory


def test_a_name_is_still_known_by_the_result_when_the_images_are_gone(ward: Ward) -> None:
    given(ward)
    ward.take()
    ward.whole()
    ward.answer()
    assert remove_images(ward.memory, ward.spool, "1.2.3", time.time())
    said = text_of_page(ward.client().get("/").text)
    assert "Muster, Anna Maria" in said and "removed" in said
    for file in (ward.spool / "results").rglob("*.dcm"):
        file.unlink()
    assert "No name" in text_of_page(ward.client().get("/").text)


def test_studies_are_sorted_filtered_and_paged(ward: Ward) -> None:
    number = ON_A_PAGE + 7
    for at in range(number):
        ward.memory.execute(
            "insert into study(uid, state, first, last, priority) values(?, 'complete', ?, ?, ?)",
            (f"1.{at}", 1000 - at, 500 + at // 2, at % 3),
        )
        state = "failed" if at % 10 == 0 else "delivered"
        ward.memory.execute(
            "insert into answer(study, generation, bundle, state, rank, priority, created, changed) "
            "values(?, 1, 'tiny', ?, 0, 1, '', 0)",
            (f"1.{at}", state),
        )
    for order in ORDERS:
        pages = [worklist(ward.memory, state=None, order=order, page=at) for at in (1, 2, 3)]
        uids = [one.uid for page in pages for one in page.studies]
        assert [len(page.studies) for page in pages] == [ON_A_PAGE, 7, 0] and len(set(uids)) == number
        assert {page.number for page in pages} == {number}
    first = worklist(ward.memory, state=None, order="priority", page=1).studies
    assert [one.priority for one in first] == sorted((at % 3 for at in range(number)), reverse=True)[:ON_A_PAGE]
    assert {one.answers[0].state for one in worklist(ward.memory, state=None, order="state", page=1).studies[:4]} == {
        "failed"
    }
    found = worklist(ward.memory, state="failed", order="first", page=1)
    assert [one.uid for one in found.studies] == ["1.30", "1.20", "1.10", "1.0"]
    assert found.counts == {"": number, "todo": 4, "received": 0, "failed": 4, "delivered": number - 4}
    client = ward.client()
    assert client.get("/?state=todo").text.count('<th scope="row"') == 4
    page = client.get("/?state=delivered&order=first&page=2").text
    assert (
        'aria-sort="ascending"' in page
        and 'href="/?state=delivered&amp;order=first"' in page
        and 'rel="next"' not in page
    )
    for wrong in ("state=gone", "order=uid", "page=0"):
        assert client.get(f"/?{wrong}").status_code == 422


def test_a_patient_is_found_without_being_part_of_an_address(ward: Ward) -> None:
    ward.take(AccessionNumber="ACC-1")
    ward.take("1.2.4", PatientID="Q-9", AccessionNumber="ACC-2")
    client = ward.client()
    for asked, uids in {"P-77": ["1.2.3"], " ACC-2 ": ["1.2.4"], "P-7": [], "": [], "x" * 999: []}.items():
        page = client.post("/find", data={"identifier": asked})
        assert page.status_code == 200 and re.findall(r'href="/studies/([^"]*)"', page.text) == uids
    assert client.get("/find").headers["location"] == "/"


def test_twice_as_many_studies_are_no_more_than_twice_the_work(ward: Ward) -> None:
    def steps(state: str | None) -> int:
        taken = []
        ward.memory.set_progress_handler(lambda: taken.append(1), 100)
        worklist(ward.memory, state=state, order="last", page=1)
        ward.memory.set_progress_handler(None, 0)
        return len(taken)

    found = []
    for begin in (0, 400):
        ward.memory.execute("begin")
        for at in range(begin, begin + 400):
            ward.memory.execute("insert into study(uid, state, first, last) values(?, 'complete', 1, 1)", (f"1.{at}",))
            ward.memory.execute(
                "insert into answer(study, generation, bundle, state, rank, priority, created, changed) "
                "values(?, 1, 'tiny', 'delivered', 0, 1, '', 0)",
                (f"1.{at}",),
            )
        ward.memory.execute("commit")
        found.append([steps(state) for state in (None, "todo", "delivered", "failed")])
    assert all(after < 3 * before for before, after in zip(*found, strict=True)), found


# What went wrong, and what mends it


def test_a_missing_record_is_typed(ward: Ward) -> None:
    ward.take()
    ward.whole()
    client = ward.client()
    page = client.get("/studies/1.2.3").text
    names = [a["name"] for name, a in Reader(page).elements if name in ("input", "select")]
    assert names == ["field.patient_id", "field.sex", "field.age", "author"]
    assert "One of M, F." in page and "A number from 0 to 120 years." in page and "record missing" in page
    refused = client.post("/studies/1.2.3/record", data={**RECORD, "field.age": "6O", "field.sex": "", "author": " "})
    assert refused.status_code == 422 and ward.states() == ["waiting-record"] and "<script>" not in refused.text
    assert "a number in years from 0 to 120 was expected" in error_at(refused.text, "field.age")
    assert "Missing" in error_at(refused.text, "field.sex") and "who typed it" in error_at(refused.text, "author")
    assert 'value="6O"' in refused.text, "what was typed is not lost"
    old = client.post("/studies/1.2.3/record", data={**RECORD, "field.age": "160"})
    assert "160 years came" in error_at(old.text, "field.age")
    other = client.post("/studies/1.2.3/record", data={**RECORD, "field.patient_id": "Q-9"})
    assert "different patients" in error_at(other.text, "field.patient_id") and ward.states() == ["waiting-record"]
    kept = client.post("/studies/1.2.3/record", data=RECORD)
    assert kept.status_code == 303 and kept.headers["location"] == "/studies/1.2.3" and ward.states() == ["queued"]
    row = ward.memory.execute("select * from record").fetchone()
    assert (row["author"], row["source"], row["study"]) == ("A. Reader", "page", "1.2.3")
    assert json.loads((ward.spool / row["file"]).read_bytes()) == {"patient_id": "P-77", "sex": "F", "age": 60}
    page = client.get("/studies/1.2.3").text
    assert "typed on this page" in page and "A. Reader" in page and 'name="author"' not in page
    assert ward.answer() and ward.states() == ["sending"]
    assert "matched" in (ward.spool / "results" / "1-0" / "result.json").read_text()
    assert client.post("/studies/1.2.3/record", data=RECORD).status_code == 409
    assert client.get("/studies/1.2.3/record").headers["location"] == "/studies/1.2.3"


def test_what_contradicts_the_header_is_asked_for_once_more(ward: Ward) -> None:
    ward.take()
    ward.whole()
    client, form = ward.client(), {**RECORD, "field.sex": "M"}
    asked = client.post("/studies/1.2.3/record", data=form)
    assert asked.status_code == 422 and "contradicts the study" in asked.text and 'name="sure"' in asked.text
    assert ward.states() == ["waiting-record"]
    assert client.post("/studies/1.2.3/record", data={**form, "sure": "yes"}).status_code == 303
    assert ward.states() == ["queued"]


def test_a_record_that_was_refused_is_typed_again(ward: Ward) -> None:
    given(ward, age=200)
    ward.take()
    ward.whole()
    assert ward.answer() and ward.states() == ["refused"]
    client = ward.client()
    page = client.get("/studies/1.2.3").text
    said = text_of_page(page)
    assert "a number in years from 0 to 120 was expected" in said and "200" not in said and 'name="field.age"' in page
    assert client.post("/studies/1.2.3/record", data=RECORD).status_code == 303 and ward.states() == ["queued"]
    assert ward.answer() and ward.states() == ["sending"]


def test_a_refused_geometry_is_accepted(ward: Ward) -> None:
    given(ward)
    ward.take(without=2, slices=ENOUGH)
    assert ward.whole() == 0
    page = text_of_page(ward.client().get("/studies/1.2.3").text)
    assert "The study: 1 slice missing" in page and "is waited for until" in page and str(ward.spool) not in page
    client = ward.client()
    assert "Wait no longer" in page and client.post("/studies/1.2.3/close").headers["location"] == "/studies/1.2.3"
    assert "Nothing more is waited for." in client.get("/studies/1.2.3").text
    again = client.post("/studies/1.2.3/close")
    assert again.status_code == 409 and "Nothing is waited for" in again.text
    assert client.post("/studies/9.9/close").status_code == 404
    assert ward.whole() == 1 and ward.answer() and ward.states() == ["refused"]
    page = client.get("/studies/1.2.3").text
    assert "Accept interpolated slices" in page and str(ward.spool) not in page and "The study: 1 slice missing" in page
    assert client.post("/answers/1/retry", data={"gaps": "fill"}).status_code == 422
    assert client.post("/answers/1/retry", data={"allow_id_mismatch": "true"}).status_code == 422
    assert ward.states() == ["refused"]
    done = client.post("/answers/1/retry", data={"gaps": "interpolate"})
    assert done.status_code == 303 and done.headers["location"] == "/studies/1.2.3"
    assert ward.answer() and ward.states() == ["sending"]
    assert "Accepted by a person: gaps = interpolate." in text_of_page(client.get("/studies/1.2.3").text)


def test_what_cannot_be_sent_is_sent_again(ward: Ward) -> None:
    class Down:
        sent = Sent("failed", "does not answer", retry=True)

        def send(self, parcels: object) -> Sent:
            return self.sent

    given(ward)
    ward.take()
    ward.whole()
    ward.answer()
    archive = Down()
    assert ward.send(pacs=archive) and not ward.send(pacs=archive)
    client = ward.client()
    said = text_of_page(client.get("/").text)
    assert "sending delayed" in said and "pacs: does not answer" in said and "To do 1" in said
    assert "Send again" in client.get("/studies/1.2.3").text
    assert client.post("/answers/1/retry", data={}).status_code == 303
    archive.sent = DELIVERED
    assert ward.send(pacs=archive) and ward.states() == ["delivered"]
    assert "Send again" not in client.get("/studies/1.2.3").text
    assert client.post("/answers/1/retry", data={}).status_code == 409, "there is nothing to do"
    assert client.post("/answers/9/retry", data={}).status_code == 404


def test_a_person_cancels(ward: Ward) -> None:
    ward.waits()
    client = ward.client()
    assert client.post("/answers/1/cancel").status_code == 303 and ward.states() == ["cancelled"]
    assert client.get("/answers/1/cancel").headers["location"] == "/studies/1.2.3"
    again = client.post("/answers/1/cancel")
    assert again.status_code == 409 and "has ended" in again.text and "Cancelled by a person" in again.text


# Figures and health


def test_figures_are_those_of_the_steps(ward: Ward) -> None:
    now = 1e6
    steps = [(1, "queued", 600), (1, "running", 590), (1, "written", 580), (1, "sending", 580), (1, "delivered", 520)]
    steps += [(2, "queued", 600), (2, "running", 580), (2, "refused", 570), (2, "queued", 100), (2, "running", 95)]
    steps += [(2, "written", 60), (3, "written", 50), (4, "queued", 9000)]
    for answer, state, ago in steps:
        ward.memory.execute(
            "insert into event(at, study, answer, state) values(?, '1.2', ?, ?)", (now - ago, answer, state)
        )
    found = figures_of(ward.memory, 1, now)
    assert len(found.parts) == 12 and [part.written for part in found.parts] == [0] * 10 + [1, 2]
    assert (found.parts[10].delivered, found.parts[10].bad) == (1, 1) and found.parts[10].median == 20
    assert found.parts[11].seconds == [40], "of the second try; of the third nobody knows when it was queued"
    assert found.stages == {"waiting": [10, 20, 5], "answering": [10, 10, 35], "sending": [60]}
    assert (
        percentile([3, 1, 2], 0.5) == 2 and percentile(list(range(1, 101)), 0.95) == 95 and percentile([], 0.5) is None
    )
    for hours in (1, 24, 168):
        page = ward.client().get(f"/figures?hours={hours}")
        assert page.status_code == 200 and "<svg" in page.text and len(Reader(page.text).tables) == 3
    assert ward.client().get("/figures?hours=2").status_code == 422


def test_health_says_what_does_not_run(ward: Ward, stack: ExitStack) -> None:
    client = ward.client()
    page = text_of_page(client.get("/health").text)
    assert "receiver, runner tiny, sender, web not ready" in page and "not passed" in page
    for role in ("receiver", "runner tiny", "sender", "web"):
        stack.enter_context(alive(ward.memory, role))
    page = text_of_page(client.get("/health").text)
    assert "Every process runs" in page and "passed" in page and ward.answerer.bundle.sha256[:16] in page
    tell_refused_to_start(ward.memory, "runner tiny", "its bundle was altered.", time.time())
    assert "runner tiny: its bundle was altered." in client.get("/health").text
    asked = client.post("/health/check", data={"destination": "pacs"})
    assert asked.status_code == 200 and "destination pacs does not answer" in text_of_page(asked.text)
    assert client.post("/health/check", data={"destination": "other"}).status_code == 200
    assert client.get("/health/check").headers["location"] == "/health"


def test_a_study_of_which_an_answer_is_wanted_twice_has_one_page(ward: Ward) -> None:
    """A later image: the answer of fewer images stays, said as that, with nothing to do about it."""
    given(ward)
    ward.take(without=SLICES - 1)
    ward.whole()
    ward.answer()
    ward.take()
    ward.whole()
    assert ward.answer() and ward.states() == ["sending", "sending"]
    page = text_of_page(ward.client().get("/studies/1.2.3").text)
    assert page.index("Answer of tiny") < page.index("of fewer images") and page.count("Answer of tiny") == 2
    assert answers.is_whole(ward.memory, 2) and not answers.is_whole(ward.memory, 1)
