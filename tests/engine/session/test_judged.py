"""A precision answers in the configurations that the bundle's gate has judged, and FP32 in every one."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends_here import only
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.accuracy import (
    ACCURACY_NAME,
    Accuracy,
    CohortSummary,
    Configuration,
    Judged,
    Reference,
    Runtime,
    parse_accuracy,
    write_accuracy,
)
from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.evaluation.compare import StudyScores, agreement
from mmcaf_engine.evaluation.performance import performance
from mmcaf_engine.manifest import DEFAULT_ACCURACY_BOUNDS
from mmcaf_engine.result.decisions import BinaryDecision
from mmcaf_engine.session.choice import choose
from mmcaf_engine.session.judged import UnjudgedError, as_written, configuration
from mmcaf_engine.session.session import open_session
from mmcaf_engine.session.timings import LEAST_GAIN, Timing, Tuning, keep_tuning, tuned_for
from mmcaf_engine.session.tune import tune
from refusals import refused
from several_precisions import add_precisions

RULE = BinaryDecision(("quiet", "loud"), 0.5)
RUNTIME = Runtime(backend="openvino", version="2026.4", device="CPU")
IN_OPENVINO = configuration(OpenVinoBackend, "int8")
AS_WRITTEN = as_written("int8")

Make = Callable[..., Bundle]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    only(monkeypatch, "openvino", "onnxruntime")


def accuracy_of(*judged: Configuration) -> Accuracy:
    """INT8 passed, judged so; without any, as a bundle says it from before configurations were recorded."""
    values = np.array([0.2, 0.7, 0.9])
    exact = StudyScores(RUNTIME, values, np.log(values / (1 - values)))
    facts = agreement(exact, exact, (0, 1, 1), RULE, DEFAULT_ACCURACY_BOUNDS["int8"])
    figures = {"runtime": RUNTIME, "max_probability_difference": 0.0, "max_logit_difference": 0.0, "flips": 0.0}
    stored = tuple(Judged(configuration=one, **figures) for one in judged) or None  # type: ignore[arg-type]
    return Accuracy(
        cohort=CohortSummary(source="cohort.csv", studies=3, refused=0, labelled=3, positives=2),
        threshold=0.5,
        reference=Reference(**RUNTIME.model_dump(), performance=performance((0, 1, 1), exact.probabilities, RULE)),
        precisions={"int8": facts.model_copy(update={"judged": stored})},
    )


@pytest.fixture
def judged_by(tiny_bundle: Path, tmp_path: Path) -> Make:
    """Gives a bundle with an INT8 network that was judged in these configurations."""

    def made(*judged: Configuration) -> Bundle:
        write_accuracy(accuracy_of(*judged), tiny_bundle / ACCURACY_NAME)
        return load_bundle(add_precisions(tiny_bundle, tmp_path / "judged.mmcaf", {"int8": 0.05}))

    return made


@pytest.mark.parametrize(
    ("judged", "openvino", "onnxruntime"),
    [
        ((), True, True),
        ((IN_OPENVINO,), True, False),
        ((AS_WRITTEN,), False, True),
        ((IN_OPENVINO, AS_WRITTEN), True, True),
        ((IN_OPENVINO.model_copy(update={"hint": "bf16"}),), False, False),
        ((IN_OPENVINO.model_copy(update={"between": "bf16"}),), False, False),
        ((AS_WRITTEN.model_copy(update={"between": "fp16"}),), False, False),
        ((IN_OPENVINO.model_copy(update={"kernels": ("gated_lstm",)}),), False, False),
    ],
    ids=["not recorded", "openvino", "as written", "both", "hint", "between", "as written, between", "kernels"],
)
def test_it_answers_as_it_was_judged(
    judged_by: Make, judged: tuple[Configuration, ...], openvino: bool, onnxruntime: bool
) -> None:
    bundle = judged_by(*judged)
    for backend, answers in (("openvino", openvino), ("onnxruntime", onnxruntime)):
        open_session(bundle, backend=backend, precision="fp32", threads=1).close()
        if answers:
            open_session(bundle, backend=backend, precision="int8", threads=1).close()
            continue
        with refused(UnjudgedError, backend, "int8", bundle.manifest.name, "judged"):
            open_session(bundle, backend=backend, precision="int8", threads=1)
    tuned = tune(bundle, runs=1, threads=1)
    timed = {one.backend for one in tuned.tuning.timings if one.precision == "int8"}
    assert timed == {name for name, answers in (("openvino", openvino), ("onnxruntime", onnxruntime)) if answers}
    assert all("judged" in one.reason for one in tuned.left_out if one.precision == "int8")


@pytest.mark.parametrize(
    ("judged", "own", "answers"),
    [
        ([("a", "b"), ()], (), True),
        ([("a", "b"), ()], ("a",), True),
        ([("a", "b"), ()], ("a", "b"), True),
        ([("a", "b"), ()], ("a", "c"), False),
        ([("a", "b")], ("a", "b"), True),
        ([("a", "b")], ("a",), False),
        ([("a", "b")], (), False),
        ([()], ("a",), False),
    ],
)
def test_some_of_the_kernels(
    judged_by: Make,
    monkeypatch: pytest.MonkeyPatch,
    judged: list[tuple[str, ...]],
    own: tuple[str, ...],
    answers: bool,
) -> None:
    """Of a network that was judged with kernels and without, any of them may be missing; no other may take part."""
    bundle = judged_by(*(IN_OPENVINO.model_copy(update={"kernels": kernels}) for kernels in judged))
    described = OpenVinoBackend.describe
    monkeypatch.setattr(OpenVinoBackend, "describe", lambda one: {**described(one), "kernels": dict.fromkeys(own, 1)})
    with nullcontext() if answers else pytest.raises(UnjudgedError):
        open_session(bundle, backend="openvino", precision="int8", threads=1).close()


def test_what_the_processor_was_judged_in_says_nothing_of_another_device(judged_by: Make) -> None:
    bundle = judged_by(IN_OPENVINO, AS_WRITTEN)
    with pytest.raises(UnjudgedError, match=r"computed by openvino:hetero:cpu \("):
        open_session(bundle, backend="openvino:hetero:cpu", precision="int8", threads=1)


def test_a_named_precision_goes_to_the_backend_that_it_was_judged_in(judged_by: Make) -> None:
    bundle = judged_by(AS_WRITTEN)
    choice = choose(bundle, precision="int8")
    assert choice.backend is OnnxRuntimeBackend and "judged" in str(choice.fallback)


def test_what_was_tuned_before_gives_way_to_fp32(judged_by: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as where kernels that the network was judged with are missing now: found when it is open, and said."""
    bundle = judged_by(IN_OPENVINO.model_copy(update={"kernels": ("gated_lstm",)}))
    times = [("openvino", "fp32", 10.0), ("openvino", "int8", 10 * (1 - 2 * LEAST_GAIN))]
    timings = tuple(Timing(backend=a, precision=b, median_ms=ms, p95_ms=ms) for a, b, ms in times)  # type: ignore[arg-type]
    keep_tuning(Tuning(bundle="b", facts=tuned_for(bundle, 1), runs=1, timings=timings))
    with open_session(bundle, threads=1) as session:
        assert session.precision == "fp32" and "gated_lstm" in str(session.fallback)
    with pytest.raises(UnjudgedError):
        open_session(bundle, precision="int8", threads=1)
    described = OpenVinoBackend.describe
    monkeypatch.setattr(OpenVinoBackend, "describe", lambda one: {**described(one), "kernels": {"gated_lstm": 2}})
    with open_session(bundle, threads=1) as session:
        assert (session.precision, session.fallback) == ("int8", None)


def test_an_old_accuracy_is_written_as_it_was(tmp_path: Path) -> None:
    write_accuracy(accuracy_of(), tmp_path / "old.json")
    assert "judged" not in json.loads((tmp_path / "old.json").read_text())["precisions"]["int8"]
    write_accuracy(accuracy_of(IN_OPENVINO), tmp_path / "new.json")
    data = (tmp_path / "new.json").read_bytes()
    assert parse_accuracy(data) == accuracy_of(IN_OPENVINO)
    stored: Any = json.loads(data)["precisions"]["int8"]["judged"][0]["configuration"]
    assert stored == {"backend": "openvino", "hint": "f32", "between": "fp32", "kernels": []}
