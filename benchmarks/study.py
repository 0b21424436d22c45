"""A whole study on the CPU: 300 slices of 512x512 from files to answer, against the network alone in the same run.

    python benchmarks/study.py --output benchmarks/results/study.csv
    python benchmarks/study.py --bundle lung.mmcaf --precision int8 --output benchmarks/results/study.csv

The slices are the demonstration's, repeated 1 mm apart, one uncompressed file each, read from a warm page cache.
Answers and single windows take turns in one process with one open session. `times_windows_alone` is the median, over
the runs, of an answer's time by the number of its windows times that run's median window: what reading, decoding,
preprocessing and aggregation add. cpu_s is the median CPU time of an answer, all threads together; the columns named
after stages are medians of the time spent on each, for decode and preprocess that of all their threads together. The
last row is `mmcaf-infer` as a whole process, from start to exit.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import usage
from rows import environment, percentiles, write_rows

from mmcaf_engine import Answerer, Bundle, load_bundle, open_session
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.demo.phantom import Phantom, make_phantom, record
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.inputs.prepare import prepare

SPACING_MM = 1.0
STAGES = ("read", "geometry", "record", "decode", "preprocess", "open", "copy_in", "infer", "copy_out", "aggregate")


def main() -> None:
    """Write the study, measure answers and windows in one process and cold answers in one each, write the rows."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output", required=False)
    asked.add_argument("--bundle", type=Path, default=demo_bundle())
    asked.add_argument("--backend", default="auto")
    asked.add_argument("--precision", default="auto")
    asked.add_argument("--slices", type=usage.count, default=300)
    asked.add_argument("--runs", type=usage.count, default=10)
    asked.add_argument("--windows", type=usage.count, default=5, help="Single windows measured between two answers.")
    asked.add_argument("--study", type=Path, help=argparse.SUPPRESS)
    arguments = asked.parse_args()
    if arguments.study:
        print(json.dumps(with_open_session(arguments)))
        return
    output = usage.given(asked, "--output", arguments.output)
    usage.try_outputs(asked, [("--output", output)], force=arguments.force, inputs=[arguments.bundle])
    with tempfile.TemporaryDirectory() as scratch:
        arguments.study = Path(scratch)
        write_study(arguments.study, arguments.slices)
        rows = [*in_own_process(arguments), cold(arguments)]
    facts = environment(["numpy", "pydicom", "onnxruntime", "openvino"])
    for row in rows:
        print(row)
    write_rows(output, [{**row, **facts} for row in rows])


def write_study(folder: Path, slices: int) -> None:
    """`study/` and `record.json`: the demonstration's patient with its slices repeated until there are enough."""
    source = make_phantom(0)
    _, between_rows, between_columns = source.spacing_mm
    repeated = source.hu[np.arange(slices) % len(source.hu)]
    write_series(Phantom(repeated, (SPACING_MM, between_rows, between_columns), source.patient), folder / "study")
    (folder / "record.json").write_text(json.dumps(record(source.patient)), encoding="utf-8")


def record_file(folder: Path, bundle: Bundle) -> Path | None:
    return None if bundle.manifest.table is None else folder / "record.json"


def in_own_process(arguments: argparse.Namespace) -> list[dict[str, str]]:
    """This script again, on the study that was written, so that peak memory is of the answers alone."""
    options = ("bundle", "backend", "precision", "runs", "windows", "study")
    command = [sys.executable, __file__, *(f"--{name}={getattr(arguments, name)}" for name in options)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    rows: list[dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def with_open_session(arguments: argparse.Namespace) -> list[dict[str, str]]:
    """Answers and single windows in turn; every answer must be the same, or nothing is reported."""
    bundle = load_bundle(arguments.bundle)
    study, clinical = arguments.study / "study", record_file(arguments.study, bundle)
    with open_session(bundle, backend=arguments.backend, precision=arguments.precision) as session:
        about = session.describe()
        prepared = prepare(study, clinical, bundle.manifest)
        inputs = prepared.inputs(len(prepared) // 2, bundle.manifest)
        del prepared
        answerer = Answerer(session)
        first = answerer.answer(study, clinical).result
        answers: list[float] = []
        cpu: list[float] = []
        windows: list[list[float]] = []
        stages: list[dict[str, float]] = []
        for _ in range(arguments.runs):
            windows.append([milliseconds(lambda: session.run(inputs)) for _ in range(arguments.windows)])
            used, started = cpu_seconds(), time.perf_counter()
            result = answerer.answer(study, clinical).result
            answers.append((time.perf_counter() - started) * 1e3)
            cpu.append(cpu_seconds() - used)
            stages.append(result.timing_ms)
            if result.windows != first.windows:
                raise SystemExit("two answers to one study differ; no figure is worth printing")
    alone = len(first.windows) * np.median(windows, axis=1)
    common = {
        "bundle": bundle.manifest.name,
        "backend": f"{about['backend']} {about['version']}",
        "precision": about["precision"],
        "threads": str(about["threads"]),
        "slices": str(first.study.slices),
        "windows": str(len(first.windows)),
        "self_test_max_abs_error": f"{about['self_test']['max_abs_error']:.1e}",
    }
    peak = {"peak_mb": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}"}
    whole = {
        "times_windows_alone": f"{np.median(answers / alone):.3f}",
        "cpu_s": f"{np.median(cpu):.2f}",
        **peak,
        **medians(stages),
    }
    single = [spent for turn in windows for spent in turn]
    return [
        {"case": "study, open session", **common, **percentiles(answers), **whole},
        {"case": "one window, same process", **common, "windows": "1", **percentiles(single), **peak},
    ]


def cold(arguments: argparse.Namespace) -> dict[str, str]:
    """`mmcaf-infer` from start to exit; the first run, which fills the caches, does not count."""
    bundle = load_bundle(arguments.bundle)
    answer = arguments.study / "answer.json"
    command: list[Any] = [Path(sys.executable).with_name("mmcaf-infer"), arguments.study / "study"]
    command += [file for file in [record_file(arguments.study, bundle)] if file is not None]
    command += ["--bundle", arguments.bundle, "--backend", arguments.backend, "--precision", arguments.precision]
    command += ["--json", "-o", answer, "--force"]
    spent, cpu, stages, peak = [], [], [], 0
    for _ in range(arguments.runs + 1):
        started = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        spent.append((time.perf_counter() - started) * 1e3)
        cpu.append(used.ru_utime + used.ru_stime)
        peak = max(peak, used.ru_maxrss)
        if status:
            raise SystemExit(f"{command}: exit status {status}")
        result = json.loads(answer.read_text(encoding="utf-8"))
        stages.append(result["timing_ms"])
    return {
        "case": "study, whole process",
        "bundle": bundle.manifest.name,
        "backend": result["engine"]["backend"],
        "precision": result["engine"]["precision"],
        "slices": str(result["study"]["slices"]),
        "windows": str(len(result["windows"])),
        **percentiles(spent[1:]),
        "cpu_s": f"{np.median(cpu[1:]):.2f}",
        "peak_mb": f"{peak / 1024:.0f}",
        **medians(stages[1:]),
    }


def milliseconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1e3


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def medians(stages: list[dict[str, float]]) -> dict[str, str]:
    return {f"{stage}_ms": f"{np.median([run[stage] for run in stages]):.1f}" for stage in STAGES if stage in stages[0]}


if __name__ == "__main__":
    usage.run(main)
