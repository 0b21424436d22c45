"""The full-size network on a GPU: TensorRT against torch and ONNX Runtime, on one window and on a study.

python benchmarks/gpu.py --output benchmarks/results/gpu.csv

Every case runs in processes of its own, ROUNDS times in turn. Each is first compared with the source network's answer
on the processor in FP32; one that is too far off is not timed. Beside the table, RESULTS.jsonl gets one JSON row per
case. Without a GPU that TensorRT can use it says so, writes nothing, and exits with status 6.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from gpu_cases import CASES, Row
from rows import environment, percentiles, write_rows

ROUNDS = 3
NO_GPU = 6


def main() -> int:
    """Run every case, write the rows, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=100, help="of a case in each round")
    parser.add_argument("--folder", type=Path, help="keep what is prepared here, and use it if it is there")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(CASES[arguments.case](arguments.folder, arguments.runs)))
        return 0
    from mmcaf_engine.machine.gpu import find_gpus

    gpus = find_gpus()
    if not gpus.found:
        print(f"no GPU: {gpus.reason}. Nothing was measured; see: mmcaf doctor", file=sys.stderr)
        return NO_GPU
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
        if not (folder / "ready").exists():
            run_case("prepare", folder, arguments.runs)
            (folder / "ready").touch()
        found = measured(folder, arguments.runs)
    rows = [{"case": case, **merged(outcomes), **facts} for case, outcomes in found.items()]
    write_rows(arguments.output, rows)
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    arguments.output.with_suffix(".jsonl").write_text(lines, encoding="utf-8")
    print(table(rows))
    return 0


def measured(folder: Path, runs: int) -> dict[str, list[Row]]:
    """The rows of each case that answers right; the first round of all comes before the second of any."""
    found: dict[str, list[Row]] = {case: [] for case in CASES if case != "prepare"}
    for turn in range(ROUNDS):
        for case in list(found):
            row = run_case(case, folder, runs)
            if "left_out" in row:
                print(f"{case}: left out, {row['left_out']}", file=sys.stderr)
                del found[case]
                continue
            print(turn + 1, case, {key: value for key, value in row.items() if key != "ms"}, file=sys.stderr)
            found[case].append(row)
    return found


def run_case(case: str, folder: Path, runs: int) -> Row:
    """This script again, for one case, in a fresh process, with a cache of its own; one that fails is left out."""
    command = [sys.executable, __file__, "--output", "-", "--case", case, "--folder", folder, "--runs", runs]
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**os.environ, "MMCAF_CACHE": str(folder / "cache")},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        if case == "prepare":
            raise SystemExit(f"prepare: {done.stderr}")
        return {"left_out": last[:300]}
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def merged(outcomes: list[Row]) -> dict[str, str]:
    """One row from the rounds of a case: all times together, the highest memory, the largest error."""
    first = outcomes[0]
    spent = [value for outcome in outcomes for value in outcome["ms"]]
    return {
        "precision": first["precision"],
        "shape": first["shape"],
        **percentiles(spent),
        "windows_per_s": f"{first['windows'] * 1e3 / float(np.median(spent)):.1f}",
        "cold_start_s": f"{min(outcome['cold_s'] for outcome in outcomes):.2f}",
        "first_cold_start_s": f"{first['cold_s']:.2f}",
        "gpu_peak_mb": f"{max(outcome['gpu_mb'] for outcome in outcomes):.0f}",
        "max_abs_dlogit": f"{max(outcome['error'] for outcome in outcomes):.1e}",
        "graph": first.get("graph", ""),
    }


def table(rows: list[dict[str, str]]) -> str:
    """The rows as a table in Markdown."""
    columns = ("case", "p50_ms", "p95_ms", "p99_ms", "windows_per_s", "cold_start_s", "gpu_peak_mb", "max_abs_dlogit")
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
    sys.exit(main())
