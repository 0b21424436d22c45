"""The demonstration's first answer in a process of its own: by the C library, and by `mmcaf-infer` here and before.

    git worktree add ../before 50593ee
    python benchmarks/embedding.py --baseline ../before --output benchmarks/results/embedding.csv

The C library's process is examples/embed/answer.c, which opens the bundle, answers the patient of 26 slices from raw
Hounsfield units, and ends; `mmcaf-infer` answers the same patient from a DICOM file, here as it is installed. The three
take turns. `engine` says whether one was kept with its self-test, which the C library takes from `mmcaf-infer` of this
commit, or the cache was empty.
`times_baseline` is the median of the ratios of the turns, `difference` the largest one of a probability from this
commit's `mmcaf-infer`.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import usage
from cold_start import RUN, commit, study_files, timed
from rows import environment, write_rows

INSTALLED = "from mmcaf_cli.infer import main; main()"
SOURCE = usage.ROOT / "examples" / "embed" / "answer.c"


@dataclass(frozen=True)
class Program:
    """What answers, as one process. commit: of its sources. own: the folder of what it keeps."""

    commit: str
    own: Path
    command: tuple[str, ...]


def main() -> None:
    """Measure all three with and without a kept engine, and write a row for each."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--baseline", type=Path, required=True, metavar="CHECKOUT")
    asked.add_argument("--precision", default="auto")
    asked.add_argument("--runs", type=usage.count, default=9)
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    if not (arguments.baseline / "cli" / "mmcaf_cli").is_dir():
        asked.error(f"{arguments.baseline}: no checkout of this repository")
    with tempfile.TemporaryDirectory() as scratch:
        facts = environment(["numpy", "openvino"])
        rows = [{**facts, **row} for row in measured(arguments, Path(scratch))]
    write_rows(arguments.output, rows)


def measured(arguments: Any, scratch: Path) -> Iterator[dict[str, str]]:
    """A row for each program and state of the cache."""
    programs = made(arguments, scratch)
    expected = probabilities(programs["mmcaf-infer"])
    difference = max(abs(value - expected[label]) for label, value in probabilities(programs["libmmcaf"]).items())
    for engine in ("kept", "none"):
        if engine == "kept":  # The library takes what mmcaf-infer keeps: they have one folder.
            for program in programs.values():
                timed(program.command, program.own, program.commit)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
        for run in range(arguments.runs):
            for name in sorted(programs, reverse=bool(run % 2)):
                program = programs[name]
                if engine == "none":
                    shutil.rmtree(program.own / "cache", ignore_errors=True)
                found[name].append(timed(program.command, program.own, name))
        for name, program in programs.items():
            ratios = [own["ms"] / other["ms"] for own, other in zip(found[name], found["baseline"], strict=True)]
            row = {
                "commit": program.commit,
                "program": name,
                "precision": arguments.precision,
                "engine": engine,
                "runs": str(arguments.runs),
                "median_ms": f"{statistics.median(one['ms'] for one in found[name]):.0f}",
                "best_ms": f"{min(one['ms'] for one in found[name]):.0f}",
                "cpu_ms": f"{statistics.median(one['cpu_ms'] for one in found[name]):.0f}",
                "times_baseline": "" if name == "baseline" else f"{statistics.median(ratios):.3f}",
                "difference": f"{difference:.1e}" if name == "libmmcaf" else "",
            }
            print(row, flush=True)
            yield row


def made(arguments: Any, scratch: Path) -> dict[str, Program]:
    """The three, with the C program compiled and the study written in both forms."""
    from mmcaf_engine.bundle.default import demo_bundle
    from mmcaf_engine.demo.phantom import make_phantom

    arguments.study = None  # The demonstration's.
    study, record = study_files(arguments, scratch)
    phantom = make_phantom(0)
    phantom.hu.astype("<i2").tofile(scratch / "study.raw")
    numbers = map(str, (*phantom.hu.shape, *phantom.spacing_mm))
    program = compiled(scratch / "answer")
    before = arguments.baseline.resolve()
    options = (str(study), str(record), "--backend", "openvino", "--precision", arguments.precision, "--json")
    in_c = (str(program), str(demo_bundle()), str(scratch / "study.raw"), *numbers, str(record))
    return {
        "baseline": Program(commit(before), scratch / "before", (sys.executable, "-c", RUN, str(before), *options)),
        "mmcaf-infer": Program(commit(usage.ROOT), scratch / "here", (sys.executable, "-c", INSTALLED, *options)),
        "libmmcaf": Program(commit(usage.ROOT), scratch / "here", in_c),
    }


def compiled(program: Path) -> Path:
    """The example in C, with the C library of this installation."""
    from mmcaf_engine.capi.library import c_library

    library = c_library()
    command: Sequence[str] = [
        "cc",
        "-std=c99",
        "-O2",
        *library.cflags(),
        str(SOURCE),
        "-o",
        str(program),
        *library.libs(),
    ]
    subprocess.run(command, check=True)
    return program


def probabilities(program: Program) -> dict[str, float]:
    """What it answers."""
    environ = {**os.environ, "MMCAF_CACHE": str(program.own / "cache"), "XDG_CONFIG_HOME": str(program.own / "config")}
    done = subprocess.run(program.command, env=environ, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)["probabilities"]
    return found


if __name__ == "__main__":
    usage.run(main)
