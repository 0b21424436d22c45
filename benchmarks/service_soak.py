"""Small studies for 20 minutes, through proxies that break connections on both sides, to an archive that stops.

    python benchmarks/service_soak.py --output benchmarks/results/service_soak.csv

storescu sends each study again until all of it was acknowledged. Orthanc ends by SIGTERM, by SIGKILL, and stands still,
each for a while. Afterwards every study must be delivered, with one object of each kind in the archive. A row is of one
process of the service: its resident memory, median of the samples in the fifth after the first quarter of the time and
in the last fifth, and its open descriptors, idle before and after. Not 0 if one grew by 5 % or more, or a descriptor is
left. Needs orthanc and dcmtk; runs itself again in a network of its own.
"""

import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import usage
from fault_proxy import FaultProxy, kinds
from rows import environment, write_rows
from service_lab import (
    PORT,
    TITLE,
    Service,
    Slices,
    in_archive,
    in_its_own_network,
    orthanc,
    store,
    versions,
    wait_until,
)
from service_throughput import PICTURE, REPORT

NEAR, FAR = 11113, 4243
"""Where senders find the service, and the service the archive: the proxies."""
SENDERS = 6
DOWN_S = 15.0
SAMPLE_S = 5.0
MOST_GROWTH = 0.05
QUIET_S = 25
"""Longer than a sender needs to notice two broken connections and to send again: else a part is taken for a study."""
SETTINGS = f"""
completeness = {{quiet_s = {QUIET_S}}}
retention = {{images_h = 0.02, results_h = 0.05}}
disk = {{reserve_mib = 1024, hard_mib = 512}}
"""


class Archive(threading.Thread):
    """Orthanc, ended and started again at three moments; what it stored stays."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__()
        self._folder, self._seconds = folder, seconds
        self._ended, self.up = threading.Event(), threading.Event()
        self.stops = 0
        folder.mkdir()

    def run(self) -> None:
        """Until `stop`."""
        pauses = [signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP]
        while True:
            with orthanc(kept=self._folder) as running:
                self.up.set()
                while pauses:
                    how = pauses.pop(0)
                    if self._ended.wait(self._seconds / 4):
                        break
                    self.stops += 1
                    running.send_signal(how)
                    self.up.clear()
                    self._ended.wait(DOWN_S)
                    running.send_signal(signal.SIGCONT)
                    self.up.set()
                    if how != signal.SIGSTOP:
                        break
                else:
                    self._ended.wait()
            if self._ended.is_set():
                return

    def stop(self) -> None:
        """For good."""
        self._ended.set()
        self.join()


class Samples(threading.Thread):
    """Resident memory of the service's processes. found: role -> seconds since its start and bytes."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service, self._began = service, time.monotonic()
        self.found: dict[str, list[tuple[float, int]]] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        """Until `ended` is set; what has become of the studies is said every minute."""
        told = self._began
        while not self.ended.wait(SAMPLE_S):
            if time.monotonic() - told >= 60:
                told = time.monotonic()
                rows = self._service.rows("select state, count(*) from answer group by state")
                print(
                    f"{told - self._began:.0f} s: {', '.join(f'{count} {state}' for state, count in rows)}", flush=True
                )
            for role, pid in self._service.processes().items():
                self.found.setdefault(role, []).append((time.monotonic() - self._began, resident(pid)))


def main() -> int:
    """Send, wait until all is delivered, and write a row for each process."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--studies", type=usage.count, default=1000)
    asked.add_argument("--minutes", type=usage.seconds, default=20.0)
    asked.add_argument("--seed", type=int, default=0)
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    in_its_own_network()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        rows = soaked(Path(name), arguments.studies, arguments.minutes * 60, arguments.seed)
    facts = environment(["pynetdicom", "highdicom"])
    facts["versions"] += "".join(f" {name}={version}" for name, version in versions().items())
    for one in rows:
        print(one, flush=True)
    write_rows(arguments.output, [{**one, **facts} for one in rows])
    grown = [one["process"] for one in rows if float(one["growth"]) >= MOST_GROWTH]
    left = [one["process"] for one in rows if int(one["descriptors_after"]) > int(one["descriptors_before"])]
    if grown or left:
        print(f"grown: {grown}; descriptors left: {left}", file=sys.stderr)
    return 1 if grown or left else 0


def soaked(scratch: Path, studies: int, seconds: float, seed: int) -> list[dict[str, str]]:
    """The rows."""
    slices = Slices(scratch / "template", 26, size=64)
    archive = Archive(scratch / "archive", seconds)
    with ExitStack() as stack:
        archive.start()
        stack.callback(archive.stop)
        wait_until(archive.up.is_set, 60, "the archive does not start")
        proxies = [
            FaultProxy(NEAR, PORT, seed, sound=0.8),
            FaultProxy(FAR, 4242, seed + 1, sound=0.8, most_bytes=60_000),
        ]
        for proxy in proxies:
            stack.enter_context(proxy)
        service = stack.enter_context(Service(scratch / "service", SETTINGS, archive=FAR, timeout_s=5))
        service.give_record(slices)
        store("CT9", TITLE, PORT, slices.write(scratch / "warm", 0).files)
        wait_until(lambda: delivered(service) == 1, 120, "no first answer")
        time.sleep(5)
        before = descriptors(service)
        samples = Samples(service)
        samples.start()
        stack.callback(samples.ended.set)
        began = time.monotonic()
        tries = send_all(slices, scratch, studies, seconds, began)
        wait_until(archive.up.is_set, 60, "the archive does not come back")
        wait_until(lambda: delivered(service) == studies + 1, 900, "not all is delivered", every=1)
        samples.ended.set()
        took = time.monotonic() - began
        after = settled(service, before)
        check_archive(service, studies + 1)
    growth = grown(samples.found, took)
    return [
        {
            "process": role,
            "studies": str(studies),
            "minutes": f"{took / 60:.1f}",
            "sendings": str(tries),
            "connections": kinds(proxies),
            "archive_stops": str(archive.stops),
            "rss_early_mb": f"{early / 1e6:.1f}",
            "rss_late_mb": f"{late / 1e6:.1f}",
            "growth": f"{late / early - 1:.3f}",
            "descriptors_before": str(before[role]),
            "descriptors_after": str(after[role]),
            "delivered": str(studies + 1),
        }
        for role, (early, late) in sorted(growth.items())
    ]


def send_all(slices: Slices, scratch: Path, studies: int, seconds: float, began: float) -> int:
    """Every study until it is acknowledged, spread over the time; how many times storescu ran."""
    tries = 0
    lock, over = threading.Lock(), threading.Event()

    def send(number: int) -> None:
        nonlocal tries
        over.wait(max(0.0, began + number * seconds / studies - time.monotonic()))
        study = slices.write(scratch / f"sender-{number % SENDERS}", number + 1)
        while not over.is_set():
            with lock:
                tries += 1
            try:
                store(f"CT{number % SENDERS}", TITLE, NEAR, study.files, timeout_s=6)
                return
            except RuntimeError:
                over.wait(0.5)

    pools = [ThreadPoolExecutor(1) for _ in range(SENDERS)]
    try:
        for one in [pools[at % SENDERS].submit(send, at) for at in range(studies)]:
            one.result()
    finally:  # Also where a signal ends it: else the senders would go on.
        over.set()
        for pool in pools:
            pool.shutdown(cancel_futures=True)
    return tries


def delivered(service: Service) -> int:
    """Answers that have arrived."""
    return service.count("select count(*) from answer where state = 'delivered'")


def check_archive(service: Service, studies: int) -> None:
    """Exit unless each study has one answer, and one object of each kind in the archive."""
    other = service.rows("select state, count(*) from answer where state <> 'delivered' group by state")
    uids = {row[0]: row[1] for row in service.rows("select uid, sop_class from object where sop_class <> ''")}
    there = [in_archive(f"/instances/{one}/simplified-tags") for one in in_archive("/instances")]
    found = {one["SOPInstanceUID"]: one["SOPClassUID"] for one in there}
    per_study = {(one["StudyInstanceUID"], one["SOPClassUID"]) for one in there}
    if found != uids or len(there) != 2 * studies or len(per_study) != 2 * studies:
        kinds_there = [sum(kind == one for _, kind in per_study) for one in (REPORT, PICTURE)]
        said = f"{len(there)} objects of {len(uids)} in the archive, reports and pictures of {kinds_there} studies"
        raise SystemExit(f"{said} of {studies}; answers in other states: {[tuple(row) for row in other]}")


def resident(pid: int) -> int:
    """Bytes; 0 of a process that has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def descriptors(service: Service) -> dict[str, int]:
    """Role -> how many files and sockets are open."""
    return {role: len(list(Path(f"/proc/{pid}/fd").iterdir())) for role, pid in service.processes().items()}


def settled(service: Service, before: dict[str, int]) -> dict[str, int]:
    """Descriptors once none is left, or after a minute."""
    ended = time.monotonic() + 60
    while True:
        found = descriptors(service)
        if all(found[role] <= number for role, number in before.items()) or time.monotonic() >= ended:
            return found
        time.sleep(1)


def grown(found: dict[str, list[tuple[float, int]]], took: float) -> dict[str, tuple[float, float]]:
    """Role -> medians of its memory early, after the warm-up, and late."""

    def median(samples: list[tuple[float, int]], first: float, last: float) -> float:
        return statistics.median(size for at, size in samples if first * took <= at <= last * took)

    return {role: (median(samples, 0.25, 0.45), median(samples, 0.8, 1.0)) for role, samples in found.items()}


if __name__ == "__main__":
    usage.run(main)
