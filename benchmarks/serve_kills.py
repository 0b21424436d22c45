"""Kill the service's processes at random moments: no image is lost, no answer is wrong, and the archive has each once.

    python benchmarks/serve_kills.py --kills 200 --output benchmarks/results/serve_kills.csv
    python benchmarks/serve_kills.py --kills 20 --processes sender --control delivered-first    # must lose an answer

Each round sends a study by dcmtk's storescu or by STOW-RS, again and again until all of it is acknowledged, and kills
one process (or all) by SIGKILL, most often at a moment at which that process is seen to work on the study. The archive
is Orthanc, in a network of its own; what it holds at the end is compared, byte by byte, with what the engine answers
undisturbed. Exit status 1 if anything was lost, wrong or twice. Linux; needs orthanc, orthanc-dicomweb, dcmtk and the
extra serve.
"""

import argparse
import hashlib
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import usage
from rows import Budget, RowFile, environment
from serve_house import CONTROLS
from serve_patients import (
    SLICES,
    TEMPLATES,
    TESTS,
    Oracle,
    Posting,
    Study,
    Verdict,
    archive,
    by_storescu,
    fill,
    judge,
    make_studies,
    until,
)
from serve_running import SINGLE, House, Service

SEEN = 0.85
"""Of the kills, so many when the process is seen to work on the study; the rest at any moment."""
PROCESSES = (*SINGLE, "supervisor", "all")
PACKAGES = ("pynetdicom", "pydicom", "onnxruntime", "fastapi")
BUNDLE = "tiny.mmcaf"
ROUND_S, BATCH = 60.0, 20
PER_STUDY = {"receiver": 4, "runner": 2, "sender": 3, "web": 4, "supervisor": 2, "all": 2}
"""Kills while one study comes, is answered and delivered; after three of a runner the study would have failed."""
MOST_S = {"receiver": 0.02, "runner": 0.4, "sender": 0.15, "web": 0.02}
"""After it is seen to work, so long at most."""


@dataclass
class Tally:
    """What became of the kills of one process. between: at which it had begun on a study and was not done."""

    kills: int = 0
    between: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    traces: int = 0
    seconds: float = 0.0

    def add(self, verdict: Verdict) -> None:
        """What the archive holds."""
        self.lost += verdict.lost
        self.wrong += verdict.wrong
        self.twice += verdict.twice


class Rounds:
    """Studies that are sent while one process is killed, each once."""

    def __init__(self, service: Service, name: str, seed: int) -> None:
        self._service, self._name = service, name
        self._draw = random.Random(f"{name} {seed}")
        self.killed: list[tuple[Study, float]] = []

    def round(self, study: Study) -> bool:
        """Send a study, and kill while it is received, answered or delivered; False where it was not delivered."""
        try:
            self._round(study)
        except TimeoutError:
            return False
        return True

    def _round(self, study: Study) -> None:
        service, name = self._service, self._name
        before = service.ready()
        left, at_work = PER_STUDY[name], self._at_work(study)
        sending: Posting | subprocess.Popen[bytes] | None = None
        sent = False
        for _ in until(ROUND_S):
            if left and at_work is None and self._is_back(before):
                before, at_work = service.running(), self._at_work(study)
            if at_work is not None and at_work():
                time.sleep(self._pause)
                self.killed.append((study, service.kill(name)))
                left, at_work = left - 1, None
            if sent:
                if service.state(study) in ("delivered", "failed"):
                    return
            elif sending is None:
                sending = Posting(study, service.http) if name == "web" else by_storescu(study, service.dicom)
            elif sending.poll() is not None:
                sent, sending = sending.returncode == 0, None

    def _is_back(self, before: dict[str, int]) -> bool:
        """Whether what was killed runs again."""
        found = self._service.running()
        name = self._name if self._name in SINGLE else "receiver"
        return len(found) == len(SINGLE) and found[name] != before[name]

    def _at_work(self, study: Study) -> Callable[[], bool]:
        """Tells when the moment has come; after it, `_pause` is waited for."""
        service, draw = self._service, self._draw
        stage = self._name if self._name in SINGLE else draw.choice(("receiver", "runner", "sender"))
        self._pause = draw.random() * MOST_S[stage]
        if draw.random() > SEEN:
            due = time.monotonic() + draw.random() * 2 * MOST_S["runner"]
            return lambda: time.monotonic() >= due
        if stage == "runner":
            return lambda: service.state(study) in ("running", "sending", "delivered")
        if stage == "sender":
            return lambda: service.is_sending(study) or service.state(study) == "delivered"
        number = draw.randrange(min(service.received(study) + 1, SLICES - 1), SLICES)
        return lambda: service.received(study) >= number

    def between(self) -> int:
        """Kills at which the process had begun on the study and was not done with it."""
        return sum(self._is_between(study, at) for study, at in self.killed)

    def _is_between(self, study: Study, at: float) -> bool:
        if self._name in ("receiver", "web"):
            asked = "select min(arrived), max(arrived) from instance where study = ?"
            values: tuple[object, ...] = (study.uid,)
        else:
            first = {"runner": "running", "sender": "sending"}.get(self._name, "received")
            last = {"runner": "written"}.get(self._name, "delivered")
            asked = "select (select min(at) from event where study = ? and state = ?), "
            asked += "(select max(at) from event where study = ? and state = ?)"
            values = (study.uid, first, study.uid, last)
        [(begun, done)] = self._service.ask(asked, *values)
        return begun is not None and done is not None and begun <= at <= done


def studies(folder: Path, root: str) -> Iterator[Study]:
    """Without end, each also in the archive before it comes."""
    for batch in itertools.count():
        made = make_studies(folder / str(batch), f"{root}.{batch}", BATCH)
        fill(made)
        yield from made


def images_lost(service: Service, sent: Sequence[Study]) -> list[str]:
    """Acknowledged images that the service does not hold as they were sent."""
    lost = []
    for study in sent:
        rows = service.ask("select file, sha256 from instance where study = ?", study.uid)
        whole = sum(
            Path(service.spool, file).is_file()
            and hashlib.sha256(_body(Path(service.spool, file).read_bytes())).hexdigest() == digest
            for file, digest in rows
        )
        if whole != SLICES:
            lost.append(f"{study.uid}: {whole} of {SLICES} images are there")
        if (answers := service.ask("select count(*) from answer where study = ?", study.uid)[0][0]) != 1:
            lost.append(f"{study.uid}: {answers} answers")
    return lost


def _body(content: bytes) -> bytes:
    from mmcaf_engine.service.headers import read_header

    return content[read_header(content, "image", ["SOPInstanceUID"])[1] :]


def trials(house: House, lab: Path, name: str, given: argparse.Namespace, oracle: Oracle, budget: Budget) -> Tally:
    """Kill one process so often, or until the time is spent."""
    began, at = time.monotonic(), PROCESSES.index(name)
    service = Service(house, lab / name, lab / BUNDLE, 11113 + at, 8100 + at)
    rounds, sent = Rounds(service, name, given.seed), list[Study]()
    stuck = []
    for study in studies(lab / f"{name} images", f"1.2.3.{at + 1}"):
        if budget.spent() or len(rounds.killed) >= given.kills:
            break
        sent.append(study)
        if not rounds.round(study):
            stuck.append(f"{study.uid}: not delivered within {ROUND_S:g} s")
            if given.keep is not None:
                shutil.copytree(lab / name, given.keep / study.uid)
    with suppress(TimeoutError):
        for _ in until():
            if {service.state(study) for study in sent} <= {"delivered"}:
                break
    service.ready()
    tally = Tally(len(rounds.killed), rounds.between(), lost=stuck + images_lost(service, sent))
    if given.control:
        time.sleep(1)  # What is called delivered may be under way.
    tally.add(judge(sent, oracle))
    service.stop()
    tally.traces = service.log.read_text(encoding="utf-8").count("Traceback")
    tally.seconds = time.monotonic() - began
    return tally


def undisturbed(house: House, lab: Path, oracle: Oracle) -> Verdict:
    """What is found where nobody kills anything: nothing that is lost, wrong or twice."""
    studies = make_studies(lab / "images", "1.2.3.9", TEMPLATES)
    fill(studies)
    service = Service(house, lab / "undisturbed", lab / BUNDLE, 11112, 8099)
    service.ready()
    for study in studies:
        if by_storescu(study, service.dicom).wait(60) != 0:
            raise RuntimeError(f"storescu could not send a study: {service.log.read_text()[-2000:]}")
    for _ in until():
        if {service.state(study) for study in studies} == {"delivered"}:
            break
    service.stop()
    return judge(studies, oracle)


def tell(name: str, tally: Tally) -> None:
    """Print what became of a process."""
    print(
        f"{name}: {tally.kills} kills, {tally.between} between its first and last write; {len(tally.lost)} lost, "
        f"{len(tally.wrong)} wrong, {len(tally.twice)} twice; {tally.traces} traces; {tally.seconds:.0f} s",
        flush=True,
    )
    for title, lines in (("lost", tally.lost), ("wrong", tally.wrong), ("twice", tally.twice)):
        for line in lines[:10]:
            print(f"  {title}: {line}", flush=True)


def row(name: str, tally: Tally, given: argparse.Namespace) -> dict[str, str]:
    """The tally as a row."""
    figures = {"kills": tally.kills, "between_first_and_last_write": tally.between, "lost": len(tally.lost)}
    figures |= {"wrong": len(tally.wrong), "twice": len(tally.twice), "traces": tally.traces}
    told = {"process": name, "control": given.control or "none", "seed": str(given.seed)}
    return {**told, **{key: str(value) for key, value in figures.items()}, "seconds": f"{tally.seconds:.0f}"}


def main() -> int:
    """Kill what is asked for, print a line for each process, and write the rows."""
    asked = usage.parser(__doc__)
    asked.add_argument("--kills", type=usage.count, default=200, help="of each process")
    asked.add_argument("--processes", nargs="+", choices=PROCESSES, default=PROCESSES)
    asked.add_argument("--control", choices=CONTROLS, help="with a fault that must be found out")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--minutes", type=usage.seconds, help="begin no further round after so long, shared")
    asked.add_argument("--keep", type=usage.path, help="copy here what a round leaves that does not end")
    usage.add_outputs(asked, "--output", required=False)
    given = asked.parse_args()
    usage.try_outputs(asked, [("--output", given.output)], force=given.force)
    if not archive.isolated():
        made = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        os.execvp(made[0], [*made, sys.executable, *sys.argv])
    rows = None if given.output is None else RowFile(given.output)
    budget = Budget(None if given.minutes is None else given.minutes * 60)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="serve-kills-") as place, archive.archive():
        os.environ["MMCAF_CACHE"] = str(Path(place) / "cache")
        sys.path.insert(0, str(TESTS))
        from tiny_bundle import make_tiny_bundle

        lab = Path(place).resolve()
        make_tiny_bundle(lab / BUNDLE)
        with Oracle(lab / BUNDLE) as oracle, House(given.control) as house:
            if not given.control and undisturbed(house, lab, oracle) != Verdict([], [], []):
                raise RuntimeError("wrong before any kill")
            for at, name in enumerate(given.processes):
                left = budget.left()
                share = Budget(None if left is None else left / (len(given.processes) - at))
                tally = trials(house, lab, name, given, oracle, share)
                bad += len(tally.lost) + len(tally.wrong) + len(tally.twice)
                tell(name, tally)
                if rows is not None:
                    rows.add({**environment(PACKAGES), **row(name, tally, given)})
    return 1 if bad else 0


if __name__ == "__main__":
    usage.run(main)
