"""What each process of the service does, from its start until it is told to end."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial

from ..errors import CancelledError, ServiceError
from ..manifest import Manifest
from .bundles import load, opened
from .choice import lineups, read_choices
from .config import Config
from .counts import counter_for
from .database import open_database, transaction
from .delivery import commit, expire
from .dimse.receiver import Receiver
from .disk import Reserve, is_full
from .extra import serve_package
from .folder import WatchedFolder
from .intake import Intake
from .keys import spool_key
from .life import alive
from .receipt import Receipt
from .record_folder import RecordFolder
from .record_search import RecordSearch
from .records import find_record
from .retention import prune
from .runner import Runner
from .sender import Sender

log = logging.getLogger(__name__)

STEP_S = 0.05
"""Between two looks whether there is something to do, which cost little."""
IDLE_S = 0.2
"""Between two looks at what there is to do."""
TIDY_S = 60.0
FULL_S = 2.0
"""Until the next try where the disk is full."""
AT_ONCE = 4
"""Deliveries to one destination: one that stalls keeps no other answer, and no other destination, waiting."""

Ended = threading.Event


def receive(config: Config, ended: Ended) -> None:
    """Take images, and find out when a study is whole.

    Raises:
        ServiceError, BundleError: it cannot start.
    """
    key, reserve = spool_key(config.spool), reserve_of(config)
    manifests = Manifests(config)
    archives = [str(one.ae_title) for one in config.destination if one.commitment]

    def report(transaction_uid: str, kept: int, lost: Sequence[str]) -> bool:
        with closing(open_database(config.spool)) as connection:
            return commit(connection, transaction_uid, kept, lost, time.time())

    with ExitStack() as stack:
        memory = stack.enter_context(closing(open_database(config.spool)))
        for one in lineups(config, read_choices(memory)).values():
            manifests[one.answers]  # What cannot be loaded is said before anything is taken.
        receipt = stack.enter_context(Receipt(config.spool, reserve))
        receiver = None
        if config.dicom is not None:
            receiver = Receiver(config.dicom, receipt, reserve, key, archives=archives, report=report)
            stack.enter_context(receiver)
        intake = Intake(config, manifests, count=counter_for(config), find_record=find_record, since=time.time())
        watched = None if config.folder is None else WatchedFolder(config.folder, receipt, key)
        with alive(memory, "receiver") as sign:
            tidied = 0.0

            def look() -> None:
                nonlocal tidied
                sign()
                if time.time() - tidied >= TIDY_S:
                    tidied = time.time()
                    prune(memory, config.spool, config.retention, tidied)
                    with transaction(memory):
                        expire(memory, tidied)
                if watched is not None:
                    watched.look()
                busy = frozenset() if receiver is None else receiver.busy()
                intake.look(memory, busy, time.time())

            while not ended.wait(IDLE_S):
                bear_full_disk(look, ended)


class Manifests(dict[str, Manifest]):
    """Bundle -> its manifest, loaded when it is first asked for: a shadow's may be broken, and nobody needs it.

    Raises:
        BundleError, ServiceError: of a bundle that cannot be loaded.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._settings = {one.name: one for one in config.bundle}

    def __missing__(self, name: str) -> Manifest:
        self[name] = load(self._settings[name]).manifest
        return self[name]


def answer(config: Config, bundle: str, ended: Ended) -> None:
    """Answer what is queued for one bundle.

    Raises:
        ServiceError: there is no such bundle. BundleError, BackendError: it cannot be opened, or failed its self-test.
    """
    settings = next((one for one in config.bundle if one.name == bundle), None)
    if settings is None:
        raise ServiceError(f"The configuration has no bundle {bundle}.")
    owner = f"runner {bundle}"
    with closing(open_database(config.spool)) as memory, opened(settings) as answerer:
        runner = Runner(config, bundle, answerer, owner, ended=ended)
        with alive(memory, owner) as sign:
            work(lambda: runner.step(memory), sign, ended)


def find_records(config: Config, ended: Ended) -> None:
    """Take records from the watched folder, and search for those that studies wait for.

    Raises:
        ServiceError, BundleError: it cannot start.
    """
    key, settings = spool_key(config.spool), config.records
    manifests = Manifests(config)
    with closing(open_database(config.spool)) as memory, alive(memory, "records") as sign:

        def between() -> None:
            sign()
            if ended.is_set():
                raise CancelledError("The service stops.")

        folder = None if settings.folder is None else RecordFolder(settings.folder, config.spool, key)
        search = None if settings.fhir_url is None else RecordSearch(config, manifests, key, between=between)

        def step() -> bool:
            taken = 0 if folder is None else folder.look(memory)
            return bool(search is not None and search.step(memory)) or taken > 0

        with suppress(CancelledError):
            work(step, sign, ended)


def send(config: Config, ended: Ended) -> None:
    """Take frozen results to their destinations.

    Raises:
        ServiceError: a certificate or token cannot be read.
    """
    owners = [(one.name, f"sender {one.name} {at}") for one in config.destination for at in range(AT_ONCE)]
    senders = [Sender(config, owner, to=name) for name, owner in owners]
    with closing(open_database(config.spool)) as memory, alive(memory, "sender") as sign:
        side_by_side([partial(_send, config, sender) for sender in senders], sign, ended)


def _send(config: Config, sender: Sender, ended: Ended) -> None:
    with closing(open_database(config.spool)) as memory:
        work(lambda: sender.step(memory), lambda: None, ended)


def serve_http(config: Config, ended: Ended) -> None:
    """The HTTP interface.

    Raises:
        ServiceError: it cannot listen there, or a certificate or token cannot be read. BackendError: a package of the
            extra is not installed.
    """
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        serve_package(package)
    from .web.app import http_server
    from .web.context import Context

    with closing(open_database(config.spool)) as memory, Receipt(config.spool, reserve_of(config), "web") as receipt:
        server = http_server(Context.of(config, receipt))
        thread = threading.Thread(target=server.run, name="http")
        thread.start()
        try:
            with alive(memory, "web") as sign:
                while not ended.wait(IDLE_S):
                    bear_full_disk(sign, ended)
                    if not thread.is_alive():
                        http = config.http
                        where = "" if http is None else f" at {http.host} port {http.port}"
                        raise ServiceError(
                            f"HTTP cannot be served{where}.", "Choose another port, or end the program that has it."
                        )
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


def work(step: Callable[[], bool], sign: Callable[[], None], ended: Ended) -> None:
    """One step after another while there are any, else a short rest."""

    def signed() -> bool:
        sign()
        return step()

    while not ended.is_set():
        if not bear_full_disk(signed, ended):
            ended.wait(STEP_S)


def bear_full_disk(step: Callable[[], bool | None], ended: Ended) -> bool:
    """Whether a step did something; where the disk is full, nothing is lost, and after a while it is tried again."""
    try:
        return bool(step())
    except (OSError, sqlite3.Error) as failure:
        if not is_full(failure):
            raise
        log.warning("the spool's disk is full; it is tried again in %g s", FULL_S)
        ended.wait(FULL_S)
        return False


def side_by_side(tasks: Sequence[Callable[[Ended], None]], sign: Callable[[], None], ended: Ended) -> None:
    """Each task in a thread of its own, until told to end or one fails: then all end, and its fault is raised."""
    over = threading.Event()

    def run(task: Callable[[Ended], None]) -> None:
        try:
            task(over)
        finally:
            over.set()

    with ThreadPoolExecutor(max(1, len(tasks))) as pool:
        running = [pool.submit(run, task) for task in tasks]
        while not (over.is_set() or ended.wait(IDLE_S)):
            sign()
        over.set()
    for one in running:
        one.result()


def reserve_of(config: Config) -> Reserve:
    """What stays free on the spool's disk."""
    return Reserve(config.disk.reserve_mib * 2**20, config.disk.hard_mib * 2**20)
