"""A service in one process, whose steps a test takes: what comes in, is answered and is sent, and its pages."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from dicom_factory import ct_series, hounsfield
from engine.service.test_intake import encoded
from mmcaf_engine.pipeline import Answerer
from mmcaf_engine.service.config import Config
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.headers import identify
from mmcaf_engine.service.intake import Intake
from mmcaf_engine.service.receipt import Receipt
from mmcaf_engine.service.records import find_record
from mmcaf_engine.service.runner import Runner
from mmcaf_engine.service.sender import Sender
from mmcaf_engine.service.web.app import application, http_server
from mmcaf_engine.service.web.context import Context

PATIENT = {"PatientID": "P-77", "PatientName": "Muster^Anna Maria", "PatientSex": "F", "PatientAge": "060Y"}
SLICES = 5
ENOUGH = 12
"""Slices of which one may be interpolated."""


class Ward:
    """One spool. answerer: of the bundle `tiny`, opened once for all tests."""

    def __init__(self, folder: Path, stack: ExitStack, answerer: Answerer, **settings: Any) -> None:
        self.spool = folder / "spool"
        self.spool.mkdir(mode=0o700)
        fields: dict[str, Any] = {
            "spool": self.spool,
            "bundle": [{"name": "tiny", "path": answerer.bundle.folder}],
            "completeness": {"quiet_s": 0},
            "disk": {"reserve_mib": 0, "hard_mib": 0},
            **settings,
        }
        self.config = Config.model_validate(fields)
        self.taking = stack.enter_context(Receipt(self.spool, Reserve(0, 0)))
        self.memory = stack.enter_context(closing(open_database(self.spool)))
        self.context = Context.of(self.config, self.taking)
        self.answerer = answerer
        self.now = time.time()

    def client(self, address: str = "http://localhost") -> TestClient:
        """A browser that follows no redirection by itself."""
        return TestClient(self.pages, address, raise_server_exceptions=False, follow_redirects=False)

    @cached_property
    def pages(self) -> FastAPI:
        """All that is served."""
        return application(self.context)

    def waits(self) -> None:
        """A study without an image, whose answer waits for a record."""
        self.memory.execute("insert into study(uid, state, first, last) values('1.2.3', 'complete', 1, 1)")
        self.memory.execute(
            "insert into answer(study, generation, bundle, state, rank, priority, created, changed) "
            "values('1.2.3', 1, 'tiny', 'waiting-record', 0, 1, '', 1)"
        )

    def take(self, study: str = "1.2.3", *, without: int | None = None, slices: int = SLICES, **elements: Any) -> None:
        """A study comes, whole or without one slice."""
        uids = {"StudyInstanceUID": study, "series_uid": f"{study}.1", **PATIENT, **elements}
        for at, image in enumerate(ct_series(hounsfield(slices), **uids)):
            if at != without:
                self.taking.receive(identify(encoded(image), "image", "CT1", self.context.key))

    def whole(self, late_s: float = 1.0) -> int:
        """What has come is looked at, so long after it came."""
        manifests = {"tiny": self.answerer.bundle.manifest}
        return Intake(self.config, manifests, find_record=find_record).look(self.memory, (), time.time() + late_s)

    def answer(self) -> bool:
        """One step of the runner."""
        return Runner(self.config, "tiny", self.answerer, "runner tiny").step(self.memory)

    def send(self, **carriers: Any) -> bool:
        """One step of the sender."""
        return Sender(self.config, "sender", carriers=carriers or None).step(self.memory)

    def states(self) -> list[str]:
        """Of all answers."""
        return [row["state"] for row in self.memory.execute("select state from answer order by id")]

    @contextmanager
    def listening(self, port: int) -> Iterator[str]:
        """The pages, served for a browser."""
        server = http_server(self.context)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            ended = time.monotonic() + 20
            while not server.started and time.monotonic() < ended:
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join()
