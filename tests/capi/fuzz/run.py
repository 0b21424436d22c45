"""Looks, with libFuzzer, for bytes that the C library takes wrongly: manifests, records, zips. Needs Clang.

    python tests/capi/fuzz/run.py --seconds 600
    python tests/capi/fuzz/run.py record --seconds 60

What it finds is written beside where it is run. What it learned, as few files as tell the same, becomes the corpus with
--keep; the tests read the corpus again.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from sanitized_build import build, usable_cores  # noqa: E402

TARGETS = ("manifest", "record", "zip")
LONGEST = 8192
"""Bytes of an input that are tried."""
KEPT = 400
"""Bytes of a file of the corpus at most that is kept beside those that were written by hand."""


def main() -> int:
    """Run it; 0 where nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help=f"{', '.join(TARGETS)}; without, all")
    parser.add_argument("--seconds", type=int, default=600, help="for each")
    parser.add_argument("--keep", action="store_true", help="add what was learned to the corpus")
    parser.add_argument("--build", type=Path, help="folder to build in, which stays; without it, a temporary one")
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="compilers at a time")
    given = parser.parse_args()
    if unknown := sorted(set(given.targets) - set(TARGETS)):
        parser.error(f"unknown: {', '.join(unknown)}")
    targets = given.targets or TARGETS
    options = {"MMCAF_SANITIZE": "address,undefined", "MMCAF_FUZZ": "ON"}
    options |= {"CMAKE_C_COMPILER": "clang", "CMAKE_CXX_COMPILER": "clang++"}
    with tempfile.TemporaryDirectory() as scratch:
        names = [f"fuzz_{target}" for target in targets]
        built = build(given.build or Path(scratch) / "build", names, options, jobs=given.jobs)
        return max(
            run(built / f"fuzz_{target}", target, given.seconds, Path(scratch), given.keep) for target in targets
        )


def run(program: Path, target: str, seconds: int, scratch: Path, keep: bool) -> int:
    """One target; libFuzzer's exit code."""
    corpus, learned = HERE / "corpus" / target, scratch / target
    learned.mkdir()
    command = [
        str(program),
        str(learned),
        str(corpus),
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        "-timeout=10",
    ]
    ended = subprocess.run([*command, f"-artifact_prefix={target}-", "-print_final_stats=1"], check=False)
    sys.stdout.write(f"{target}: {'nothing found' if ended.returncode == 0 else 'FAILED'} in {seconds} s\n")
    if keep and ended.returncode == 0:
        for file in learned.iterdir():
            if file.stat().st_size > KEPT:
                file.unlink()
        subprocess.run([str(program), "-merge=1", str(corpus), str(learned)], check=True)
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
