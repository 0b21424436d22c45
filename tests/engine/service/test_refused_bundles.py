"""A bundle that was altered, or that is an older signed release, answers nothing: its study waits, and all see why."""

import json
import shutil
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.service.test_intake import CT, QUIET_S, Desk, images
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.service.__main__ import run
from mmcaf_engine.service.config import read_config
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.intake import Intake
from mmcaf_engine.service.life import NOT_STARTED, alive
from mmcaf_engine.service.receipt import Receipt
from mmcaf_engine.service.views import newest_events
from signed_bundles import new_key, sign
from tampering import forge, tampered

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from mmcaf_engine.service.web.app import application
from mmcaf_engine.service.web.context import Context


class House:
    """A service with one whole study that is to be answered."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.folder, self.bundle = folder, folder / "tiny.mmcaf"
        shutil.copytree(bundle, self.bundle)
        self.file, self.spool = folder / "serve.toml", folder / "spool"
        self.spool.mkdir(mode=0o700)
        self.configure()
        config = read_config(self.file)
        with Receipt(self.spool, Reserve(0, 0)) as taking, closing(open_database(self.spool)) as memory:
            desk = Desk(self.spool, taking, memory)
            desk.take(*images())
            assert Intake(config, {"tiny": CT}).look(memory, set(), desk.now + QUIET_S) == 1

    def configure(self, **bundle: Any) -> None:
        fields = {"name": "tiny", "path": "tiny.mmcaf", "backend": "onnxruntime", **bundle}
        said = ", ".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
        route = 'route = [{bundle = "tiny", record = "optional"}]'
        self.file.write_text(f'spool = "spool"\nbundle = [{{{said}}}]\n{route}\ncompleteness.quiet_s = 1\n')

    def start(self, role: str = "runner") -> int:
        """A process that ends at once where it can start."""
        ended = threading.Event()
        ended.set()
        return run(role, "tiny" if role == "runner" else "", self.file, ended)

    def problems(self) -> list[str]:
        with closing(open_database(self.spool)) as memory:
            return [one.detail for one in newest_events(memory, NOT_STARTED, limit=9)]

    def seen(self) -> tuple[Any, Any, Any]:
        """Whether it is ready, the study's state, and the problems, over HTTP."""
        with Receipt(self.spool, Reserve(0, 0), "web") as taking:
            client = TestClient(application(Context.of(read_config(self.file), taking)), "http://localhost")
            [study] = client.get("/api/v1/studies").json()
            ready = client.get("/health/ready")
            return ready.json()["missing"], study["answers"][0]["state"], client.get("/api/v1/problems").json()


@pytest.fixture
def house(tmp_path: Path, tiny_bundle_source: Path) -> House:
    return House(tmp_path, tiny_bundle_source)


def test_a_whole_bundle_is_opened(house: House) -> None:
    assert house.start() == 0 and house.problems() == []


@pytest.mark.parametrize("sealed", [False, True], ids=["bytes", "bytes-and-hash"])
def test_an_altered_bundle_answers_nothing(sealed: bool, house: House, caplog: pytest.LogCaptureFixture) -> None:
    other = tampered((house.bundle / "model.onnx").read_bytes())
    if sealed:
        forge(house.bundle, "model.onnx", other)
    else:
        (house.bundle / "model.onnx").write_bytes(other)
    code = house.start()
    assert code in (5, 6) and "tiny" in caplog.text
    missing, state, [problem] = house.seen()
    assert "runner tiny" in missing and state == "queued" and problem["state"] == NOT_STARTED
    assert "runner tiny" in problem["detail"] and problem["detail"].removeprefix("runner tiny: ") in caplog.text


def test_an_older_signed_release_answers_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    key = new_key("lab")
    manifest = json.loads((house.bundle / "manifest.json").read_text())
    older = tmp_path / "older"
    for release in (1, 2):
        (house.bundle / "manifest.json").write_text(json.dumps({**manifest, "release": release}))
        sign(house.bundle, key)
        if release == 1:
            shutil.copytree(house.bundle, older)
    house.configure(require_signature=True)
    assert house.start() == 0 and load_bundle(house.bundle).manifest.release == 2
    shutil.rmtree(house.bundle)
    shutil.copytree(older, house.bundle)
    assert house.start() == 5
    missing, state, [problem] = house.seen()
    assert "runner tiny" in missing and state == "queued"
    for said in (problem["detail"], caplog.text):
        assert "release 1" in said and "release 2" in said
    monkeypatch.setenv("MMCAF_ALLOW_OLDER_RELEASE", "1")
    assert house.start() == 0


def test_a_bundle_that_nobody_signed_answers_nothing_where_that_is_asked_for(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.configure(require_signature=True)
    assert house.start() == 9 and "no signature of a trusted key" in caplog.text
    assert "no signature" in house.problems()[0]


def test_what_keeps_a_process_from_starting_is_kept_once_until_it_ran(house: House) -> None:
    (house.bundle / "model.onnx").write_bytes(b"")
    for _ in range(3):
        house.start()
    assert len(house.problems()) == 1
    with closing(open_database(house.spool)) as memory, alive(memory, "runner tiny"):
        pass
    house.start()
    assert len(house.problems()) == 2
