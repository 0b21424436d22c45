"""Aggregation: the highest window or the mean, of two labels or several, and never a probability from NaN."""

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mmcaf_engine.errors import BackendError
from mmcaf_engine.manifest import AggregationSpec, Manifest
from mmcaf_engine.result.aggregate import StudyScore, in_figures, sigmoid, softmax
from mmcaf_engine.result.decisions import BinaryDecision, MultilabelDecision, decision_for
from mmcaf_engine.result.decisions.regression import ScoreRegression
from refusals import refused
from tiny_bundle import tiny_manifest
from tiny_liver import tiny_liver_manifest

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz")}


def scored(*logits: Any, method: str = "max", threshold: float = 0.5) -> StudyScore:
    """One logit for each window, or several."""
    array = np.array(logits, dtype=np.float32)
    starts = tuple(range(0, 12 * len(logits), 12))
    fields = tiny_manifest() if array.ndim == 1 else tiny_liver_manifest()
    if array.ndim == 1:
        fields["threshold"] = threshold
    manifest = Manifest.model_validate({**fields, "files": FILES})
    manifest = manifest.model_copy(update={"aggregation": AggregationSpec.model_validate({"method": method})})
    return decision_for(manifest).aggregate(starts, array.reshape(len(logits), -1))


def test_max_takes_the_highest_window() -> None:
    score = scored(-1.0, 2.0, 0.5)
    assert score.logits == (2.0,) and score.probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert score.probabilities == pytest.approx((1 - score.probability, score.probability))
    assert [window.logit for window in score.windows] == [-1.0, 2.0, 0.5]
    assert (score.label, score.deciding) == (1, 1)


def test_mean_is_of_the_probabilities() -> None:
    score = scored(-1.0, 1.0, 0.0, method="mean")
    assert score.probability == pytest.approx(0.5) and score.logits[0] == pytest.approx(0.0, abs=1e-12)


def test_windows_that_tell_apart_only_in_the_logit() -> None:
    assert scored(60.0, 80.0).logits == (80.0,)


@pytest.mark.parametrize(("threshold", "label"), [(0.5, 1), (0.6, 0)])
def test_label_1_is_said_from_the_threshold_on(threshold: float, label: int) -> None:
    score = scored(0.0, method="max", threshold=threshold)
    assert score.label == label and score.probability == 0.5


SHY, SURE = [0.2, 0.1, 0.0, 0.3, 0.0, 0.0, 0.0], [0.0, 4.0, 1.0, 0.0, 0.0, 0.0, -1.0]


def test_of_several_labels_the_most_probable_is_said() -> None:
    score = scored(SURE)
    powers = np.exp(SURE)
    assert score.label == 1 and score.logits[1] == score.windows[0].logit == 4.0
    assert score.probabilities == pytest.approx(tuple(powers / powers.sum()))
    assert score.probability == score.probabilities[1] == score.windows[0].probability


def test_of_several_windows_and_labels_the_surest_window_decides() -> None:
    score = scored(SHY, SURE, SHY)
    assert (score.label, score.deciding) == (1, 1)
    assert score.probabilities == scored(SURE).probabilities
    assert [window.logit for window in score.windows] == pytest.approx([0.1, 4.0, 0.1])


def test_of_several_windows_and_labels_the_mean_is_of_the_probabilities() -> None:
    score = scored(SHY, SURE, method="mean")
    both = [scored(row).probabilities for row in (SHY, SURE)]
    assert score.probabilities == pytest.approx(tuple(np.mean(both, axis=0)))
    assert sum(score.probabilities) == pytest.approx(1)
    assert softmax(np.array(score.logits)) == pytest.approx(score.probabilities)
    assert scored(SURE, method="mean").logits == pytest.approx(SURE)


def test_softmax_does_not_overflow() -> None:
    assert scored([1e4, 0, 0, 0, 0, 0, -1e4]).probabilities == (1.0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("logit", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_sigmoid_does_not_overflow(logit: float) -> None:
    assert 0.0 <= sigmoid(logit) <= 1.0
    assert sigmoid(logit) + sigmoid(-logit) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_logit_is_an_error(bad: float) -> None:
    with refused(BackendError, "slice 12", str(bad), option="precision", value="fp32"):
        scored(0.0, bad)
    with refused(BackendError, "slice 12", str(bad), option="precision", value="fp32"):
        scored(SURE, [*SHY[:6], bad])


@pytest.mark.parametrize(
    ("probability", "limit", "shown"),
    [
        (0.49996, 0.5, "0.49996"),
        (0.4996, 0.5, "0.4996"),
        (0.5, 0.5, "0.500"),
        (0.50004, 0.5, "0.500"),
        (0.4994, 0.5, "0.499"),
        (0.35289, 0.3529, "0.35289"),
        (0.3529, 0.3529, "0.353"),
        (1 / 3, 1 / 3, "0.3333333333333333"),
        (0.49996, None, "0.500"),
        (1.0, 0.5, "1.000"),
        (0.0, 0.5, "0.000"),
    ],
)
def test_a_probability_is_shown_on_its_side_of_a_limit(probability: float, limit: float | None, shown: str) -> None:
    assert in_figures(probability, limit) == shown


def test_what_is_answered_and_what_is_shown_agree_near_a_threshold() -> None:
    logit = np.log(0.49996 / 0.50004)
    binary = BinaryDecision(("benign", "malignant"), 0.5)
    said = binary.wording(binary.aggregate((0,), np.array([[logit]], np.float32)))
    assert said.headline.startswith("benign   0.500 ") and "malignant 0.49996" in said.rows[0][1]
    several = MultilabelDecision(("mass",), (0.5,))
    [(absent, row)] = several.wording(several.aggregate((0,), np.array([[logit]], np.float32))).rows
    assert absent == "absent" and "0.49996" in row


WEIGHTS = (0.2, -0.4, 0.1, 0.0, 0.3, -0.2, 0.5, 1.1, -0.3, 2.0)
REGRESSION = {"method": "logistic_regression", "coefficients": WEIGHTS, "intercept": -0.7}


def regressed(*logits: float, threshold: float = 0.5, **changes: Any) -> StudyScore:
    fields = {**tiny_manifest(), "aggregation": {**REGRESSION, **changes}, "threshold": threshold, "files": FILES}
    decision = decision_for(Manifest.model_validate(fields))
    return decision.aggregate(tuple(range(0, 12 * len(logits), 12)), np.array(logits, np.float32)[:, None])


@pytest.mark.parametrize("seed", range(5))
def test_regression_is_over_the_histogram_of_window_probabilities(seed: int) -> None:
    """As the script that MMCAF-Net's evaluation comes from has it: counts in equal ranges, then a linear layer."""
    logits = np.random.default_rng(seed).normal(0, 2, 3 + 7 * seed).astype(np.float32)
    shares = 1 / (1 + np.exp(-logits.astype(np.float64)))
    counts, _ = np.histogram(shares, bins=len(WEIGHTS), range=(0, 1))
    expected = float(counts @ np.array(WEIGHTS) - 0.7)
    score = regressed(*map(float, logits))
    assert score.logits == (pytest.approx(expected, abs=1e-12),)
    assert score.probabilities[1] == pytest.approx(sigmoid(expected), abs=1e-12)
    assert score.positive is not None and score.positive.logit == score.logits[0]
    assert [window.probability for window in score.windows] == pytest.approx(
        shares if score.label == 1 else 1 - shares, abs=1e-12
    )


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0, 0.1 + 2**-55, 0.3 - 2**-54])
def test_ends_of_ranges_are_numpys(probability: float) -> None:
    regression = ScoreRegression(tuple(map(float, range(10))), 0.0)
    counts, _ = np.histogram([probability], bins=10, range=(0, 1))
    assert regression.parts([probability]) == [float(counts.argmax())]


@pytest.mark.parametrize(
    ("logits", "label", "deciding"),
    [
        ((-1.0, 4.0, 1.0), 1, 1),  # 4.0 lies in the last range, which adds most
        ((1.0, 1.3, -1.0), 1, 1),  # 0.731 and 0.786 share a range: the surer one counts
        ((-1.5, 0.1, 1.6), 0, 0),  # 0.182 takes most
    ],
)
def test_the_answer_rests_on_the_window_that_moves_it_furthest(
    logits: tuple[float, ...], label: int, deciding: int
) -> None:
    score = regressed(*logits)
    assert score.label == label
    assert score.deciding == deciding


def test_the_threshold_is_of_the_regressions_probability() -> None:
    probability = regressed(4.0).probabilities[1]
    assert regressed(4.0, threshold=probability).label == 1
    assert regressed(4.0, threshold=np.nextafter(probability, 1)).label == 0


def test_a_window_that_is_no_number_is_refused_by_a_regression_too() -> None:
    with refused(BackendError, "slice 12", "nan"):
        regressed(1.0, float("nan"))


def test_its_rule_in_words() -> None:
    fields = {**tiny_manifest(), "aggregation": REGRESSION, "files": FILES}
    assert "logistic regression of probabilities in 10 ranges" in decision_for(Manifest.model_validate(fields)).rule()


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"coefficients": []}, r"2 to 1000 coefficients.*got 0 and an intercept"),
        ({"coefficients": [1.0]}, r"2 to 1000 coefficients.*got 1 and"),
        ({"coefficients": [0.5] * 1001}, "at most 1000"),
        ({"intercept": None}, "no intercept"),
        ({"coefficients": [0.5, 0.5, 0.5]}, "0.5 for each"),
        ({"coefficients": [0.5, 1e300]}, "not finite"),
        ({"coefficients": [0.5, float("nan")]}, "finite"),
        ({"method": "max"}, "belong to the method logistic_regression, not to max"),
        ({"method": "median"}, "'max', 'mean' or 'logistic_regression'"),
    ],
)
def test_a_regression_that_cannot_be_meant_is_refused(changes: dict[str, Any], facts: str) -> None:
    with pytest.raises(ValidationError, match=facts):
        AggregationSpec.model_validate({**REGRESSION, **changes})


def test_a_regression_needs_windows_of_one_logit() -> None:
    several = {**tiny_liver_manifest(), "aggregation": REGRESSION, "files": FILES}
    with pytest.raises(ValidationError, match="is of one logit, activation sigmoid, and not of softmax"):
        Manifest.model_validate(several)
    whole = {**tiny_manifest(), "aggregation": REGRESSION, "files": FILES}
    whole["preprocessing"] |= {"windows": None, "steps": [{"step": "resize_volume", "size": [4, 16, 16]}]}
    with pytest.raises(ValidationError, match="takes none"):
        Manifest.model_validate(whole)


def test_a_regression_is_of_version_2() -> None:
    fields = {**tiny_manifest(), "files": FILES, "format_version": 1}
    assert json.loads(Manifest.model_validate(fields).model_dump_json())["aggregation"] == {"method": "max"}
    with pytest.raises(ValidationError, match="aggregation"):
        Manifest.model_validate({**fields, "aggregation": REGRESSION})
