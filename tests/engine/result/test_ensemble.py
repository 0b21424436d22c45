"""Several networks that answer together: the mean of what each says of a study, and how far they agree."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from numpy.typing import NDArray

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine import Answerer, Result, infer, load_bundle, open_session
from mmcaf_engine.errors import BackendError, BundleError, StrictError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.result.aggregate import StudyScore, sigmoid, softmax
from mmcaf_engine.result.decisions import Decision, MultilabelDecision, decision_for, register, unregister
from mmcaf_engine.result.ensemble import ensemble_of, ensemble_rows, ensemble_warnings
from mmcaf_engine.result.explanations import score_direction
from mmcaf_engine.result.parts import Ensemble
from mmcaf_engine.result.schema import result_schema
from refusals import refused
from tiny_bundle import SIZE, make_tiny_bundle
from tiny_ensemble import BIASES, FACTORS, ensemble_manifest, make_tiny_ensemble
from tiny_result import tiny_result

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz")}
RECORD = {"sex": "F", "age": 63}
PAIR = Ensemble(2, {"quiet": (0.5, 0.1), "loud": (0.5, 0.9)}, {"quiet": 0.2, "loud": 0.2}, None)


def manifest(labels: int = 2, method: str = "max", activation: str = "sigmoid", **changes: Any) -> Manifest:
    """Of three members."""
    names = ["quiet", "loud", "shrill", "dull"][:labels]
    alone = activation != "sigmoid"
    scores = [{"name": "logit", "kind": "score", "shape": ["N", 3, labels if alone else 1]}]
    own = {"labels": names, "activation": activation, "outputs": scores, "aggregation": {"method": method}}
    own |= {"threshold": None} if alone else {}
    own |= {"thresholds": [0.5] * labels} if activation == "independent" else {}
    return Manifest.model_validate({**ensemble_manifest(), **own, "files": FILES, **changes})


def scores(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32)


@pytest.mark.parametrize("method", ["max", "mean"])
def test_two_labels_are_told_by_the_mean_of_what_each_member_says_of_the_study(method: str) -> None:
    given, starts = scores(4, 3, 1), (0, 4, 8, 12)
    score = decision_for(manifest(method=method)).aggregate(starts, given)
    of_windows = 1 / (1 + np.exp(-given[..., 0].astype(np.float64)))  # [N, members]
    each = of_windows.max(axis=0) if method == "max" else of_windows.mean(axis=0)
    assert np.allclose([own[1] for own in score.members], each, atol=1e-12)
    assert score.probabilities[1] == pytest.approx(each.mean(), abs=1e-12)
    assert score.positive is not None and sigmoid(score.positive.logit) == pytest.approx(each.mean(), abs=1e-12)
    shown = of_windows.mean(axis=1)
    assert score.deciding == int(shown.argmax())
    of_label = shown if score.label else 1 - shown
    assert np.allclose([window.probability for window in score.windows], of_label, atol=1e-12)


def test_members_may_rest_on_different_windows() -> None:
    given = np.array([[3.0, -3.0, -3.0], [-3.0, 3.0, -3.0], [-3.0, -3.0, 3.0]], np.float32)[..., None]
    score = decision_for(manifest()).aggregate((0, 4, 8), given)
    assert score.verdict == "loud" and score.probabilities[1] == pytest.approx(sigmoid(3.0))
    assert max(window.probability for window in score.windows) < 0.5, "no window is loud to most"


@pytest.mark.parametrize("method", ["max", "mean"])
def test_one_of_several_labels_is_the_most_probable_by_the_mean(method: str) -> None:
    given = scores(3, 3, 4, seed=1)
    score = decision_for(manifest(4, method, "softmax")).aggregate((0, 4, 8), given)
    shares = softmax(given.astype(np.float64))  # [N, members, K]
    surest = shares.max(axis=2).argmax(axis=0)  # of each member, its window
    each = shares.mean(axis=0) if method == "mean" else np.array([shares[surest[at], at] for at in range(3)])
    assert np.allclose(score.members, each, atol=1e-12)
    assert np.allclose(score.probabilities, each.mean(axis=0), atol=1e-12) and sum(
        score.probabilities
    ) == pytest.approx(1)
    assert score.label == int(each.mean(axis=0).argmax()) and score.probability == score.probabilities[score.label]
    assert np.allclose(softmax(np.array(score.logits)), score.probabilities)
    shown = shares.mean(axis=1)[:, score.label]
    assert score.deciding == int(shown.argmax())
    assert np.allclose([window.probability for window in score.windows], shown, atol=1e-12)


@pytest.mark.parametrize("method", ["max", "mean"])
def test_each_of_independent_labels_has_its_own_mean(method: str) -> None:
    given = scores(3, 3, 4, seed=2)
    score = decision_for(manifest(4, method, "independent")).aggregate((0, 4, 8), given)
    shares = 1 / (1 + np.exp(-given.astype(np.float64)))
    each = shares.max(axis=0) if method == "max" else shares.mean(axis=0)  # [members, K]
    assert np.allclose(score.members, each, atol=1e-12) and np.allclose(score.probabilities, each.mean(axis=0))
    assert [one.present for one in score.findings] == (each.mean(axis=0) >= 0.5).tolist()
    assert np.allclose([window.probability for window in score.windows], shares.mean(axis=1)[:, score.label])


def test_members_that_agree_answer_as_one_of_them_does() -> None:
    """To the bit but for the members."""
    for activation, width in (("sigmoid", 1), ("softmax", 3), ("independent", 3)):
        labels = max(width, 2)
        alone = scores(3, width)
        of_three = decision_for(manifest(labels, activation=activation)).aggregate(
            (0, 4, 8), alone[:, None].repeat(3, 1)
        )
        single = decision_for(manifest(labels, activation=activation)).aggregate((0, 4, 8), alone)
        assert of_three.verdict == single.verdict and of_three.deciding == single.deciding
        assert np.allclose(of_three.probabilities, single.probabilities, atol=1e-15)
        assert not single.members and of_three.members == (single.probabilities,) * 3


def test_a_member_that_gives_no_number_is_no_answer() -> None:
    given = scores(2, 3, 1)
    given[1, 2, 0] = np.nan
    with refused(BackendError, "slice 4", "nan", option="precision", value="fp32"):
        decision_for(manifest()).aggregate((0, 4), given)


def test_a_heat_map_is_of_the_mean_of_the_members_scores() -> None:
    of_three = manifest(3, activation="softmax")
    found = score_direction(decision_for(of_three), 1, of_three)
    assert found.shape == (3, 3) and found.dtype == np.float32 and np.allclose(found, [[0, 1 / 3, 0]] * 3)
    binary = manifest()
    assert np.allclose(score_direction(decision_for(binary), 0, binary), [[-1 / 3]] * 3)


def test_another_packages_decision_that_does_not_join_members_is_refused() -> None:
    class Alone(MultilabelDecision):
        names = ("alone",)
        joins = False

    register(Alone)
    try:
        with refused(BundleError, "alone", "is an ensemble"):
            decision_for(manifest(3, activation="alone", thresholds=[], outputs=_outputs(3)))
    finally:
        unregister(Alone)


def _outputs(labels: int) -> list[dict[str, Any]]:
    return [{"name": "logit", "kind": "score", "shape": ["N", 3, labels]}]


def test_the_spread_is_the_standard_deviation_about_the_mean() -> None:
    members = ((0.9, 0.1), (0.5, 0.5), (0.1, 0.9))
    score = StudyScore(1, "loud", 0.5, (0.5, 0.5), (0.0,), (), 0, members=members)
    found = ensemble_of(manifest(), score)
    assert found is not None and found.members == 3 and found.bound is None
    assert found.probabilities == {"quiet": (0.9, 0.5, 0.1), "loud": (0.1, 0.5, 0.9)}
    assert found.spread["loud"] == pytest.approx(np.sqrt((0.4**2 + 0.4**2) / 3))
    assert ensemble_rows(found, "loud") == (("ensemble", "3 members, spread 0.33"),)
    several = replace(found, spread={"quiet": 0.004, "loud": 0.2})
    assert ensemble_rows(several, "none above its threshold")[0][1] == "3 members, largest spread 0.20 of loud"
    assert ensemble_rows(several, "quiet")[0][1] == "3 members, spread below 0.01"
    assert ensemble_rows(None, "loud") == () == ensemble_warnings(None)


def test_only_a_spread_above_the_bound_warns() -> None:
    assert ensemble_warnings(PAIR) == ()
    assert ensemble_warnings(replace(PAIR, bound=0.2)) == ()
    (warning,) = ensemble_warnings(replace(PAIR, bound=0.19999))
    assert "2 networks" in warning and "0.19999: quiet 0.200, loud 0.200" in warning
    (one,) = ensemble_warnings(replace(PAIR, bound=0.1, spread={"quiet": 0.1, "loud": 0.10004}))
    assert one.endswith("loud 0.10004."), "in as many figures as it takes to be above the bound"


def test_an_ensemble_answers_from_files_to_every_form(tmp_path: Path) -> None:
    bundle = load_bundle(make_tiny_ensemble(tmp_path / "ens.mmcaf", spread_bound=0.01))
    one = load_bundle(make_tiny_bundle(tmp_path / "one.mmcaf"))
    study = save(ct_series(hounsfield(9, SIZE, SIZE)), tmp_path / "study")
    with open_session(bundle, backend="onnxruntime") as session:
        answer = Answerer(session).answer(study, RECORD)
    alone = infer(study, RECORD, bundle=one, backend="onnxruntime")
    result = answer.result
    logits = np.array([window.logit for window in alone.windows])
    logits = logits if alone.label == "loud" else -logits
    each = [
        max(sigmoid(logit * factor + bias) for logit in logits) for factor, bias in zip(FACTORS, BIASES, strict=True)
    ]
    assert result.ensemble is not None and result.ensemble.probabilities["loud"] == pytest.approx(each, abs=1e-5)
    assert result.probabilities["loud"] == pytest.approx(np.mean(each), abs=1e-5)
    assert result.ensemble.spread["loud"] == pytest.approx(np.std(each), abs=1e-5)
    assert result.wording.rows[-1] == ("ensemble", f"3 members, spread {np.std(each):.2f}")
    assert "networks of the ensemble disagree" in result.warnings[-1]
    document = json.loads(result.to_json())
    Draft202012Validator(result_schema()).validate(document)
    assert document["ensemble"]["members"] == 3 and "ensemble" not in alone.to_dict()
    assert Result.from_json(result.to_json()) == result and Result.from_json(alone.to_json()).ensemble is None
    assert ("ensemble", result.wording.rows[-1][1]) in Result.from_json(result.to_json()).wording.rows
    page = answer.to_html()
    assert "the mean of 3 networks" in page and f"{max(each):.3f}" in page and "the mean of" not in _page_of(one, study)
    assert answer.to_dicom("sr") and "entry" in answer.to_fhir()
    with refused(StrictError, "ensemble disagree", option="strict"):
        infer(study, RECORD, bundle=bundle, backend="onnxruntime", strict=True)


def _page_of(bundle: Any, study: Path) -> str:
    with open_session(bundle, backend="onnxruntime") as session:
        return Answerer(session).answer(study, RECORD).to_html()


def test_the_self_test_is_of_every_member(tmp_path: Path) -> None:
    """A network whose last member is off does not answer, whatever the others say."""
    sound = make_tiny_ensemble(tmp_path / "sound.mmcaf")
    open_session(load_bundle(sound), backend="onnxruntime").close()
    off = make_tiny_ensemble(tmp_path / "off.mmcaf", off=0.01)
    with refused(BackendError, "logit"):
        open_session(load_bundle(off), backend="onnxruntime")


def test_a_result_of_one_network_says_nothing_of_an_ensemble() -> None:
    assert "ensemble" not in tiny_result().to_dict() and "ensemble" not in result_schema()["required"]
    assert replace(tiny_result(), ensemble=PAIR).to_dict()["ensemble"]["spread"] == {"quiet": 0.2, "loud": 0.2}


def test_decisions_of_the_format_all_join() -> None:
    for activation, labels in (("sigmoid", 2), ("softmax", 3), ("independent", 3)):
        found: Decision = decision_for(manifest(labels, activation=activation))
        assert found.joins
