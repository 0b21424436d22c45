"""`evaluate_bundle`: which precisions are run, what is left out, and what is refused before a study is read."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.accuracy import Estimate
from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.demo.phantom import make_phantom
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.errors import BackendError, MmcafError, StudyError, UsageError
from mmcaf_engine.evaluation.cases import Cohort, FileCase
from mmcaf_engine.evaluation.metrics import roc_curve
from mmcaf_engine.evaluation.roc_plot import Curve, check_roc, draw_evaluation, draw_roc
from mmcaf_engine.evaluation.run import evaluate_bundle, known_precisions
from refusals import Fact, refused
from several_precisions import add_precisions
from tiny_liver import make_tiny_liver


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Two small studies, one of each label."""
    folder = tmp_path_factory.mktemp("cohort")
    cases = []
    for seed in (0, 1):
        phantom = make_phantom(seed, size=64)
        write_series(phantom, folder / f"series{seed}")
        record = folder / f"record{seed}.json"
        record.write_text(json.dumps({"sex": phantom.patient.sex, "age": phantom.patient.age}))
        cases.append(FileCase(f"study{seed}", seed, folder / f"series{seed}", record))
    return Cohort("two studies", tuple(cases))


@pytest.fixture(scope="module")
def several(tiny_bundle_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with an int8 that is off by 0.05 in logit."""
    output = tmp_path_factory.mktemp("several") / "several.mmcaf"
    return load_bundle(add_precisions(tiny_bundle_source, output, {"int8": 0.05}))


def test_all_that_the_bundle_holds(several: Bundle, cohort: Cohort) -> None:
    told: list[tuple[str, int, int]] = []
    found = evaluate_bundle(several, cohort, backend="onnxruntime", progress=lambda *step: told.append(step))
    assert told == [("studies", 1, 2), ("studies", 2, 2)]
    assert set(found.accuracy.precisions) == {"int8"} and not found.not_run and not found.fallbacks
    assert found.accuracy.precisions["int8"].max_logit_difference == pytest.approx(0.05, abs=1e-5)
    assert found.outcome.ids == ("study0", "study1") and found.accuracy.reference.backend == "onnxruntime"


def test_what_cannot_run_is_left_out_unless_it_was_named(tiny_bundle: Path, tmp_path: Path, cohort: Cohort) -> None:
    wrong = load_bundle(add_precisions(tiny_bundle, tmp_path / "wrong.mmcaf", {"int8": 3.0}))
    found = evaluate_bundle(wrong, cohort)
    assert not found.accuracy.precisions and "fails the self-test" in found.not_run["int8"]
    with refused(BackendError, "self-test", "int8", "tiny", 3, 0.1):
        evaluate_bundle(wrong, cohort, precisions=["int8"])


def test_a_fallback_is_logged_and_a_failure(
    several: Bundle, cohort: Cohort, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(OpenVinoBackend, "availability", classmethod(lambda cls: Availability(False, "gone")))
    with caplog.at_level(logging.WARNING, logger="mmcaf_engine"):
        found = evaluate_bundle(several, cohort, precisions=["fp32"])
    assert found.fallbacks == {"fp32": "openvino: gone"}
    assert "fp32 runs on onnxruntime: openvino: gone" in caplog.messages
    assert found.failures() == ["fp32 fell back to another backend"]


@pytest.mark.parametrize(
    ("options", "error", "facts"),
    [
        ({"precisions": ["fp8"]}, UsageError, ("'fp8'",)),
        ({"precisions": ["bf16"]}, BackendError, ("tiny", "bf16", "fp32", "int8")),
        ({"backend": "abacus"}, UsageError, ("'abacus'",)),
        ({"threads": 0}, UsageError, ("0 threads", 1)),
    ],
    ids=["unknown-precision", "not-held", "unknown-backend", "no-threads"],
)
def test_refused_before_a_study_is_read(
    several: Bundle, cohort: Cohort, options: dict[str, Any], error: type[MmcafError], facts: tuple[Fact, ...]
) -> None:
    missing = replace(cohort, cases=(FileCase("none", 0, Path("nowhere.dcm"), None),))
    with refused(error, *facts):
        evaluate_bundle(several, missing, **options)


@pytest.mark.parametrize(
    ("given", "known"),
    [((), ()), (("int8",), ("fp32", "int8")), (("int8", "fp16", "int8"), ("fp32", "fp16", "int8"))],
    ids=["none", "one", "out-of-order"],
)
def test_fp32_comes_with_what_is_compared_with_it(given: tuple[str, ...], known: tuple[str, ...]) -> None:
    assert known_precisions(given) == known


def test_files_of_a_cohort(cohort: Cohort) -> None:
    names = [path.name for path in cohort.files]
    assert names == ["series0", "record0.json", "series1", "record1.json"]
    assert Cohort("none on disk", ()).files == ()


def without_labels(cohort: Cohort) -> Cohort:
    return cohort.unlabelled("other people")


def of_one_label(cohort: Cohort) -> Cohort:
    return cohort.first(1)


@pytest.mark.parametrize("change", [without_labels, of_one_label])
def test_no_curve_without_both_labels(several: Bundle, cohort: Cohort, change: Callable[[Cohort], Cohort]) -> None:
    check_roc(several.manifest, cohort)
    with refused(UsageError, "ROC", "both labels", "tiny", option="roc"):
        check_roc(several.manifest, change(cohort))


def test_no_curve_of_several_labels(tmp_path: Path, cohort: Cohort) -> None:
    manifest = load_bundle(make_tiny_liver(tmp_path / "liver.mmcaf")).manifest
    with refused(UsageError, "tiny liver", "7 labels", "ROC", option="roc"):
        check_roc(manifest, cohort)


def test_curves_as_a_picture(several: Bundle, cohort: Cohort) -> None:
    found = evaluate_bundle(several, cohort)
    picture = draw_evaluation(found)
    assert picture.startswith(b"\x89PNG") and picture == draw_evaluation(found)
    one = replace(found.outcome, labels=tuple(np.zeros(len(found.outcome.ids), int).tolist()))
    with refused(StudyError, "ROC", "both labels"):
        draw_evaluation(replace(found, outcome=one))


def test_a_curve_rises_from_what_is_wrongly_to_what_is_rightly_positive(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple[Any, ...]] = []
    plot = Axes.plot

    def noted(axes: Axes, *given: Any, **style: Any) -> Any:
        drawn.append(given)
        return plot(axes, *given, **style)

    monkeypatch.setattr(Axes, "plot", noted)
    points = roc_curve([0, 1, 0, 1], np.array([0.1, 0.9, 0.8, 0.7]))
    assert points is not None and list(points.sensitivity) != list(points.false_positive_rate)
    draw_roc([Curve("int8", points, Estimate(value=0.75, low=0.5, high=1.0))], "tiny")
    diagonal, curve = drawn
    assert diagonal == ([0, 1], [0, 1])
    np.testing.assert_array_equal(curve, (points.false_positive_rate, points.sensitivity))
