"""What an ensemble of demonstration networks gains and costs: AUROC and one window's time, against one of its members.

    python benchmarks/ensemble_members.py --cache CACHE --folder MEMBERS
    mmcaf export MEMBERS/*.safetensors -o ens.mmcaf --no-explain
    mmcaf export MEMBERS/member-0.safetensors -o one.mmcaf --no-explain
    python benchmarks/ensemble.py --one one.mmcaf --ensemble ens.mmcaf --cache CACHE \\
        --output benchmarks/results/ensemble.csv

The one network must be the ensemble's first member. The ensemble answers the phantoms of the test split of
examples/demo_model/splits.py, on which nothing was trained or chosen (CACHE holds them as rendered there, and is filled
where it lacks some); what each member says of a study stands in the same answer, so that all are compared on the same
studies: `one` is the first member, `members_mean` the mean of the members' AUROC. Intervals are bootstrap, of 95 %;
`gain` is the ensemble's AUROC minus the first member's, paired. `wrong_widest` is the share of wrong answers among the
tenth of the studies with the largest spread, `wrong_rest` among the others. Then windows of the one network and of the
ensemble alternate in one process, in pairs whose order turns; `times_one` is the median ratio, with such an interval.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import usage
from numpy.typing import NDArray
from rows import environment, percentiles, write_rows

from mmcaf_engine import Bundle, load_bundle, open_session
from mmcaf_engine.bundle.golden import read_cases
from mmcaf_engine.evaluation.intervals import bootstrap_interval, paired_interval
from mmcaf_engine.evaluation.metrics import auroc, auroc_of_draws
from mmcaf_engine.result.decisions import decision_for

DRAWS = 4000
THRESHOLD = 0.5
AGREE = 1e-4
"""Largest difference of a logit between a member alone and within the ensemble."""


def main() -> None:
    """Measure on every backend and write the rows; who is right is measured on the first."""
    asked = usage.parser(__doc__)
    usage.add_outputs(asked, "--output")
    asked.add_argument("--one", type=Path, required=True, help="bundle of the first member")
    asked.add_argument("--ensemble", type=Path, required=True, help="bundle of all members")
    asked.add_argument("--cache", type=Path, required=True, help="folder of rendered studies")
    asked.add_argument("--studies", type=usage.count, default=300)
    asked.add_argument("--backend", nargs="+", default=["openvino", "onnxruntime"])
    asked.add_argument("--pairs", type=usage.count, default=30)
    arguments = asked.parse_args()
    inputs = [arguments.one, arguments.ensemble, arguments.cache]
    usage.try_outputs(asked, [("--output", arguments.output)], force=arguments.force, inputs=inputs)
    one, several = load_bundle(arguments.one), load_bundle(arguments.ensemble)
    if several.manifest.ensemble is None or one.manifest.ensemble is not None:
        asked.error("--one is a bundle of one network, --ensemble of several")
    rows = [{"backend": backend, **timed(one, several, backend, arguments.pairs)} for backend in arguments.backend]
    labels, members = answers(several, arguments.backend[0], arguments.cache, arguments.studies)
    rows[0] |= accuracy(labels, members)
    facts = environment(["numpy", "onnxruntime", "openvino", "torch"])
    for row in rows:
        print(row)
    write_rows(arguments.output, [{**row, **facts} for row in rows])


def answers(bundle: Bundle, backend: str, cache: Path, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of held-out phantoms the label [S], and every member's probability of label 1 [S, members]."""
    sys.path.insert(0, str(usage.ROOT / "examples" / "demo_model"))
    from cohort import load_split

    decision, score = decision_for(bundle.manifest), bundle.manifest.score.name
    labels, found = [], []
    with open_session(bundle, backend=backend, precision="fp32") as session:
        for study in load_split("test", cache, 2, count):
            image = study.windows.values
            outputs = session.run({"image": image, "table": np.tile(study.table, (len(image), 1))})
            answer = decision.aggregate(study.windows.starts, outputs[score])
            labels.append(study.label)
            found.append([own[1] for own in answer.members])
    return np.array(labels), np.array(found)


def accuracy(labels: NDArray[np.int64], members: NDArray[np.float64]) -> dict[str, str]:
    """The columns on who is right.

    Args:
        labels: of each study, [S]. members: each member's probability of label 1, [S, members].
    """
    one, joined, spread = members[:, 0], members.mean(axis=1), members.std(axis=1)
    draws = {name: auroc_of_draws(labels, scores) for name, scores in (("one", one), ("ensemble", joined))}
    wrong = (joined >= THRESHOLD) != (labels == 1)
    widest = np.argsort(-spread, kind="stable")[: max(len(spread) // 10, 1)]
    rest = np.setdiff1d(np.arange(len(spread)), widest)
    row = {"members": str(members.shape[1]), "studies": str(len(labels)), "positive": str(int(labels.sum()))}
    for name, scores in (("one", one), ("ensemble", joined)):
        row[f"auroc_{name}"] = f"{auroc(labels, scores):.4f}"
        row |= _interval(name, bootstrap_interval(labels, draws[name]))
    own = [auroc(labels, scores) for scores in members.T]
    row["auroc_members_mean"] = f"{np.mean([area for area in own if area is not None]):.4f}"
    row["gain"] = f"{float(row['auroc_ensemble']) - float(row['auroc_one']):+.4f}"
    row |= _interval("gain", paired_interval(labels, draws["ensemble"], draws["one"]))
    row |= {"spread_median": f"{np.median(spread):.3f}", "spread_p95": f"{np.percentile(spread, 95):.3f}"}
    return row | {"wrong_widest": f"{wrong[widest].mean():.3f}", "wrong_rest": f"{wrong[rest].mean():.3f}"}


def _interval(name: str, ends: tuple[float, float]) -> dict[str, str]:
    return {f"{name}_low": f"{ends[0]:.4f}", f"{name}_high": f"{ends[1]:.4f}"}


def timed(one: Bundle, several: Bundle, backend: str, pairs: int) -> dict[str, str]:
    """The columns on what a window takes, after the first member has answered the same in both."""
    inputs = {spec.name: read_cases(one, "fp32")[spec.name][:1] for spec in one.manifest.inputs}
    with (
        open_session(one, backend=backend, precision="fp32") as alone,
        open_session(several, backend=backend, precision="fp32") as together,
    ):
        works: list[Callable[[], Any]] = [lambda: alone.run(inputs), lambda: together.run(inputs)]
        score = one.manifest.score.name
        off = float(np.abs(works[0]()[score] - works[1]()[score][:, 0]).max())
        if not off <= AGREE:
            raise SystemExit(f"{backend}: the first member alone and within the ensemble differ by {off:.3g}")
        for work in works * 2:
            work()
        times = np.empty((pairs, 2))  # ms: one, the ensemble
        for at, pair in enumerate(times):
            for which in (0, 1) if at % 2 else (1, 0):
                began = time.perf_counter()
                works[which]()
                pair[which] = (time.perf_counter() - began) * 1e3
        threads = together.describe()["threads"]
    ratios = times[:, 1] / times[:, 0]
    drawn = np.random.default_rng(0).choice(ratios, (DRAWS, pairs))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return {
        "threads": str(threads),
        "one_ms": f"{np.median(times[:, 0]):.2f}",
        **percentiles(times[:, 1].tolist(), digits=2),
        "times_one": f"{np.median(ratios):.3f}",
        "times_low": f"{low:.3f}",
        "times_high": f"{high:.3f}",
        "one_mb": f"{_megabytes(one):.1f}",
        "ensemble_mb": f"{_megabytes(several):.1f}",
    }


def _megabytes(bundle: Bundle) -> float:
    return sum(entry.size for entry in bundle.manifest.files.values()) / 1e6


if __name__ == "__main__":
    usage.run(main)
