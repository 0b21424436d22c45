"""What a Grad-CAM map costs: the graph of a bundle's heat maps against one window of its network, in turn.

    mmcaf export ... -o lung.mmcaf
    python benchmarks/heat_maps.py --bundle lung.mmcaf --output benchmarks/results/heat_maps.csv

Windows and maps of the first stored case alternate in one process, in pairs whose order turns, with both graphs open.
`times_window` is the median over the pairs, with a bootstrap interval of 95 %; `open_ms` is what the first map took,
with the graph's opening and its self-test, `open_again_ms` the same of a second session.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import usage
from rows import environment, percentiles, write_rows

from mmcaf_engine import Bundle, load_bundle, open_session
from mmcaf_engine.bundle.explaining import explaining
from mmcaf_engine.bundle.golden import read_cases
from mmcaf_engine.manifest import COTANGENT

DRAWS = 4000


def main() -> None:
    """Measure every bundle on every backend and write the rows."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--bundle", type=Path, nargs="+", required=True, help="bundles that have such a graph")
    asked.add_argument("--backend", nargs="*", default=["openvino", "onnxruntime"])
    asked.add_argument("--pairs", type=usage.count, default=30)
    arguments = asked.parse_args()
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force, inputs=arguments.bundle)
    rows = [
        measured(load_bundle(bundle), backend, arguments.pairs)
        for bundle in arguments.bundle
        for backend in arguments.backend
    ]
    facts = environment(["numpy", "onnxruntime", "openvino"])
    for row in rows:
        print(row)
    write_rows(arguments.output, [{**row, **facts} for row in rows])


def measured(bundle: Bundle, backend: str, pairs: int) -> dict[str, str]:
    """The row of one bundle on one backend."""
    cases = read_cases(explaining(bundle), "fp32")
    inputs = {spec.name: cases[spec.name][:1] for spec in bundle.manifest.inputs}
    cotangent = cases[COTANGENT][:1]
    opened = []
    for _ in range(2):
        with open_session(bundle, backend=backend, precision="fp32") as session:
            opened.append(taken_ms(lambda: session.explain(inputs, cotangent)))
    with open_session(bundle, backend=backend, precision="fp32") as session:
        works: list[Callable[[], Any]] = [lambda: session.run(inputs), lambda: session.explain(inputs, cotangent)]
        for work in works * 3:
            work()
        times = np.empty((pairs, 2))  # ms: a window, a map
        for at, pair in enumerate(times):
            for which in (0, 1) if at % 2 else (1, 0):
                pair[which] = taken_ms(works[which])
        facts = session.describe()
    ratios = times[:, 1] / times[:, 0]
    drawn = np.random.default_rng(0).choice(ratios, (DRAWS, pairs))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return {
        "bundle": bundle.manifest.name,
        "backend": backend,
        "threads": str(facts["threads"]),
        "window_ms": f"{np.median(times[:, 0]):.2f}",
        **percentiles(times[:, 1].tolist(), digits=2),
        "times_window": f"{np.median(ratios):.3f}",
        "low": f"{low:.3f}",
        "high": f"{high:.3f}",
        "open_ms": f"{opened[0]:.0f}",
        "open_again_ms": f"{opened[1]:.0f}",
    }


def taken_ms(work: Callable[[], Any]) -> float:
    """Milliseconds that it takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    usage.run(main)
