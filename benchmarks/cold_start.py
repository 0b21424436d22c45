"""`mmcaf-infer` as a whole process, here and at another commit by turns: with and without a kept engine and page cache.

    git worktree add ../before COMMIT
    python benchmarks/cold_start.py --baseline ../before --output benchmarks/results/cold_start.csv
    python benchmarks/cold_start.py --baseline ../before --bundle full.mmcaf --precision int8 --study STUDY \
        --record RECORD --output benchmarks/results/cold_start_full_size.csv

A run is timed from the start of the process to its exit, which has printed the answer. `engine` says whether one was
kept with its self-test ("kept"), or the cache was empty ("none"); `page_cache` whether the files that a run reads (the
environment's packages, Python's own, the project, bundle, engine and study) were in memory ("warm") or had been dropped
from it ("empty": less than 2 % of them was still there; "partly": more was, since other processes use them, and
`resident` says how much). They are dropped file by file, which needs no rights; with --drop-caches the whole page cache
of the machine is, which needs root. Modules are compiled in advance, as pip does. `times_baseline` is the median of the
ratios of the pairs. Without --study, the demonstration's patient of 26 slices is answered, which are 3 windows.
"""

import ctypes
import json
import mmap
import os
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import usage
from rows import environment, write_rows

STATES = (("kept", "warm"), ("kept", "empty"), ("none", "empty"))
"""Engine and page cache, of each run."""
RUN = """
import sys
checkout = sys.argv.pop(1)
sys.meta_path = [one for one in sys.meta_path if "Redirecting" not in type(one).__name__]  # an editable installation
sys.path[:0] = [f"{checkout}/{name}" for name in ("cli", "engine", "kernels")]
from mmcaf_cli import infer
assert infer.__file__.startswith(checkout), infer.__file__
infer.main()
"""


@dataclass(frozen=True)
class Subject:
    """What answers what: a checkout with a folder of its own for what is kept, and the arguments of `mmcaf-infer`."""

    checkout: Path
    own: Path
    arguments: tuple[str, ...]

    def run(self) -> dict[str, float]:
        """One process, as `timed`."""
        return timed([sys.executable, "-c", RUN, str(self.checkout), *self.arguments], self.own, str(self.checkout))


def timed(command: Sequence[str], own: Path, shown: str) -> dict[str, float]:
    """One process: wall time and CPU time in ms.

    own: the folder of what it keeps. shown: what messages call it.
    """
    names = {"MMCAF_CACHE": "cache", "XDG_CONFIG_HOME": "config", "PYTHONPYCACHEPREFIX": "compiled"}
    environ = {**os.environ, **{name: str(own / folder) for name, folder in names.items()}}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.communicate()[1]
    ended, after = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"{shown}: exit code {process.returncode}: {said.decode(errors='replace')[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"ms": (ended - began) * 1e3, "cpu_ms": cpu * 1e3}


def main() -> None:
    """Measure both commits in every state and write a row for each."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--baseline", type=Path, required=True, metavar="CHECKOUT")
    asked.add_argument("--bundle", type=Path, help="Default: the demonstration of each checkout.")
    asked.add_argument("--baseline-bundle", type=Path, help="The same for a baseline that reads an older format.")
    asked.add_argument("--study", type=Path)
    asked.add_argument("--record", type=Path)
    asked.add_argument("--backend", default="auto")
    asked.add_argument("--precision", default="auto")
    asked.add_argument("--runs", type=usage.count, default=9)
    asked.add_argument("--warm-only", action="store_true", help="Leave out what needs an empty page cache.")
    asked.add_argument("--drop-caches", action="store_true", help="Drop the page cache of the whole machine.")
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force, inputs=[arguments.bundle])
    for checkout in (arguments.baseline, usage.ROOT):
        if not (checkout / "cli" / "mmcaf_cli").is_dir():
            asked.error(f"{checkout}: no checkout of this repository")
    with tempfile.TemporaryDirectory() as scratch:
        facts = environment(["numpy", "pydicom", "onnxruntime", "openvino"])
        rows = [{**facts, **row} for row in measured(arguments, Path(scratch))]
    write_rows(arguments.output, rows)


def measured(arguments: Any, scratch: Path) -> Iterator[dict[str, str]]:
    """Two rows for each state."""
    files = study_files(arguments, scratch)
    chosen = ("--backend", arguments.backend, "--precision", arguments.precision)
    bundles = {"baseline": arguments.baseline_bundle or arguments.bundle, "this": arguments.bundle}
    subjects = {
        name: Subject(
            checkout,
            scratch / name,
            (*map(str, files), *chosen, *(("--bundle", str(bundle.resolve())) if bundle else ())),
        )
        for (name, bundle), checkout in zip(bundles.items(), (arguments.baseline.resolve(), usage.ROOT), strict=True)
    }
    for subject in subjects.values():
        for _ in range(2):  # The first builds the engine and compiles modules, the second those that need one kept.
            subject.run()
    for engine, page_cache in STATES:
        if page_cache == "empty" and arguments.warm_only:
            continue
        found: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}
        resident = [0.0]
        for run in range(arguments.runs):
            for name in sorted(subjects, reverse=bool(run % 2)):
                subject = subjects[name]
                if engine == "none":
                    shutil.rmtree(subject.own / "cache")
                if page_cache == "empty":
                    used = [subject.own, subject.checkout, *files, *([bundle] if (bundle := bundles[name]) else [])]
                    resident.append(drop(used, everything=arguments.drop_caches))
                found[name].append(subject.run())
        left = max(resident)
        known = page_cache if page_cache == "warm" or left < 0.02 else "partly"
        for name, subject in subjects.items():
            ratios = [own["ms"] / other["ms"] for own, other in zip(found["this"], found["baseline"], strict=True)]
            row = {
                "commit": commit(subject.checkout),
                "bundle": "demonstration" if bundles[name] is None else bundles[name].name,
                "backend": arguments.backend,
                "precision": arguments.precision,
                "engine": engine,
                "page_cache": known,
                "resident": "" if page_cache == "warm" else f"{left:.3f}",
                "runs": str(arguments.runs),
                "median_ms": f"{statistics.median(one['ms'] for one in found[name]):.0f}",
                "best_ms": f"{min(one['ms'] for one in found[name]):.0f}",
                "cpu_ms": f"{statistics.median(one['cpu_ms'] for one in found[name]):.0f}",
                "times_baseline": f"{statistics.median(ratios):.3f}" if name == "this" else "",
            }
            print(row, flush=True)
            yield row


def study_files(arguments: Any, scratch: Path) -> list[Path]:
    """Study and record."""
    from mmcaf_engine.demo.phantom import make_phantom, record
    from mmcaf_engine.demo.write_dicom import write_multiframe

    if arguments.study is not None:
        return [file.resolve() for file in (arguments.study, arguments.record) if file is not None]
    phantom = make_phantom(0)
    files = [scratch / "study.dcm", scratch / "record.json"]
    write_multiframe(phantom, files[0])
    files[1].write_text(json.dumps(record(phantom.patient)), encoding="utf-8")
    return files


def drop(used: Sequence[Path], *, everything: bool) -> float:
    """Drop from memory what a run reads, and give the part that is still there."""
    os.sync()  # What is still to be written is not dropped.
    if everything:
        Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")
    folders = [*used, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib"))]
    held = total = 0
    for file in files_in(folders):
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            pages, present = residents(stream.fileno())
        held, total = held + present, total + pages
    return held / max(total, 1)


def files_in(places: Sequence[Path]) -> Iterator[Path]:
    """Every file, and that which a link in the environment points to."""
    for place in places:
        found = place.rglob("*") if place.is_dir() else [place]
        yield from (file for file in found if file.is_file() and os.access(file, os.R_OK))


def residents(descriptor: int) -> tuple[int, int]:
    """Pages of a file, and how many of them are in memory."""
    size = os.fstat(descriptor).st_size
    pages = -(-size // mmap.PAGESIZE)
    if pages == 0:
        return 0, 0
    told = (ctypes.c_ubyte * pages)()
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) as view:
        place = ctypes.c_char.from_buffer(view)
        failed = ctypes.CDLL(None, use_errno=True).mincore(ctypes.byref(place), ctypes.c_size_t(size), told)
        del place
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return pages, sum(page & 1 for page in told)


def commit(checkout: Path) -> str:
    """Its short hash, with a mark where files differ from it."""
    git = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=7", "--dirty", "--exclude", "*"]
    return subprocess.run(git, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    usage.run(main)
