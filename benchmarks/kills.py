"""Kill each command at random moments: afterwards bundle, cache and outputs are whole, and the next run answers alike.

    python benchmarks/kills.py --moments 200 --output benchmarks/results/kills.csv
    python benchmarks/kills.py --moments 8 --commands replace --former      # must lose a bundle

Most moments lie between a command's first and last change of a file, at calls of the system that strace has found
there; the rest are points in time. Needs strace; exit status 1 if anything was lost or wrong.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import usage
from kill_scenarios import SCENARIOS, Scenario, check, command, former_write_bundle, import_all, prepare
from kill_trials import CALLS, SIGNALS, Ended, Moment, Recorded, record, run, start
from rows import Budget, RowFile, environment

BETWEEN = 0.8
"""Of the moments, so many at calls between the first and the last change; at least half of all must be hit there."""

AGAIN_EVERY = 4
"""`export` and `quantize` are run again after every so-manieth kill, all others after each."""


_STATES = (("before", "answer"), ("after", "answer after"))
"""What a bundle is before and after its command, and how it answers."""

_WRITERS = ("mmcaf_export.export", "mmcaf_export.precision.quantize")
"""Modules that name `write_bundle`, beside its own."""


@dataclass
class Tally:
    """What became of the kills of one command.

    between: of those that hit, how many at a call after the first change and not after the last. lost, wrong, said:
    one line for each case: no whole bundle; another answer, or something that is not whole; words of a bug on stderr.
    """

    moments: int = 0
    hit: int = 0
    between: int = 0
    by: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Lab:
    """One command: the folder in which it starts, and what is right before and after it."""

    def __init__(self, scenario: Scenario, scratch: Path, seed: int) -> None:
        self.scenario = scenario
        self._scratch = scratch / scenario.name
        self._template = self._scratch / "template"
        self._scratch.mkdir()
        self._draw = random.Random(f"{scenario.name} {seed}")
        self._ended(run(prepare(scenario, scratch, self._template), self._log))
        self._recorded = self._record()
        self._right = self._look(self._fresh(), again=True)
        if self._right["wrong"]:
            raise RuntimeError(f"{scenario.name}: wrong before any kill: {self._right['wrong']}")

    def moments(self, call: str | None = None) -> Iterator[Moment]:
        """Drawn without end, of each signal in turn, at calls and at points in time; or all of one call."""
        if call is not None:
            yield from self._recorded.each(call)
            return
        while True:
            for name in SIGNALS:
                if self._draw.random() < BETWEEN:
                    yield self._recorded.between(name, self._draw.random())
                else:
                    yield Moment(name, seconds=self._draw.random() * self._recorded.ended.seconds)

    def kill(self, moment: Moment, tally: Tally, *, again: bool) -> None:
        """One trial, into the tally."""
        began = time.monotonic()
        folder = self._fresh()
        beside = None
        if self.scenario.other:
            beside = start(command(self.scenario, folder, self.scenario.other), self._scratch / "other.log")
        ended = run(command(self.scenario, folder), self._log, moment)
        tally.moments += 1
        tally.hit += ended.hit
        tally.between += ended.hit and bool(moment.call)
        tally.by[moment.signal] += ended.hit
        if "Traceback" in ended.said or "internal error" in ended.said:
            tally.said.append(f"{moment}: {ended.said.strip().splitlines()[-1][:200]}")
        if beside is not None and (other := beside()).code != 0:
            tally.wrong.append(f"{moment}: the process beside it ended with {other.code}: {other.said[-200:]}")
        try:
            found = self._look(folder, again=again)
        except RuntimeError as failure:
            lost = not (folder / self.scenario.target).exists() or "BundleError" in str(failure)
            (tally.lost if lost else tally.wrong).append(f"{moment}: {failure}")
        else:
            tally.wrong += [f"{moment}: {what}" for what in self._differences(found)]
        tally.seconds += time.monotonic() - began

    def _differences(self, found: dict[str, Any]) -> Iterator[str]:
        right = self._right
        yield from found["wrong"]
        if (found["before"], found["answer"]) not in [(right[a], right[b]) for a, b in _STATES]:
            yield f"the bundle is {found['before'][:12]}, which answers {found['answer'][:12]}"
        if "after" in found and (found["after"], found["answer after"]) != (right["after"], right["answer after"]):
            yield f"after the next run the bundle is {found['after'][:12]}"

    def _record(self) -> Recorded:
        folder = self._fresh()
        recorded = record(command(self.scenario, folder), self._log, folder)
        self._ended(recorded.ended)
        return recorded

    def _look(self, folder: Path, *, again: bool) -> dict[str, Any]:
        report = self._scratch / "report.json"
        report.unlink(missing_ok=True)
        self._ended(run(check(self.scenario, folder, report, again=again), self._scratch / "check.log"))
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return found

    def _fresh(self) -> Path:
        """The starting folder, always at the same place."""
        folder = self._scratch / "work"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._template, folder)
        return folder

    def _ended(self, ended: Ended) -> None:
        if ended.code != 0:
            raise RuntimeError(f"{self.scenario.name}: ended with {ended.code}: {ended.said.strip()[-300:]}")

    @property
    def _log(self) -> Path:
        return self._scratch / "child.log"


def main() -> int:
    """Kill what is asked for, print a line for each command, and write the rows."""
    asked = usage.parser(__doc__)
    names = [scenario.name for scenario in SCENARIOS]
    asked.add_argument("--moments", type=usage.count, default=200, help="for each command")
    asked.add_argument("--commands", nargs="+", choices=names, default=names)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--call", choices=CALLS, help="only at calls of this name, in order, in place of a draw")
    asked.add_argument(
        "--minutes", type=usage.seconds, help="begin no further trial after so long, shared by the commands"
    )
    asked.add_argument("--former", action="store_true", help="with the write_bundle of commit 50593ee")
    usage.add_outputs(asked, "--output", required=False)
    given = asked.parse_args()
    usage.try_outputs(asked, [("--output", given.output)], force=given.force)
    chosen = [scenario for scenario in SCENARIOS if scenario.name in given.commands]
    rows = None if given.output is None else RowFile(given.output)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        scratch = Path(name).resolve()
        import_all(scratch, chosen)
        if given.former:
            use_former()
        budget = Budget(None if given.minutes is None else given.minutes * 60)
        for at, scenario in enumerate(chosen):
            left = budget.left()
            share = Budget(None if left is None else left / (len(chosen) - at))
            tally = trials(Lab(scenario, scratch, given.seed), given.moments, share, given.call)
            bad += len(tally.lost) + len(tally.wrong)
            tell(scenario.name, tally)
            if rows is not None:
                rows.add({**environment(["torch", "openvino", "onnxruntime"]), **row(scenario.name, tally, given)})
    return 1 if bad else 0


def trials(lab: Lab, moments: int, budget: Budget, call: str | None = None) -> Tally:
    """Kill the command so often, or until the time is spent."""
    tally = Tally()
    for at, moment in zip(range(moments), lab.moments(call), strict=False):
        if budget.spent():
            break
        lab.kill(moment, tally, again=not lab.scenario.torch or at % AGAIN_EVERY == 0)
    return tally


def use_former() -> None:
    """Have every bundle written as in commit 50593ee."""
    import mmcaf_engine.bundle.bundle

    modules = [mmcaf_engine.bundle.bundle]
    modules += [sys.modules[name] for name in _WRITERS if name in sys.modules]
    for module in modules:
        vars(module)["write_bundle"] = former_write_bundle


def tell(name: str, tally: Tally) -> None:
    """Print what became of a command."""
    print(
        f"{name}: {tally.moments} moments, {tally.hit} hit, {tally.between} between first and last change; "
        f"{len(tally.lost)} lost, {len(tally.wrong)} wrong; {len(tally.said)} traces; {tally.seconds:.0f} s",
        flush=True,
    )
    for title, lines in (("lost", tally.lost), ("wrong", tally.wrong), ("trace", tally.said)):
        for line in lines[:10]:
            print(f"  {title}: {line}", flush=True)


def row(name: str, tally: Tally, given: argparse.Namespace) -> dict[str, str]:
    """The tally as a row."""
    counts = {"moments": tally.moments, "hit": tally.hit, "between_first_and_last_change": tally.between}
    ended = {f"hit_{signal.lower()}": tally.by[signal] for signal in SIGNALS}
    bad = {"lost": len(tally.lost), "wrong": len(tally.wrong), "traces": len(tally.said)}
    figures = {name: str(count) for name, count in (counts | ended | bad).items()}
    written = {"write_bundle": "50593ee" if given.former else "today", "seed": str(given.seed)}
    return {"command": name, **written, **figures, "seconds": f"{tally.seconds:.0f}"}


if __name__ == "__main__":
    sys.exit(main())  # children inherit handlers, and these must be killed
