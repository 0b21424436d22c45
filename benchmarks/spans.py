"""What the always-on spans of an answer cost: the same answers with a stopwatch and with one that notes nothing.

    python benchmarks/spans.py --output benchmarks/results/spans.csv

Answers alternate, in pairs whose order turns, in one process with an open session. The cost is the median over the
pairs, with a bootstrap interval; beside it stands what it should be: the spans of one answer, times what one takes
alone, and working out the stages at the end.
"""

import argparse
import gc
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import usage
from rows import environment, percentiles, write_rows

from mmcaf_engine import Answerer, load_bundle, open_session
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.timing import Stopwatch, span
from study import record_file, write_study

DRAWS = 4000
ONE_SPAN_TIMES = 20_000


class Silent(Stopwatch):
    """Notes nothing, and is never the current one, so that spans everywhere do nothing."""

    def span(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def active(self) -> AbstractContextManager[None]:
        return nullcontext()

    def stages_ms(self) -> dict[str, float]:
        return {}


def main() -> None:
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--bundle", type=Path, default=demo_bundle())
    asked.add_argument("--backend", nargs="*", default=["openvino", "onnxruntime"])
    asked.add_argument("--slices", type=usage.count, default=26)
    asked.add_argument("--pairs", type=usage.count, default=200)
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force)
    with tempfile.TemporaryDirectory() as scratch:
        write_study(Path(scratch), arguments.slices)
        rows = [measured(arguments, Path(scratch), backend) for backend in arguments.backend]
    facts = environment(["numpy", "pydicom", "onnxruntime", "openvino"])
    for row in rows:
        print(row)
    write_rows(arguments.output, [{**row, **facts} for row in rows])


def measured(arguments: argparse.Namespace, folder: Path, backend: str) -> dict[str, str]:
    """The row of one backend."""
    bundle = load_bundle(arguments.bundle)
    study, clinical = folder / "study", record_file(folder, bundle)
    with open_session(bundle, backend=backend) as session:
        answerer = Answerer(session)

        def answer_ms(watch: Stopwatch) -> float:
            started = time.perf_counter()
            answerer.answer(study, clinical, watch=watch)
            return (time.perf_counter() - started) * 1e3

        for _ in range(3):
            answer_ms(Stopwatch())
        watch = Stopwatch()
        answer_ms(watch)
        spans, expected_ms = len(watch.spans), cost_alone_ms(watch)
        taken = np.empty((arguments.pairs, 2))  # ms: with, without
        gc.disable()
        for at, pair in enumerate(taken):
            for which in (0, 1) if at % 2 else (1, 0):
                pair[which] = answer_ms(Silent() if which else Stopwatch())
            gc.collect()
        gc.enable()
    differences = (taken[:, 0] - taken[:, 1]) / np.median(taken[:, 1]) * 100
    drawn = np.random.default_rng(0).choice(differences, (DRAWS, len(differences)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return {
        "case": "study, open session",
        "bundle": bundle.manifest.name,
        "backend": backend,
        "slices": str(arguments.slices),
        "pairs": str(len(taken)),
        "spans": str(spans),
        **percentiles(taken[:, 0].tolist()),
        "without_p50_ms": f"{np.median(taken[:, 1]):.1f}",
        "overhead_percent": f"{np.median(differences):+.3f}",
        "overhead_low": f"{low:+.3f}",
        "overhead_high": f"{high:+.3f}",
        "counted_ms": f"{expected_ms:.3f}",
        "counted_percent": f"{100 * expected_ms / np.median(taken[:, 1]):.3f}",
    }


def cost_alone_ms(watch: Stopwatch) -> float:
    """What the spans of this stopwatch took by themselves, and the sums at the end."""
    empty = Stopwatch()
    with empty.active():
        started = time.perf_counter()
        for _ in range(ONE_SPAN_TIMES):
            with span("read"):
                pass
        one_ms = (time.perf_counter() - started) * 1e3 / ONE_SPAN_TIMES
    started = time.perf_counter()
    watch.stages_ms()
    return len(watch.spans) * one_ms + (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    usage.run(main)
