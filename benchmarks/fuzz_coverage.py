"""Damaged studies, pictures and records that coverage leads, by atheris, for some minutes.

    python -m venv /tmp/atheris && /tmp/atheris/bin/pip install atheris
    /tmp/atheris/bin/python benchmarks/fuzz_coverage.py --packages .venv/lib/python3.11/site-packages \\
        --seconds 600 --output benchmarks/results/fuzz_coverage.csv

atheris is no dependency: it runs from an environment of its own, and takes the rest from the packages of the one in
which the project is installed. The corpus begins with the sound and the damaged inputs of tests/fuzzing. An input is
a byte that says what is read, and the file. What counts as a finding is as in fuzz.py, but for answers, which nothing
is held against; each is kept beside the corpus with its trace. Prints and writes executions, branches and features that
were covered by the seeds and at the end, and findings.
"""

import argparse
import hashlib
import importlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import usage

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 40
"""Damaged inputs of each kind that the corpus begins with."""
SECONDS, MEGABYTES = 10, 3000
"""Of one input, and of the process."""
INSTRUMENTED = (
    "pydicom.filereader",
    "nibabel.nifti1",
    "mmcaf_engine.study",
    "mmcaf_engine.image",
    "mmcaf_engine.record.record",
)
TARGETS = ("study", "NIfTI", "picture", "record")
Status = tuple[int, ...]
"""Executions, branches, features and inputs of the corpus, as libFuzzer counts them."""
_STATUS = re.compile(r"#(\d+)\s+(INITED|DONE|NEW|REDUCE|pulse)\s+cov: (\d+) ft: (\d+) corp: (\d+)/")


def main() -> int:
    """Make the corpus, run atheris, write the row."""
    asked = usage.parser(__doc__)
    asked.add_argument("--packages", type=Path, required=True, help="site-packages of the project's environment.")
    asked.add_argument("--seconds", type=usage.count, default=600)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--folder", type=usage.path, help="For the corpus and the findings; else a temporary one.")
    asked.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments, rest = asked.parse_known_args()
    if not arguments.worker:
        usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    packages = str(arguments.packages.resolve())
    sys.path[:0] = [str(ROOT / name) for name in ("engine", "export", "cli", "kernels", "tests", "tests/engine")]
    sys.path.append(packages)
    if arguments.worker:
        return work(arguments.folder, rest)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("corpus", "findings", "work"):
            (folder / name).mkdir(exist_ok=True)
        seeds = write_seeds(folder)
        statuses = follow(folder, arguments.seconds)
        found = sorted(path for path in (folder / "findings").iterdir() if path.suffix != ".txt")
        for path in found:
            told = path.with_name(f"{path.name}.txt")
            print(path.name, told.read_text(encoding="utf-8")[:2000] if told.exists() else "")
        return report(arguments, seeds, statuses, len(found))


def follow(folder: Path, seconds: int) -> list[Status]:
    """What libFuzzer says of each run: it ends where an input hangs or kills the process, and another goes on."""
    statuses: list[Status] = []
    started = time.monotonic()
    while (left := seconds - int(time.monotonic() - started)) > 0:
        bounds = [f"-max_total_time={left}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", "-max_len=65536"]
        words = [sys.executable, __file__, *sys.argv[1:], "--worker", "--folder", str(folder), *bounds]
        words += [f"-artifact_prefix={folder}/findings/", str(folder / "corpus")]
        ran = subprocess.run(words, capture_output=True, text=True, check=False, errors="replace")
        said = [(line[2], tuple(map(int, line.group(1, 3, 4, 5)))) for line in _STATUS.finditer(ran.stderr)]
        begin = [status for what, status in said if what == "INITED"]
        if not begin:
            raise SystemExit(f"atheris tried nothing:\n{ran.stderr[-4000:]}")
        statuses += [begin[0], said[-1][1]]
        if ran.returncode:
            print(ran.stderr[-2500:])
    return statuses


def report(arguments: argparse.Namespace, seeds: int, statuses: list[Status], findings: int) -> int:
    """Print and write the row."""
    from rows import environment, write_rows

    _, branches, features, _ = statuses[0]
    _, last_branches, last_features, corpus = statuses[-1]
    row = {
        "seconds": str(arguments.seconds),
        "seeds": str(seeds),
        "executions": str(sum(status[0] for status in statuses[1::2])),
        "branches_of_seeds": str(branches),
        "branches": str(last_branches),
        "features_of_seeds": str(features),
        "features": str(last_features),
        "corpus": str(corpus),
        "findings": str(findings),
        "command": f"fuzz_coverage.py --seconds {arguments.seconds}",
        **environment(["atheris", "numpy", "pydicom", "nibabel", "imagecodecs"]),
    }
    print(row)
    write_rows(arguments.output, [row])
    return 1 if findings else 0


def write_seeds(folder: Path) -> int:
    """Inputs of the generators: those of seed 0, by what they are."""
    import numpy as np

    from fuzzing import codestreams, files, nested, pictures, records, volumes

    makers = {
        "study": [files.any_study, nested.odd_elements, codestreams.streams],
        "NIfTI": [volumes.headers],
        "picture": [pictures.chunks, codestreams.streams],
        "record": [records.flat_records, records.fhir_records, records.grammatical_records],
    }
    count = 0
    for target, kinds in makers.items():
        for at, kind in enumerate(kinds):
            make = kind(folder / "work" / f"{target}{at}")
            for number in range(SEEDS):
                make(np.random.default_rng([0, number]))
                for path in sorted((folder / "work" / f"{target}{at}").glob("*")):
                    if path.is_file() and path.stat().st_size < 65_000:
                        data = bytes([TARGETS.index(target)]) + path.read_bytes()
                        name = hashlib.sha256(data).hexdigest()[:16]
                        count += not (folder / "corpus" / name).exists()
                        (folder / "corpus" / name).write_bytes(data)
    return count


def work(folder: Path, words: list[str]) -> int:
    """Run atheris in this process, with the readers instrumented."""
    import atheris

    with atheris.instrument_imports(include=["mmcaf_engine", "pydicom", "nibabel"]):
        for name in INSTRUMENTED:
            importlib.import_module(name)

    from engine.record.test_fhir import SPEC, STUDY_DATE
    from fuzzing.case import Answer, Case, answer_of_picture, answer_of_study
    from fuzzing.files import SECRETS
    from fuzzing.judge import judge
    from mmcaf_engine.record.record import read_record

    names = {"study": "input", "NIfTI": "input.nii", "picture": "input.png", "record": "input.json"}
    paths = {target: folder / "work" / name for target, name in names.items()}

    def of_record() -> Answer:
        record = read_record(paths["record"], SPEC, study_date=STUDY_DATE)
        return Answer("", (*record.warnings, *record.remarks))

    attempts: dict[str, Callable[[], Answer]] = {
        "study": lambda: answer_of_study(paths["study"], "hounsfield"),
        "NIfTI": lambda: answer_of_study(paths["NIfTI"], "rescaled", None),
        "picture": lambda: answer_of_picture(paths["picture"]),
        "record": of_record,
    }

    def test(data: bytes) -> None:
        if not data:
            return
        target = TARGETS[data[0] % len(TARGETS)]
        paths[target].write_bytes(data[1:])
        # Of the files the patient's data stand where a mutation may move them into any text; of records they are none.
        verdict = judge(Case(attempts[target], target, data, None, SECRETS if target == "study" else ()))
        if verdict.finding:
            name = hashlib.sha256(f"{verdict.finding[:40]}{verdict.trace[-300:]}".encode()).hexdigest()[:16]
            (folder / "findings" / name).write_bytes(data)
            told = f"{target}: {verdict.result}: {verdict.finding}\n{verdict.trace}"
            (folder / "findings" / f"{name}.txt").write_text(told, encoding="utf-8")

    os.environ.setdefault("MMCAF_CACHE", str(folder / "work" / "cache"))
    atheris.Setup([sys.argv[0], *words], test)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    usage.run(main)
