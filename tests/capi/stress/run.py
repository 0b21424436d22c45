"""Answers the demonstration thousands of times on several threads, with wrong calls in between: plain, to see whether
memory grows, or with the library built for a sanitizer.

    python tests/capi/stress/run.py                              10,000 answers on 4 threads
    python tests/capi/stress/run.py --sanitize address,undefined --answers 200
    python tests/capi/stress/run.py --sanitize thread --answers 200

What is suppressed is named in thread.txt and leak.txt: foreign libraries alone.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from sanitized_build import build, usable_cores  # noqa: E402
from stress_study import write_study  # noqa: E402

ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "LSAN_OPTIONS": f"suppressions={HERE / 'leak.txt'}:print_suppressions=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": f"suppressions={HERE / 'thread.txt'}:ignore_noninstrumented_modules=1:halt_on_error=0",
}


def main() -> int:
    """Run it; 0 where nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sanitize", default="", help="address,undefined or thread; without, memory is watched")
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--bundle", type=Path, help="without it, the demonstration")
    parser.add_argument("--build", type=Path, help="folder to build in, which stays; without it, a temporary one")
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="compilers at a time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        options = {"MMCAF_SANITIZE": given.sanitize, "MMCAF_STRESS": "ON"}
        built = build(given.build or folder / "build", ["capi_stress"], options, jobs=given.jobs)
        arguments = write_study(folder, given.bundle)
        command = [built / "capi_stress", *arguments, given.answers, given.threads]
        ended = subprocess.run([*map(str, command)], env={**os.environ, **ENVIRONMENT}, check=False)
    sys.stdout.write(f"{given.sanitize or 'plain'}: {'nothing found' if ended.returncode == 0 else 'FAILED'}\n")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
