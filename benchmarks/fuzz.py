"""Try damaged studies, records and manifests: every one must be accepted or refused with an error of ours.

    python benchmarks/fuzz.py --cases 20000

Prints the outcomes by class, the slowest case and the peak of memory; exit status 1 if anything else came out.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import usage

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "engine")]


def main() -> int:
    """Run the cases and print what became of them."""
    asked = usage.parser(__doc__)
    asked.add_argument("--cases", type=usage.count, default=20_000)
    asked.add_argument("--seed", type=int, default=0)
    arguments = asked.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MMCAF_CACHE"] = str(Path(scratch) / "cache")
        import fuzzing
        from tiny_bundle import make_tiny_bundle

        bundle = make_tiny_bundle(Path(scratch) / "tiny.mmcaf")
        work = Path(scratch) / "work"
        work.mkdir()
        started = time.perf_counter()
        outcome = fuzzing.run(arguments.cases, work, bundle, seed=arguments.seed)
        spent = time.perf_counter() - started
    for (kind, result), count in sorted(outcome.cases.items()):
        print(f"{kind:12s} {result:24s} {count:6d}")
    for number, trace in outcome.foreign[:5]:
        print(f"case {number}:\n{trace}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{arguments.cases} cases of seed {arguments.seed} in {spent:.0f} s, slowest {outcome.slowest_s:.2f} s "
        f"(case {outcome.slowest_case}), peak memory {peak:.0f} MB, {len(outcome.foreign)} foreign exceptions"
    )
    return 1 if outcome.foreign else 0


if __name__ == "__main__":
    usage.run(main)
