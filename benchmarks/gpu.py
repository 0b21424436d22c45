"""The full-size network on a GPU: our backends against torch and ONNX Runtime, on one window and on a study.

python benchmarks/gpu.py --output benchmarks/results/gpu.csv [--providers ours eager] [--precision fp16] [--seconds 300]
python benchmarks/gpu.py --prepare --folder DIR [--precision fp16]      beforehand, also on a machine without a GPU

What cannot run here (TensorRT for RTX refuses an H200, a package is missing) is said first, with the reason, and the
rest is prepared and measured. Every case runs in processes of its own, ROUNDS times in turn. Each is first compared
with the source network's answer on the processor in FP32; one that is too far off is not timed, and like one that
fails it is left out and said. Times are of the host, with the copies to and from the GPU, with a cold L2 cache (p50_ms,
p95_ms, p99_ms) and with a warm one (warm_p50_ms). A row of the table, and a JSON row of RESULTS.jsonl beside it, is a
case's round, written when it ends, with the card's clocks and power meanwhile; what is printed is each case's rounds
together. The exit status is 1 if no case was measured. The preparation takes the processor minutes, and says each of
its steps; --folder keeps what it makes. Without a GPU that torch can use, and where no case can run, the script says
so, writes nothing, and exits with status 6.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

import numpy as np
import usage
from descendants import ended_together
from gpu_cases import CASES, Row, missing, prepare
from rows import Budget, RowFile, append, environment, percentiles

from mmcaf_engine.errors import printable

ROUNDS = 3
PROVIDERS = ("ours", "eager", "torch.compile", "onnxruntime")
PRECISIONS = ("fp32", "tf32", "fp16", "int8")
"""Words of the cases' names."""
LOWER = ("fp16", "int8")
"""Those that a bundle must be given."""
MISSING, PREPARE = "missing", "prepare"
"""What is asked and done before the first case, in processes of its own too, so that this one holds no GPU memory."""


def main() -> int:
    """Run every case, write the rows, and print the table."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output", required=False)
    asked.add_argument("--runs", type=usage.count, default=100, help="of a case in each round")
    asked.add_argument("--folder", type=usage.path, help="keep what is prepared here, and use it if it is there")
    asked.add_argument("--providers", nargs="+", choices=PROVIDERS, default=PROVIDERS)
    asked.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    asked.add_argument("--seconds", type=usage.seconds, help="end the case that runs after so long, and begin no other")
    asked.add_argument("--prepare", action="store_true", help="only make what --folder keeps; needs no GPU")
    asked.add_argument("--case", help=argparse.SUPPRESS)
    arguments = asked.parse_args()
    if arguments.case:
        print(json.dumps(one(arguments.case, arguments.folder, arguments.runs, arguments.precision)))
        return 0
    names = chosen(arguments.providers, arguments.precision)
    if not names:
        asked.error(f"no case of {' or '.join(arguments.providers)} in {' or '.join(arguments.precision)}: {pairs()}")
    budget = Budget(arguments.seconds)
    if arguments.folder is not None:
        usage.try_outputs(asked, [("--folder", arguments.folder)], kind="folder", force=True)
    if arguments.prepare:
        if arguments.output is not None:
            asked.error("--prepare measures nothing, so that there is no --output")
        folder = usage.given(asked, "--folder", arguments.folder).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        prepared(names, folder, budget)
        return 0
    output = usage.given(asked, "--output", arguments.output)
    usage.try_outputs(asked, [("--output", output), ("--output", lines_of(output))], force=arguments.force)
    from mmcaf_engine.machine.gpu import find_gpus

    gpus = find_gpus()
    if not gpus.found:
        return usage.without_gpu(gpus.reason)
    if reason := usage.torch_missing():  # It empties the cache, whatever is measured.
        return usage.without_gpu(reason)
    gpu = gpus.found[0]
    packages = [name for name in PACKAGES if _installed(name)]
    facts = {
        "gpu": gpu.name,
        "capability": gpu.compute_capability,
        "driver": gpu.driver,
        "cuda": ".".join(map(str, gpu.cuda)),
        **environment(packages),
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.folder or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        names = able(names, folder, budget)
        if not names:
            return usage.missing("none of these cases can run here: nothing was measured, and mmcaf doctor says more")
        prepared(names, folder, budget)
        found = measured(names, folder, arguments.runs, facts, output, budget)
    if not found:
        print("no case was measured", file=sys.stderr)
        return 1
    print(table([{"case": case, **merged(outcomes)} for case, outcomes in found.items()]))
    return 0


def one(case: str, folder: Path, runs: int, precisions: Sequence[str]) -> Row:
    """What a process of its own does: a case, or MISSING or PREPARE for the cases of these precisions."""
    if case == MISSING:
        return missing(chosen(PROVIDERS, precisions))
    if case == PREPARE:
        prepare(folder, [precision for precision in LOWER if precision in precisions])
        return {}
    return CASES[case].run(folder, runs)


def able(cases: Sequence[str], folder: Path, budget: Budget) -> list[str]:
    """Those that can run here; why the others cannot is said."""
    reasons = run_case(MISSING, folder, None, budget)
    for case in cases:
        if case in reasons:
            print(f"{case}: left out, {reasons[case]}", file=sys.stderr)
    return [case for case in cases if case not in reasons]


def prepared(cases: Sequence[str], folder: Path, budget: Budget) -> None:
    """See to it that the bundle that these cases need is in the folder, with all that it held before.

    Raises:
        SystemExit: a package is missing (6), or it failed.
    """
    ready = folder / "ready.txt"
    held = ready.read_text(encoding="utf-8").split() if ready.exists() else []
    wanted = [word for word in PRECISIONS if word in held or any(word in case for case in cases)]
    if not held or {*wanted} & {*LOWER} - {*held}:
        if reason := usage.exporter_missing():
            raise SystemExit(usage.missing(reason))
        ready.unlink(missing_ok=True)
        run_case(PREPARE, folder, None, budget, wanted)
        with usage.writing(ready):
            ready.write_text(" ".join(wanted), encoding="utf-8")


def pairs() -> str:
    """Which precisions each provider has cases in."""
    known = {word: [name for name in PRECISIONS if chosen([word], [name])] for word in PROVIDERS}
    return "; ".join(f"{word} has {', '.join(names)}" for word, names in known.items())


def lines_of(output: Path) -> Path:
    """The JSON rows' file beside the table."""
    return output.with_suffix(".jsonl")


def chosen(providers: Sequence[str], precisions: Sequence[str]) -> list[str]:
    """The cases of these providers in these precisions."""
    return [
        case
        for case in CASES
        if any(provider in case for provider in providers) and any(precision in case for precision in precisions)
    ]


def measured(
    cases: Sequence[str], folder: Path, runs: int, facts: dict[str, str], output: Path, budget: Budget
) -> dict[str, list[Row]]:
    """What each case found that answers right, written as it comes; no case has a second round before all had one."""
    rows, lines = RowFile(output), lines_of(output)
    found: dict[str, list[Row]] = {}
    left = list(cases)
    for turn in range(1, ROUNDS + 1):
        for case in list(left):
            if budget.spent():
                print(f"round {turn}, {case}: left out, the time is over", file=sys.stderr)
                return found
            outcome = run_case(case, folder, runs, budget)
            if "left_out" in outcome:
                print(f"round {turn}, {case}: left out, {outcome['left_out']}", file=sys.stderr)
                left.remove(case)
                continue
            row = {"case": case, "round": str(turn), **merged([outcome]), **facts}
            rows.add(row)
            append(lines, f"{json.dumps(row)}\n", first=not found)
            print(turn, case, {key: value for key, value in outcome.items() if not key.endswith("ms")}, file=sys.stderr)
            found.setdefault(case, []).append(outcome)
    return found


def run_case(case: str, folder: Path, runs: int | None, budget: Budget, precisions: Sequence[str] = PRECISIONS) -> Row:
    """This script again, for one case, in a fresh process, with a cache of its own; one that fails is left out.

    What MISSING and PREPARE say of their work is said at once.

    runs: None for what measures nothing.

    Raises:
        SystemExit: MISSING or PREPARE failed, with its status, or had not ended when the time was over.
    """
    command = [sys.executable, __file__, "--case", case, "--folder", folder, "--precision", *precisions]
    command += [] if runs is None else ["--runs", runs]
    before = case in (MISSING, PREPARE)
    # Into files: a pipe would be waited for until all that the case has started have ended.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as told:
        try:
            with ended_together():
                done = subprocess.run(
                    [str(part) for part in command],
                    stdout=out,
                    stderr=None if before else told,
                    env={**os.environ, "MMCAF_CACHE": str(folder / "cache")},
                    timeout=budget.left(),
                )
        except subprocess.TimeoutExpired:
            if before:
                raise SystemExit(f"{case}: not ready in time") from None
            return {"left_out": "it had not ended when the time was over"}
        printed, said = (_read(stream) for stream in (out, told))
    if done.returncode and before:
        raise SystemExit(done.returncode if done.returncode > 0 else f"{case}: {usage.in_words(done.returncode)}")
    if done.returncode:
        last = said[-1] if said else ""
        ended = [usage.in_words(done.returncode)] if done.returncode < 0 or not last else []
        return {"left_out": ": ".join([*ended, *filter(None, [printable(last, 300)])])}
    row: Row = json.loads(printed[-1])
    return row


def _read(stream: IO[bytes]) -> list[str]:
    """Its lines, from the first."""
    stream.seek(0)
    return stream.read().decode(errors="replace").strip().splitlines()


def merged(outcomes: list[Row]) -> dict[str, str]:
    """One row from the rounds of a case: all times together, the highest memory, the largest error."""
    first = outcomes[0]
    spent, warm = ([value for outcome in outcomes for value in outcome[name]] for name in ("ms", "warm_ms"))
    return {
        "precision": first["precision"],
        "shape": first["shape"],
        **percentiles(spent, digits=3),
        "warm_p50_ms": f"{float(np.median(warm)):.3f}",
        "windows_per_s": f"{first['windows'] * 1e3 / float(np.median(spent)):.1f}",
        "cold_start_s": f"{min(outcome['cold_s'] for outcome in outcomes):.2f}",
        "first_cold_start_s": f"{first['cold_s']:.2f}",
        "gpu_peak_mb": f"{max(outcome['gpu_mb'] for outcome in outcomes):.0f}",
        "max_abs_dlogit": f"{max(outcome['error'] for outcome in outcomes):.1e}",
        "graph": first.get("graph", ""),
        **first["card"],
    }


def table(rows: list[dict[str, str]]) -> str:
    """The rows as a table in Markdown."""
    columns = (
        "case",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "warm_p50_ms",
        "windows_per_s",
        "cold_start_s",
        "gpu_peak_mb",
        "max_abs_dlogit",
    )
    lines = [columns, ["---"] * len(columns), *([row[column] for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "tensorrt-rtx-cu13", "tensorrt", "cuda-bindings", "numpy")

if __name__ == "__main__":
    usage.run(main)
