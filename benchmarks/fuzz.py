"""Try damaged studies, pictures, records, manifests and commands, under bounds on time and memory.

    python benchmarks/fuzz.py --cases 20000 --output benchmarks/results/fuzz.csv
    python benchmarks/fuzz.py --seed 3 --case 1234 --keep damaged

The cases run in one process, one after the other, which a second watches: a case that hangs or kills it is noted, and
the next ones run in a new process. What counts as a finding: an exception that is none of ours; more time or memory
than the bounds; an exit code that is not documented; control characters or the patient's data in a message; another
answer than the undamaged input's, with nothing said of it, where the structure of the input was broken. Prints the
outcomes by kind, and each finding with how to run it again; exit status 1 if there is any. The kinds are those of
tests/fuzzing.
"""

import argparse
import faulthandler
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import usage
from rows import environment, write_rows

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "engine")]

SECONDS = 10.0
"""Of one case; most take milliseconds."""
MEGABYTES = 256
"""That one case may take beyond what the process has; the inputs are of some 10 KB."""
START_SECONDS = 120.0
"""Until the first case: the sound inputs are made then."""
PACKAGES = ("numpy", "pydicom", "nibabel", "imagecodecs", "onnxruntime", "openvino")


@dataclass
class Kind:
    """What became of the cases of one kind."""

    results: Counter[str] = field(default_factory=Counter)
    findings: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    most_mb: float = 0.0


def main() -> int:
    """Run the cases, or one of them, and print what became of them."""
    asked = usage.parser(__doc__)
    asked.add_argument("--cases", type=usage.count, default=20_000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--kinds", help="Of the cases, separated by commas; all by default.")
    asked.add_argument("--case", type=int, help="Run this one alone, in this process.")
    asked.add_argument("--keep", type=usage.path, help="With --case: write the damaged input there.")
    usage.add_outputs(asked, "--output", required=False, help="A CSV table with a row for each kind, and one for all.")
    asked.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = asked.parse_args()
    if arguments.output is not None and arguments.worker is None:
        usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    if arguments.worker is not None:
        return work(arguments)
    if arguments.case is not None:
        return replay(arguments)
    started = time.perf_counter()
    kinds, findings = watch(arguments)
    spent = time.perf_counter() - started
    rows = [row(arguments, name, kinds[name]) for name in sorted(kinds)]
    rows.append(row(arguments, "all", total(list(kinds.values()))) | {"seconds": f"{spent:.0f}"})
    for one in rows:
        print({name: value for name, value in one.items() if name not in ("command", "commit", "cpu", "versions")})
    for finding in findings:
        print(finding)
    if arguments.output is not None:
        write_rows(arguments.output, rows)
    return 1 if findings else 0


def watch(arguments: argparse.Namespace) -> tuple[dict[str, Kind], list[str]]:
    """Every case in a process of its own kind, begun anew after each that ends or hangs it."""
    kinds: dict[str, Kind] = {}
    findings: list[str] = []
    begin = 0
    while begin < arguments.cases:
        words = [sys.executable, "-X", "faulthandler", __file__, *sys.argv[1:], "--worker", str(begin)]
        # Without a buffer, so that what `select` sees is all that there is.
        with subprocess.Popen(words, stdout=subprocess.PIPE, bufsize=0) as child:
            last = follow(child, arguments, kinds, findings)
        if last is None:
            raise SystemExit("the process that tries cases ended before its first")
        begin = last + 1
    return kinds, findings


def follow(
    child: "subprocess.Popen[bytes]", arguments: argparse.Namespace, kinds: dict[str, Kind], findings: list[str]
) -> int | None:
    """Note what a process says of its cases, until it ends or hangs; the last that it began."""
    running: dict[str, Any] | None = None
    number = None
    while text := line(child, START_SECONDS if number is None else SECONDS):
        said = json.loads(text)
        number = int(said["case"])
        running = said if "result" not in said else None
        if running is None:
            note(said, arguments, kinds, findings)
    if running is not None:
        why = f"no answer within {SECONDS:g} s" if text is None else f"the process ended with {child.wait()}"
        ended = {"result": "hung or ended", "finding": why, "seconds": SECONDS, "mb": 0}
        note({**running, **ended}, arguments, kinds, findings)
    child.kill()
    return number


def line(child: "subprocess.Popen[bytes]", seconds: float) -> bytes | None:
    """The next line; None where none comes in this time, empty where the process has ended."""
    stdout = child.stdout
    if stdout is None or not select.select([stdout], [], [], seconds)[0]:
        return None
    return stdout.readline().strip()


def note(said: dict[str, Any], arguments: argparse.Namespace, kinds: dict[str, Kind], findings: list[str]) -> None:
    """Count one case."""
    kind = kinds.setdefault(said["kind"], Kind())
    kind.results[said["result"]] += 1
    kind.seconds += said["seconds"]
    kind.slowest_s = max(kind.slowest_s, said["seconds"])
    kind.most_mb = max(kind.most_mb, said["mb"])
    why = said["finding"]
    if not why and said["seconds"] > SECONDS:
        why = f"{said['seconds']:.1f} s; at most {SECONDS:g} are allowed"
    if not why and said["mb"] > MEGABYTES:
        why = f"{said['mb']:.0f} MB more memory; at most {MEGABYTES} are allowed"
    if why:
        kind.findings += 1
        of_kinds = f" --kinds '{arguments.kinds}'" if arguments.kinds else ""
        again = f"--seed {arguments.seed}{of_kinds} --case {said['case']}"
        findings.append(f"{said['kind']}, {said['what']}: {why}\n    {said.get('trace', '')}\n    again: {again}")


def work(arguments: argparse.Namespace) -> int:
    """Try cases in this process and say what became of each, before and after it."""
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as scratch:
        cases = prepare(arguments, Path(scratch))
        from fuzzing.judge import judge

        limit = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") * 1024 + 8 * MEGABYTES * 1024**2, limit))
        for number in range(arguments.worker, arguments.cases):
            kind, case = cases.make(number)
            said = {"case": number, "kind": kind, "what": case.what}
            print(json.dumps(said), flush=True)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM
            before, started = _memory("VmRSS"), time.perf_counter()
            verdict = judge(case)
            spent, grown = time.perf_counter() - started, max(0, _memory("VmHWM") - before) / 1024
            told = {"result": verdict.result, "finding": verdict.finding, "trace": verdict.trace}
            print(json.dumps({**said, **told, "seconds": spent, "mb": grown}), flush=True)
    return 0


def prepare(arguments: argparse.Namespace, scratch: Path) -> Any:
    """The cases that were asked for."""
    os.environ["MMCAF_CACHE"] = str(scratch / "cache")
    os.environ["XDG_CONFIG_HOME"] = str(scratch / "config")
    import fuzzing
    from tiny_bundle import make_tiny_bundle

    bundle = make_tiny_bundle(scratch / "tiny.mmcaf")
    kinds = tuple(arguments.kinds.split(",")) if arguments.kinds else fuzzing.KINDS
    return fuzzing.Cases(scratch / "work", bundle, seed=arguments.seed, kinds=kinds)


def replay(arguments: argparse.Namespace) -> int:
    """One case in this process, and all that came of it."""
    with tempfile.TemporaryDirectory() as scratch:
        cases = prepare(arguments, Path(scratch))
        from fuzzing.judge import judge

        kind, case = cases.make(arguments.case)
        if arguments.keep is not None:
            arguments.keep.write_bytes(case.data)
        verdict = judge(case)
    print(f"{kind}, {case.what}\n{verdict.result}\n{verdict.finding or 'nothing is wrong with that'}\n{verdict.trace}")
    return 1 if verdict.finding else 0


def row(arguments: argparse.Namespace, name: str, kind: Kind) -> dict[str, str]:
    """A row of the table."""
    tried, accepted = sum(kind.results.values()), kind.results["accepted"]
    return {
        "kind": name,
        "seed": str(arguments.seed),
        "cases": str(tried),
        "accepted": str(accepted),
        "refused": str(tried - accepted),
        "findings": str(kind.findings),
        "slowest_s": f"{kind.slowest_s:.2f}",
        "most_mb": f"{kind.most_mb:.0f}",
        "seconds": f"{kind.seconds:.0f}",
        "command": f"fuzz.py --cases {arguments.cases} --seed {arguments.seed}",
        **environment(PACKAGES),
    }


def total(kinds: list[Kind]) -> Kind:
    """Of all kinds together."""
    found = Kind()
    for kind in kinds:
        found.results += kind.results
        found.findings += kind.findings
        found.slowest_s, found.most_mb = max(found.slowest_s, kind.slowest_s), max(found.most_mb, kind.most_mb)
    return found


def _memory(name: str) -> int:
    """VmRSS, VmHWM or VmSize of this process, KB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(text.split()[1]) for text in status.splitlines() if text.startswith(f"{name}:"))


if __name__ == "__main__":
    usage.run(main)
