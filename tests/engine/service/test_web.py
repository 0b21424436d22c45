"""The service over HTTP: what may be asked, by whom, and what is answered."""

import io
import json
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from engine.service.test_intake import KEY, NO_RECORD, QUIET_S, SLICES, Desk, images
from mmcaf_engine.errors import Remedy
from mmcaf_engine.service import answers
from mmcaf_engine.service.answers import FrozenObject
from mmcaf_engine.service.config import Config
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.life import alive
from mmcaf_engine.service.receipt import Receipt
from mmcaf_engine.service.web.uploads import parts_of

pytest.importorskip("fastapi")
from starlette.requests import Request
from starlette.testclient import TestClient

from mmcaf_engine.service.web.app import application
from mmcaf_engine.service.web.context import Context, address_of
from mmcaf_engine.service.web.sessions import MOST_TRIES, WITHIN_S, Attempts

STUDY = "1.2.3"


class Web(Desk):
    """A spool, and a client of its HTTP interface."""

    def __init__(self, spool: Path, taking: Receipt, memory: Any, **settings: Any) -> None:
        super().__init__(spool, taking, memory)
        (spool / "key").write_bytes(KEY)
        fields = {"spool": spool, "bundle": [{"name": "lung", "path": "x"}], "destination": [], **settings}
        self.config = Config.model_validate(fields)
        self.context = Context.of(self.config, taking)
        self.client = TestClient(
            application(self.context), "http://localhost", raise_server_exceptions=False, follow_redirects=False
        )

    def answered(self) -> int:
        """A whole study with a frozen result."""
        self.take(*images())
        assert self.intake(**NO_RECORD).look(self.memory, set(), self.now + QUIET_S) == 1
        claimed = answers.claim(self.memory, "lung", "runner", self.now)
        assert claimed is not None
        place = PurePosixPath("results", f"{claimed.id}-0")
        (self.spool / place).mkdir(parents=True)
        objects = []
        for name, content in {"result.json": b'{"label": "quiet"}', "structured-report.dcm": b"DICM"}.items():
            (self.spool / place / name).write_bytes(content)
            objects.append(FrozenObject(Path(name).stem, "1.2", f"{claimed.id}/{name}", place / name, "d"))
        assert answers.freeze(
            self.memory, claimed, "runner", self.now, objects, result_sha256="r", bundle_sha256="b", destinations=[]
        )
        return claimed.id


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with Receipt(tmp_path, Reserve(0, 0)) as taking, closing(open_database(tmp_path)) as memory:
        yield Web(tmp_path, taking, memory)


def zipped(*contents: bytes, **members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for at, content in enumerate(contents):
            archive.writestr(f"{at}.dcm", content)
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def related(*contents: bytes, kind: str = "application/dicom") -> tuple[bytes, dict[str, str]]:
    parts = b"".join(b"\r\n--mark\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + one for one in contents)
    return parts + b"\r\n--mark--\r\n", {"Content-Type": 'multipart/related; type="application/dicom"; boundary=mark'}


def test_bundles_and_how_they_agree(tmp_path: Path) -> None:
    bundles = [{"name": "lung", "path": "x"}, {"name": "next", "path": "x", "shadow_of": "lung"}]
    with Receipt(tmp_path, Reserve(0, 0)) as taking, closing(open_database(tmp_path)) as memory:
        web = Web(tmp_path, taking, memory, bundle=bundles)
        web.answered()
        memory.execute(
            "insert into answer(id, study, generation, bundle, shadow, state, rank, priority, created, result_sha256, "
            "changed) select 9, study, generation, 'next', 1, 'written', 0, 1, created, 'r', 0 from answer"
        )
        memory.execute("insert into comparison values(9, 1, 1, 0.25)")
        [lung, shadow] = web.client.get("/api/v1/bundles").json()
        assert (lung["name"], lung["answers"], lung["ready"], lung["since"]) == ("lung", True, False, None)
        assert (shadow["shadow_of"], shadow["compared"]["agreeing"], shadow["place"]) == ("lung", 1, "lung")
        metrics = web.client.get("/metrics").text
        assert 'mmcaf_compared{agree="yes",bundle="lung",shadow="next"} 1.0' in metrics
        assert 'mmcaf_compared{agree="no",bundle="lung",shadow="next"} 0.0' in metrics


# Who may ask


def test_a_token_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    with Receipt(tmp_path, Reserve(0, 0)) as taking, closing(open_database(tmp_path)) as memory:
        client = Web(tmp_path, taking, memory, http={"token_file": tmp_path / "token"}).client
        for shown in (
            {},
            {"Authorization": "Bearer other"},
            {"Authorization": "Basic s3cret"},
            {"Authorization": "s3cret"},
            {"Authorization": "Bearer "},
        ):
            for path in ("/api/v1/studies", "/dicom-web/studies", "/api/v1/openapi.json", "/nothing"):
                assert client.get(path, headers=shown).status_code == 401
        assert client.get("/api/v1/studies", headers={"Authorization": "bearer s3cret"}).json() == []
        assert client.get("/health/live").status_code == 200


def test_whoever_guesses_tokens_waits(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    with Receipt(tmp_path, Reserve(0, 0)) as taking, closing(open_database(tmp_path)) as memory:
        web, now = Web(tmp_path, taking, memory, http={"token_file": tmp_path / "token"}), [0.0]
        object.__setattr__(web.context, "attempts", Attempts(lambda: now[0]))

        def ask(token: str) -> int:
            return int(web.client.get("/api/v1/studies", headers={"Authorization": f"Bearer {token}"}).status_code)

        assert [ask("old") for _ in range(2 * MOST_TRIES)] == [401] * 2 * MOST_TRIES, "one wrong one is no guessing"
        assert ask("s3cret") == 200
        assert [ask(f"{at}") for at in range(MOST_TRIES - 1)] == [401] * (MOST_TRIES - 1)
        assert ask("s3cret") == 429 and web.client.get("/health/live").status_code == 200
        waits = web.client.get("/api/v1/studies", headers={"Authorization": "Bearer x"})
        assert 0 < int(waits.headers["retry-after"]) <= WITHIN_S and waits.json()["problem"]
        now[0] += WITHIN_S + 1
        assert ask("s3cret") == 200


def test_an_address_is_a_network_where_each_caller_has_many() -> None:
    def address(host: str) -> str:
        return address_of(Request({"type": "http", "client": (host, 1), "headers": []}))

    assert address("10.0.0.1") != address("10.0.0.2") and address("2001:db8::1") == address("2001:db8:0:0:ffff::2")
    assert address("2001:db8::1") != address("2001:db8:0:1::1") and address("fe80::1%eth0") == address("fe80::2%eth0")


def test_every_answer_says_what_a_browser_may_do_with_it(web: Web) -> None:
    for path in ("/api/v1/studies", "/nothing", "/health/live"):
        headers = web.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"] and headers["cache-control"] == "no-store"


def test_what_is_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with Receipt(tmp_path, Reserve(0, 0)) as taking, closing(open_database(tmp_path)) as memory:
        client = Web(tmp_path, taking, memory, http={"most_bytes": 2**20}).client
        assert client.post("/api/v1/studies", content=b"x" * (2**20 + 1)).status_code == 413
        assert client.post("/api/v1/studies", content=iter([b"x"])).status_code == 413


# Studies in


def test_images_come_alone_or_in_a_zip(web: Web) -> None:
    files = images()
    one = web.client.post("/api/v1/studies", content=files[0])
    assert one.status_code == 200 and one.json() == {"studies": [STUDY], "kept": 1, "refused": []}
    every = web.client.post("/api/v1/studies", content=zipped(*files, notes=b"no image"))
    assert every.status_code == 200 and every.json()["kept"] == SLICES and len(every.json()["refused"]) == 1
    [study] = web.client.get("/api/v1/studies").json()
    assert (study["uid"], study["instances"], study["state"], study["source"]) == (STUDY, SLICES, "received", "http")


def test_of_a_zip_that_is_damaged_further_on_it_is_said_what_was_kept(web: Web) -> None:
    first, second = images()[:2]
    whole = zipped(first, second)
    at = whole.rindex(b"PK\x03\x04") + 60
    answer = web.client.post("/api/v1/studies", content=whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :])
    [damaged] = answer.json()["refused"]
    assert answer.status_code == 200 and answer.json()["studies"] == [STUDY] and answer.json()["kept"] == 1
    assert "damaged" in damaged["reason"] and damaged["uid"] is None
    assert web.client.get("/api/v1/studies").json()[0]["instances"] == 1


@pytest.mark.parametrize("content", [b"", b"no image", b"PK\x03\x04 no zip", zipped(), zipped(big=b"\0" * 10**7)])
def test_what_is_no_study_is_refused(content: bytes, web: Web) -> None:
    answer = web.client.post("/api/v1/studies", content=content)
    assert answer.status_code == 422 and web.client.get("/api/v1/studies").json() == []


def test_a_full_disk_is_said_as_that(tmp_path: Path) -> None:
    with Receipt(tmp_path, Reserve(2**60, 0)) as taking, closing(open_database(tmp_path)) as memory:
        web = Web(tmp_path, taking, memory)
        assert web.client.post("/api/v1/studies", content=images()[0]).status_code == 507
        body, headers = related(images()[0])
        answer = web.client.post("/dicom-web/studies", content=body, headers=headers)
        assert answer.status_code == 409 and answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA700]


def test_stow_keeps_and_tells_of_each(web: Web) -> None:
    files = images()
    body, headers = related(*files)
    stored = web.client.post("/dicom-web/studies", content=body, headers=headers)
    assert stored.status_code == 200 and len(stored.json()["00081199"]["Value"]) == SLICES
    other = images(PatientID="other")
    body, headers = related(files[0], other[1], b"no image")
    some = web.client.post(f"/dicom-web/studies/{STUDY}", content=body, headers=headers)
    reasons = [item["00081197"]["Value"][0] for item in some.json()["00081198"]["Value"]]
    assert some.status_code == 202 and reasons == [0x0111, 0xC000]
    body, headers = related(files[0], kind="text/plain")
    assert web.client.post("/dicom-web/studies", content=body, headers=headers).status_code == 409
    for wrong in ({"Content-Type": "application/dicom"}, {"Content-Type": "multipart/related; boundary=other"}):
        assert web.client.post("/dicom-web/studies", content=body, headers=wrong).status_code == 422


def test_what_was_cut_off_does_not_take_the_place_of_the_whole(web: Web) -> None:
    whole = images()[0]
    for cut in (whole[:-80], whole[:700]):
        body, headers = related(cut)
        stored = web.client.post("/dicom-web/studies", content=body, headers=headers)
        assert stored.status_code == 409 and stored.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xC000]
        alone = web.client.post("/api/v1/studies", content=cut)
        assert alone.status_code == 422 and "cut off" in alone.json()["refused"][0]["reason"]
    assert web.client.post("/api/v1/studies", content=whole).json()["kept"] == 1


def test_what_is_sent_to_another_study_is_refused_and_not_kept(web: Web) -> None:
    ours, other = images()[0], images("1.2.4")[0]
    body, headers = related(ours, other)
    some = web.client.post(f"/dicom-web/studies/{STUDY}", content=body, headers=headers)
    [failed] = some.json()["00081198"]["Value"]
    assert some.status_code == 202 and failed["00081197"]["Value"] == [0xC000]
    assert [one["uid"] for one in web.client.get("/api/v1/studies").json()] == [STUDY]
    body, headers = related(other)
    assert web.client.post(f"/dicom-web/studies/{STUDY}", content=body, headers=headers).status_code == 409


def test_a_search_that_cannot_be_made_finds_nobody_else(web: Web) -> None:
    web.take(*images())
    for asked in ("PatientID=P-1", "00100020=P-1", "PatientName=*", f"StudyInstanceUID={STUDY}&ModalitiesInStudy=CT"):
        answer = web.client.get(f"/dicom-web/studies?{asked}")
        assert answer.status_code == 400 and "StudyInstanceUID" in answer.json()["problem"]
    assert web.client.get(f"/dicom-web/studies/{STUDY}/instances?SOPInstanceUID=1").status_code == 400
    usual = "includefield=all&fuzzymatching=false&limit=1"
    assert len(web.client.get(f"/dicom-web/studies?{usual}").json()) == 1
    assert len(web.client.get(f"/dicom-web/studies/{STUDY}/instances?limit=2&offset=1").json()) == 2


def test_what_is_held_comes_back_unchanged(web: Web) -> None:
    files = images()
    web.take(*files)
    [study] = web.client.get("/dicom-web/studies", params={"StudyInstanceUID": STUDY}).json()
    assert study["0020000D"]["Value"] == [STUDY] and study["00201208"]["Value"] == [SLICES]
    none = web.client.get("/dicom-web/studies", params={"StudyInstanceUID": "1.9"})
    assert none.status_code == 204 and none.content == b"" and none.headers.get("content-length", "0") == "0"
    whole = web.client.get(f"/dicom-web/studies/{STUDY}")
    parts = parts_of(whole.content, whole.headers["content-type"])
    assert sorted(content for _, content in parts) == sorted(files)
    item = web.client.get(f"/dicom-web/studies/{STUDY}/instances").json()[2]
    where = f"/dicom-web/studies/{STUDY}/series/{item['0020000E']['Value'][0]}/instances/{item['00080018']['Value'][0]}"
    alone = web.client.get(where)
    [(kind, content)] = parts_of(alone.content, alone.headers["content-type"])
    assert kind == "application/dicom" and content in files
    assert web.client.get("/dicom-web/studies/1.9").status_code == 404
    assert web.client.get("/dicom-web/studies/..%2f..%2fetc").status_code in (404, 422)


def test_what_is_missing_is_waited_for_no_longer(web: Web) -> None:
    files = images()
    web.take(*files[:2], *files[3:])
    assert web.client.post(f"/api/v1/studies/{STUDY}/close").status_code == 409
    assert web.intake(**NO_RECORD).look(web.memory, set(), web.now + QUIET_S) == 0
    assert web.client.post(f"/api/v1/studies/{STUDY}/close").json()["closed"] is not None
    assert web.client.post(f"/api/v1/studies/{STUDY}/close").status_code == 409
    assert web.client.post("/api/v1/studies/1.9/close").status_code == 404


# Records and answers


def test_a_record_frees_its_study(web: Web) -> None:
    web.take(*images(PatientID="A-1"))
    assert web.intake().look(web.memory, set(), web.now + QUIET_S) == 1
    other = web.client.post("/api/v1/records", content=json.dumps({"patient_id": "B", "sex": "F"}))
    assert other.status_code == 200 and other.json()["queued"] == []
    given = web.client.post(f"/api/v1/studies/{STUDY}/record", content=b'{"sex": "F"}', params={"author": "reader"})
    assert given.json()["queued"] == [1] and web.client.get("/api/v1/answers/1").json()["state"] == "queued"
    assert web.client.post("/api/v1/studies/1.9/record", content=b"{}").status_code == 404
    refused = web.client.post("/api/v1/records", content=b"no json")
    assert refused.status_code == 422 and refused.json()["exit_code"] == 4 and refused.json()["problem"]


def test_another_patients_record_is_refused_at_the_door(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    web.take(*images(PatientID="A-1"))
    web.intake().look(web.memory, set(), web.now + QUIET_S)
    other = json.dumps({"patient_id": "SENTINEL", "sex": "F"})
    refused = web.client.post(f"/api/v1/studies/{STUDY}/record", content=other)
    assert refused.status_code == 422 and refused.json()["exit_code"] == 4 and refused.json()["remedies"]
    assert web.client.post("/api/v1/records", content=other).json()["queued"] == []
    assert web.client.get("/api/v1/answers/1").json()["state"] == "waiting-record"
    [problem] = web.client.get("/api/v1/problems").json()
    assert problem["study"] == STUDY and "different patients" in problem["detail"]
    assert "different patients" in caplog.text and "SENTINEL" not in caplog.text + json.dumps(problem)


def test_a_result_is_read_and_what_is_missing_is_said(web: Web) -> None:
    answer = web.answered()
    assert web.client.get(f"/api/v1/answers/{answer}/result").json() == {"label": "quiet"}
    report = web.client.get(f"/api/v1/answers/{answer}/structured-report")
    assert report.content == b"DICM" and report.headers["content-type"] == "application/dicom"
    study = web.client.get(f"/api/v1/studies/{STUDY}").json()
    assert [one["kind"] for one in study["answers"][0]["objects"]] == ["result", "structured-report"]
    for path in ("answers/99", f"answers/{answer}/fhir", "answers/99/result", "studies/1.9"):
        assert web.client.get(f"/api/v1/{path}").status_code == 404
    for path in (f"answers/{answer}/..%2f..%2fkey", "answers/0", "answers/x", "studies?limit=0", "studies?state=gone"):
        assert web.client.get(f"/api/v1/{path}").status_code in (404, 422)


def test_a_person_cancels_and_tries_again(web: Web) -> None:
    web.take(*images())
    web.intake(**NO_RECORD).look(web.memory, set(), web.now + QUIET_S)
    cancelled = web.client.post("/api/v1/answers/1/cancel")
    assert cancelled.json()["state"] == "cancelled"
    assert web.client.post("/api/v1/answers/1/cancel").status_code == 409
    assert web.client.post("/api/v1/answers/1/retry", json={"hours": 1}).json()["state"] == "queued"
    assert web.client.post("/api/v1/answers/1/retry", json={"hours": 1}).status_code == 409
    assert web.client.post("/api/v1/answers/9/cancel").status_code == 404
    assert web.client.post("/api/v1/answers/1/retry", json={"hours": -1}).status_code == 422
    assert [one["state"] for one in web.client.get("/api/v1/studies?state=queued").json()[0]["answers"]] == ["queued"]
    assert web.client.get("/api/v1/studies?state=failed").json() == []


def test_a_better_record_is_taken_when_it_is_tried_again(web: Web) -> None:
    web.take(*images(PatientID="A-1"))
    web.records[STUDY] = web.client.post("/api/v1/records", content=b'{"patient_id": "A-1", "age": 200}').json()[
        "record"
    ]
    assert web.intake().look(web.memory, set(), web.now + QUIET_S) == 1
    claimed = answers.claim(web.memory, "lung", "runner", web.now)
    assert claimed is not None and claimed.record == 1
    why = {"problem": "age", "remedies": [], "exit_code": 4}
    assert answers.give_up(web.memory, claimed, "runner", web.now, "refused", **why)  # type: ignore[arg-type]
    web.client.post(f"/api/v1/studies/{STUDY}/record", content=b'{"patient_id": "A-1", "age": 60}')
    assert web.client.post("/api/v1/answers/1/retry", json={"hours": 1}).json()["record"] == 2


def test_what_may_be_done_is_said_and_carries_what_a_remedy_names(web: Web) -> None:
    web.take(*images())
    web.intake(**NO_RECORD).look(web.memory, set(), web.now + QUIET_S)

    def asked() -> list[tuple[str, Any]]:
        return [(one["do"], one["options"]) for one in web.client.get("/api/v1/answers/1").json()["actions"]]

    assert asked() == [("cancel", {})]
    claimed = answers.claim(web.memory, "lung", "runner", web.now)
    assert claimed is not None and claimed.options == {}
    remedies = [
        Remedy("Accept it", option="gaps", value="interpolate"),
        Remedy("Keep the first", option="duplicates"),
        Remedy("Choose one", option="series", value="2"),
        Remedy("Choose one", option="series", value="t2=3"),
        Remedy("Leave it out", option="strict"),
        Remedy("Accept that", option="allow_id_mismatch"),
        Remedy("Look", command="mmcaf doctor"),
    ]
    why = {"problem": "p", "remedies": remedies, "exit_code": 3}
    assert answers.give_up(web.memory, claimed, "runner", web.now, "refused", **why)  # type: ignore[arg-type]
    values = {"gaps": "interpolate", "duplicates": "first", "series": "2", "strict": False}
    options = [{name: value} for name, value in values.items()]
    options.insert(3, {"series": None})
    assert asked() == [("retry", one) for one in [*options, {}]]
    for wrong in ({"gaps": "fill"}, {"series": "../x"}, {"strict": True}, {"allow_id_mismatch": True}):
        assert web.client.post("/api/v1/answers/1/retry", json={"options": wrong}).status_code == 422
    changed = web.client.post("/api/v1/answers/1/retry", json={"options": {"gaps": "interpolate"}}).json()
    assert changed["state"] == "queued" and changed["options"] == {"gaps": "interpolate"}
    assert asked() == [("cancel", {})]
    claimed = answers.claim(web.memory, "lung", "runner", web.now)
    assert claimed is not None and claimed.options == {"gaps": "interpolate"}
    why["exit_code"] = 4
    assert answers.give_up(web.memory, claimed, "runner", web.now, "refused", **why)  # type: ignore[arg-type]
    assert ("record", {}) in asked()
    changed = web.client.post("/api/v1/answers/1/retry", json={"options": {"tilt": "resample"}}).json()
    assert changed["options"] == {"gaps": "interpolate", "tilt": "resample"}


def test_of_a_part_nothing_is_answered_though_a_person_asks(web: Web) -> None:
    files = images()
    web.take(*files[:-1])
    web.intake(**NO_RECORD).look(web.memory, set(), web.now + QUIET_S)
    assert web.client.post("/api/v1/answers/1/cancel").status_code == 200
    web.memory.execute("update study set expected = ?", (SLICES,))
    assert web.client.post("/api/v1/answers/1/retry", json={"hours": 1}).status_code == 409
    web.take(files[-1])
    assert web.client.post("/api/v1/answers/1/retry", json={"hours": 1}).status_code == 409, "of the last generation"
    web.intake(**NO_RECORD).look(web.memory, set(), web.now + QUIET_S)
    assert web.client.get("/api/v1/answers/2").json()["state"] == "queued"


def test_what_is_wrong_is_said_without_the_value(web: Web) -> None:
    answer = web.client.get("/api/v1/studies", params={"limit": "SENTINEL"})
    assert answer.status_code == 422 and "limit" in answer.json()["problem"] and "SENTINEL" not in answer.text


def test_a_bug_is_said_as_one_and_quotes_nothing(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmcaf_engine.service import views

    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("SENTINEL")

    monkeypatch.setattr(views, "list_studies", broken)
    answer = web.client.get("/api/v1/studies")
    assert answer.status_code == 500 and answer.json()["exit_code"] == 1 and "SENTINEL" not in answer.text


# Health


def test_ready_is_when_every_process_is(web: Web) -> None:
    answer = web.client.get("/health/ready")
    assert answer.status_code == 503 and answer.json()["missing"] == ["receiver", "runner lung", "web"]
    with ExitStack() as stack:
        for role in ("receiver", "runner lung", "web"):
            stack.enter_context(alive(web.memory, role))
        assert web.client.get("/health/ready").json() == {"status": "ready", "missing": []}
        web.memory.execute("update process set seen = ? where role = 'web'", (time.time() - 60,))
        assert web.client.get("/health/ready").json()["missing"] == ["web"]
    assert web.client.get("/health/ready").status_code == 503


def test_figures_for_prometheus(web: Web) -> None:
    web.answered()
    text = web.client.get("/metrics").text
    assert 'mmcaf_answers{state="written"} 1.0' in text and "mmcaf_studies_received 0.0" in text
    assert 'mmcaf_stage_seconds_count{stage="queued"} 1.0' in text and "mmcaf_spool_free_bytes" in text
