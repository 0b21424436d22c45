"""Levels of risk in an answer: of every kind of decision, at the cut points, and wherever an answer is written."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from mmcaf_cli.text import render
from mmcaf_engine import Result
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.result.aggregate import in_figures, logit_of
from mmcaf_engine.result.decisions import decision_for
from mmcaf_engine.result.decisions.statements import figures_of, in_words, statements
from mmcaf_engine.result.deidentify import deidentify
from mmcaf_engine.result.parts import BranchScore, RiskLevel
from mmcaf_engine.result.risk import risk_levels
from mmcaf_engine.result.schema import result_schema
from mmcaf_engine.result.writers.fhir import to_fhir
from pages import Reader
from result.test_structured_report import items, name_of, report_of
from tiny_bundle import tiny_manifest
from tiny_pages import ct
from tiny_report import report_manifest
from tiny_result import RESULTS, tiny_result

FILES = {name: {"sha256": "0" * 64, "size": 0} for name in ("model.onnx", "golden.npz", "vocabulary.txt")}
NAMES = ["low", "middle", "high"]
HIGH = RiskLevel("mass", "high", 3, 3, 0.8, 0.6, None, "a made-up cohort")
BRANCHES = (BranchScore("out_R", "image branch", {"quiet": 0.25, "loud": 0.75}, (1.1,)),)


def manifest(kind: str, *levels: tuple[str, list[float]]) -> Manifest:
    document = report_manifest() if kind == "multilabel" else tiny_manifest()
    if kind == "multiclass":
        document |= {"labels": ["a", "b", "c"], "activation": "softmax"}
        document |= {"outputs": [{"name": "logit", "kind": "score", "shape": ["N", 3]}]}
        del document["threshold"]
    named = [{"label": label, "cuts": cuts, "names": NAMES[: len(cuts) + 1]} for label, cuts in levels]
    return Manifest.model_validate({**document, "files": FILES, "risk_levels": named})


def said(of: Manifest, *probabilities: float) -> list[tuple[str, str]]:
    """Label and level of a study whose one window gives these."""
    if of.activation == "softmax":
        scores = [math.log(value) for value in probabilities]
    else:
        scores = [logit_of(value) for value in probabilities]
    score = decision_for(of).aggregate((0,), np.array([scores], np.float32))
    return [(one.label, one.level) for one in risk_levels(of, score.probabilities) or ()]


def test_of_two_labels_either_can_have_levels() -> None:
    of = manifest("binary", ("loud", [0.2, 0.6]), ("quiet", [0.7]))
    assert said(of, 0.1) == [("loud", "low"), ("quiet", "middle")]
    assert said(of, 0.7) == [("loud", "high"), ("quiet", "low")]


def test_of_several_classes_the_named_one_has_levels_whichever_is_the_answer() -> None:
    of = manifest("multiclass", ("b", [0.2, 0.6]))
    assert said(of, 0.85, 0.1, 0.05) == [("b", "low")]
    assert said(of, 0.4, 0.35, 0.25) == [("b", "middle")]
    assert said(of, 0.1, 0.8, 0.1) == [("b", "high")]


def test_independent_labels_have_their_own_in_the_manifests_order() -> None:
    of = manifest("multilabel", ("large heart", [0.5]), ("nodule", [0.2, 0.6]))
    assert said(of, 0.7, 0.9, 0.4) == [("large heart", "low"), ("nodule", "high")]


def test_a_probability_on_a_cut_point_is_of_the_level_above() -> None:
    of = manifest("binary", ("loud", [0.5]))
    assert said(of, 0.5) == [("loud", "middle")]
    [level] = risk_levels(of, (0.5, 0.5)) or ()
    assert (level.rank, level.levels, level.from_probability, level.below) == (2, 2, 0.5, None)
    [level] = risk_levels(of, (0.6, 0.4)) or ()
    assert (level.rank, level.from_probability, level.below, level.probability) == (1, None, 0.5, 0.4)


def test_without_cut_points_there_is_no_level() -> None:
    assert risk_levels(manifest("binary"), (0.5, 0.5)) is None
    plain = tiny_result()
    assert plain.risk_level is None and plain.branch_scores is None
    assert not {"risk_level", "branch_scores"} & plain.to_dict().keys()
    assert "risk" not in render(plain) and "Risk" not in in_words(plain) and "beside it" not in render(plain)


@pytest.mark.parametrize(
    ("probability", "limits", "figures"),
    [
        (0.59996, (0.5, 0.6), "0.59996"),
        (0.59996, (0.5,), "0.600"),
        (0.49999, (0.5, 0.6), "0.49999"),
        (0.6, (None, 0.6), "0.600"),
        (0.59996, (), "0.600"),
    ],
)
def test_figures_are_on_their_side_of_every_limit(
    probability: float, limits: tuple[float | None, ...], figures: str
) -> None:
    assert in_figures(probability, *limits) == figures


def with_levels() -> Result:
    return RESULTS["levels of risk"]()


def test_the_text_says_level_rank_and_cut_points() -> None:
    lines = [line.split(maxsplit=1)[1] for line in render(with_levels()).splitlines() if line.startswith("  risk ")]
    assert lines == ["mass: high, 3 of 3 (0.800; from 0.6)", "effusion: low, 1 of 2 (0.200; below 0.3)"]
    assert "Risk level: mass high, effusion low." in in_words(with_levels())
    near = replace(with_levels(), risk_level=(replace(HIGH, probability=0.59996, level="middle", below=0.6),))
    assert figures_of(near, "mass", 0.59996) == "0.59996"


def test_the_text_and_the_page_say_what_branches_say() -> None:
    found = replace(tiny_result(), branch_scores=BRANCHES)
    assert "beside it     image branch alone: loud 0.750; no part of the answer" in render(found)
    tables = Reader(ct(result=found)).tables
    assert [["label", "image branch"], ["quiet", "0.250"], ["loud", "0.750"]] in tables


def test_the_page_has_a_table_of_levels() -> None:
    page = ct(result=with_levels())
    tables = Reader(page).tables
    assert [
        ["label", "level", "probability", "cut points"],
        ["mass", "high, 3 of 3", "0.800", "from 0.6"],
        ["effusion", "low, 1 of 2", "0.200", "below 0.3"],
    ] in tables
    assert "a made-up cohort" in page


def test_statements_carry_each_labels_own_level() -> None:
    assert [dict(one.levels) for one in statements(with_levels())] == [
        {"Risk level of mass": "high"},
        {"Risk level of effusion": "low"},
    ]
    whole = replace(tiny_result(), risk_level=(replace(HIGH, label="loud"),))
    assert [dict(one.levels) for one in statements(whole)] == [{"Risk level of loud": "high"}]


def test_fhir_has_the_level_as_a_component() -> None:
    entries = [entry["resource"] for entry in to_fhir(with_levels())["entry"]]
    parts: list[dict[str, Any]] = [
        part for one in entries if one["resourceType"] == "Observation" for part in one["component"]
    ]
    levels = {
        part["code"]["text"]: part["valueCodeableConcept"]["text"] for part in parts if "valueCodeableConcept" in part
    }
    assert levels == {"Risk level of mass": "high", "Risk level of effusion": "low"}
    assert "Risk level: mass high" in entries[0]["conclusion"]


def test_the_structured_report_has_the_level_as_an_evaluation() -> None:
    levels = {
        name_of(item): item.ConceptCodeSequence[0].CodeMeaning
        for item in items(report_of(with_levels()), "CODE")
        if name_of(item).startswith("Risk level")
    }
    assert levels == {"Risk level of mass": "high", "Risk level of effusion": "low"}


def test_both_are_read_back_and_kept_in_a_deidentified_answer() -> None:
    found = replace(with_levels(), branch_scores=BRANCHES)
    again = Result.from_json(found.to_json())
    Draft202012Validator(result_schema()).validate(json.loads(found.to_json()))
    Draft202012Validator(result_schema()).validate(json.loads(tiny_result().to_json()))
    assert again.risk_level == found.risk_level and again.branch_scores == BRANCHES
    hidden = deidentify(found)
    assert hidden.risk_level == found.risk_level and hidden.branch_scores == BRANCHES
