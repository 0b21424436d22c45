"""Answers by a regression over windows, by their mean, and of slices that are laid from the head: in every form."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_factory import hounsfield
from mmcaf_engine import Answerer, Volume, load_bundle, open_session
from mmcaf_engine.errors import UsageError
from mmcaf_engine.result.answer import Answer
from mmcaf_engine.result.schema import result_schema
from refusals import refused
from tiny_bundle import SIZE, SLICES, expected_logits, make_tiny_bundle, tiny_manifest
from tiny_maps import with_maps

RECORD = {"sex": "F", "age": 63}
HU = (hounsfield(14, SIZE, SIZE) // 8 + np.linspace(-900, 700, 14)[:, None, None]).astype(np.int16)
"""Brighter towards the head, so that windows are told apart."""
WEIGHTS = [-1.5, 0.3, -0.2, 0.9, 0.4]
REGRESSION = {"method": "logistic_regression", "coefficients": WEIGHTS, "intercept": 0.25}


def volume(count: int) -> Volume:
    return Volume(HU[:count], "hounsfield", (2.5, 0.7, 0.7))


def answered(folder: Path, count: int, **changes: Any) -> Answer:
    made = make_tiny_bundle(folder / "made.mmcaf", **changes)
    bundle = with_maps(made, folder / "tiny.mmcaf", "image", (2, 2, 2))
    with open_session(load_bundle(bundle), backend="onnxruntime", threads=1) as session:
        return Answerer(session).answer(volume(count), RECORD, explain="gradcam")


@pytest.mark.parametrize("method", ["logistic_regression", "mean"])
def test_the_answer_follows_from_all_windows(method: str, tmp_path: Path) -> None:
    aggregation = REGRESSION if method == "logistic_regression" else {"method": method}
    answer = answered(tmp_path, 14, aggregation=aggregation)
    result = answer.result
    logits = answer.outputs["logit"][:, 0].astype(np.float64)
    shares = 1 / (1 + np.exp(-logits))
    counts, _ = np.histogram(shares, bins=len(WEIGHTS), range=(0, 1))
    logit = (
        float(counts @ np.array(WEIGHTS)) + 0.25 if method != "mean" else math.log(shares.mean() / (1 - shares.mean()))
    )
    assert len(logits) == 4 and len(set(np.digitize(shares, np.linspace(0, 1, 6)))) > 1
    assert result.positive is not None and result.positive.logit == pytest.approx(logit, abs=1e-9)
    assert result.probabilities["loud"] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-12)
    assert result.label == ("loud" if logit >= 0 else "quiet")
    if method != "mean":
        towards = 1 if logit >= 0 else -1
        moved = [towards * WEIGHTS[min(int(share * 5), 4)] for share in shares]
        best = max(range(4), key=lambda at: (moved[at], towards * logits[at]))
        assert answer.score.deciding == best
    assert [one.window for one in answer.maps] == [answer.score.deciding]
    figure = f"{result.probabilities[result.label]:.3f}"
    assert figure in answer.to_html() and f"{result.to_dict()['probability']:.3f}" == figure
    assert set(result.to_dict()) <= set(result_schema()["properties"])


def test_a_stride_that_counts_windows_otherwise_is_refused(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny.mmcaf", aggregation=REGRESSION)
    with open_session(load_bundle(bundle), backend="onnxruntime", threads=1) as session:
        answerer = Answerer(session)
        with refused(UsageError, "stride", "2 slices", f"every {SLICES} slices", "logistic regression"):
            answerer.answer(volume(14), RECORD, stride=2)
        assert answerer.answer(volume(14), RECORD, stride=SLICES).result.windows


@pytest.mark.parametrize(("order", "count"), [("axes", 3), ("head", 3), ("axes", 6)])
def test_slices_from_the_head_are_what_the_network_sees(order: str, count: int, tmp_path: Path) -> None:
    fields = tiny_manifest()["preprocessing"]
    said = {**fields, "axes": "IPL", "windows": {**fields["windows"], "order": order}}
    answer = answered(tmp_path, count, preprocessing=said)
    stored = np.clip((HU[:count][::-1].astype(np.float64) + 100) / 1000, 0, 1)  # the first at the head
    air = np.zeros((max(SLICES - count, 0), SIZE, SIZE))
    stored = np.concatenate([stored, air] if order == "axes" else [air, stored])
    starts = (0, 2) if count == 6 else (0,)
    table = answer.prepared.inputs(0, load_bundle(tmp_path / "tiny.mmcaf").manifest)["table"]
    expected = [
        expected_logits({"image": stored[None, None, count - SLICES - at :][:, :, :SLICES], "table": table})[0, 0]
        if count > SLICES
        else expected_logits({"image": stored[None, None], "table": table})[0, 0]
        for at in starts
    ]
    assert answer.prepared.starts == starts
    assert [float(logit) for logit in answer.outputs["logit"][:, 0]] == pytest.approx(expected, abs=1e-5)
    windows = answer.result.windows
    assert [(one.start_slice, one.slices) for one in windows] == [(at, min(count, SLICES)) for at in starts]
    assert answer.to_html()
