"""Opening a session whose self-test is remembered, here and at another commit by turns, each in a process of its own.

    git worktree add ../before COMMIT
    python benchmarks/opening.py --bundle full.mmcaf --baseline ../before --output benchmarks/results/opening.csv

The first opening of each, which builds the engine and runs the self-test, is not counted; nor are imports, which are
done before the clock starts. Files lie in the page cache. `peak_mib` is what the process held at most, the median.
A bundle of published size is kept by `python benchmarks/cpu.py --folder FOLDER`, as FOLDER/full.mmcaf.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import usage
from rows import environment, write_rows

BACKENDS = ("onnxruntime", "openvino")
OPEN = """
import json, resource, sys, time
sys.meta_path = [one for one in sys.meta_path if "Redirecting" not in type(one).__name__]  # an editable installation
sys.path[:0] = [f"{sys.argv[1]}/{name}" for name in ("engine", "kernels")]
import importlib, mmcaf_engine
from mmcaf_engine import load_bundle, open_session
assert mmcaf_engine.__file__.startswith(sys.argv[1]), mmcaf_engine.__file__
importlib.import_module(sys.argv[3])
load_bundle, open_session
before = time.perf_counter()
with open_session(load_bundle(sys.argv[2]), backend=sys.argv[3]) as session:
    seconds = time.perf_counter() - before
    assert session.describe()["self_test"]["remembered"] or sys.argv[4] == "first"
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"ms": seconds * 1e3, "peak_mib": peak / 1024}))
"""


def main() -> None:
    """Measure each backend at both commits and write a row for each."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--bundle", type=Path, required=True)
    asked.add_argument("--baseline", type=Path, required=True, metavar="CHECKOUT")
    asked.add_argument("--runs", type=usage.count, default=15)
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force, inputs=[arguments.bundle])
    for checkout in (arguments.baseline, usage.ROOT):
        if not (checkout / "engine" / "mmcaf_engine").is_dir():
            asked.error(f"{checkout}: no checkout of this repository")
    rows = [row for backend in BACKENDS for row in compared(arguments, backend)]
    facts = environment(["onnxruntime", "openvino"])
    write_rows(arguments.output, [{**facts, **row} for row in rows])


def compared(arguments: Any, backend: str) -> Iterator[dict[str, str]]:
    """One row for each of the two commits."""
    checkouts = {"baseline": arguments.baseline.resolve(), "this": usage.ROOT}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as scratch:
        for run in range(arguments.runs + 1):
            for name in sorted(checkouts, reverse=bool(run % 2)):
                one = opened(checkouts[name], arguments.bundle.resolve(), backend, Path(scratch) / name, first=not run)
                if run:
                    found[name].append(one)
    medians = {name: statistics.median(one["ms"] for one in runs) for name, runs in found.items()}
    peaks = {name: statistics.median(one["peak_mib"] for one in runs) for name, runs in found.items()}
    pairs = zip(found["this"], found["baseline"], strict=True)
    ratio = statistics.median(own["ms"] / other["ms"] for own, other in pairs)
    size = sum(file.stat().st_size for file in arguments.bundle.rglob("*") if file.is_file())
    for name, checkout in checkouts.items():
        row = {
            "commit": commit(checkout),
            "bundle": arguments.bundle.name,
            "bundle_mb": f"{size / 1e6:.0f}",
            "backend": backend,
            "runs": str(arguments.runs),
            "median_ms": f"{medians[name]:.1f}",
            "times_baseline": f"{ratio:.3f}" if name == "this" else "",
            "peak_mib": f"{peaks[name]:.0f}",
            "peak_times_baseline": f"{peaks['this'] / peaks['baseline']:.3f}" if name == "this" else "",
        }
        print(row, flush=True)
        yield row


def opened(checkout: Path, bundle: Path, backend: str, own: Path, *, first: bool) -> dict[str, Any]:
    """One opening, with a cache that only this commit uses."""
    told = subprocess.run(
        [sys.executable, "-c", OPEN, str(checkout), str(bundle), backend, "first" if first else "later"],
        env={**os.environ, "MMCAF_CACHE": str(own / "cache"), "XDG_CONFIG_HOME": str(own / "config")},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def commit(checkout: Path) -> str:
    """Its short hash, with a mark where files differ from it."""
    said = subprocess.run(
        ["git", "-C", str(checkout), "describe", "--always", "--abbrev=7", "--dirty", "--exclude", "*"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return said.stdout.strip()


if __name__ == "__main__":
    usage.run(main)
