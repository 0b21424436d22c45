"""An answer is made again from its own fields: of those that were kept by an earlier commit, and on the spot."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from again import CASES, KEPT, Case, bundle_of, make_study
from mmcaf_engine import Result, infer, load_bundle
from mmcaf_engine.machine.cpu import processor
from several_precisions import add_precisions
from tiny_bundle import make_tiny_bundle

ELSEWHERE = 1e-4
"""Of probabilities and logits, where the processor or the runtime is another, as in test_unchanged_answers."""
Study = Callable[[str], Path]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return cache(lambda name: make_study(name, tmp_path_factory.mktemp(name)))


@cache
def kept(name: str) -> Result:
    return Result.from_json((KEPT / f"{name}.json").read_bytes(), name=name)


def made_again(result: Result, case: Case, study: Study, bundle: Path) -> Result:
    """By study and record, and what the result says of options and model."""
    found = load_bundle(bundle)
    assert found.sha256 == result.model.bundle_sha256
    assert result.options is not None
    options: dict[str, Any] = json.loads(json.dumps(asdict(result.options)))
    return infer(study(case.study), case.record, bundle=found, created=result.created, **options)


def numbers(result: Result) -> dict[str, Any]:
    document = json.loads(result.to_json())
    record = document["record"] or {}
    return {
        "features": record.get("features"),
        "sha256": record.get("sha256"),
        "missing": record.get("missing"),
        **{name: document[name] for name in ("label", "probability", "probabilities", "positive", "findings")},
        **{name: document[name] for name in ("windows", "evidence", "options", "model", "labels")},
        **{name: document["study"][name] for name in ("uids", "slices", "spacing_mm", "selection")},
        "warnings": len(document["warnings"]),
    }


def differences(old: Any, new: Any, allowed: float, at: str = "") -> list[str]:
    """Where two documents differ; keys that only the new one has are no difference."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [one for key in old for one in differences(old[key], new.get(key), allowed, f"{at}/{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [one for index, (a, b) in pairs for one in differences(a, b, allowed, f"{at}/{index}")]
    if old == new or (isinstance(old, float) and isinstance(new, float) and abs(old - new) <= allowed):
        return []
    return [f"{at} was {old!r:.60}, is {new!r:.60}"]


@pytest.mark.parametrize("name", CASES)
def test_an_answer_of_an_earlier_commit_comes_out_again(name: str, study: Study) -> None:
    """To the bit on the same processor with the same runtime."""
    old, case = kept(name), CASES[name]
    first = made_again(old, case, study, bundle_of(case))
    same = (old.engine.processor, old.engine.runtime_version, old.engine.threads) == (
        processor().name,
        first.engine.runtime_version,
        first.engine.threads,
    )
    assert differences(numbers(old), numbers(first), 0.0 if same else ELSEWHERE) == []


@pytest.mark.parametrize("name", ["slices", "gaps", "tilt", "row", "threads"])
def test_an_answer_comes_out_again_at_once(name: str, study: Study) -> None:
    """The whole of it, on any machine."""
    case = CASES[name]
    first = infer(study(case.study), case.record, bundle=bundle_of(case), **{"threads": 1, **case.options})
    again = made_again(first, case, study, bundle_of(case))
    one, other = json.loads(first.to_json()), json.loads(again.to_json())
    assert {part for part in one if one[part] != other[part]} <= {"timing_ms"}


def test_every_case_is_kept_and_its_options_are_not_the_default() -> None:
    assert {file.stem for file in KEPT.glob("*.json")} == set(CASES)
    plain = asdict(kept("plain").options)
    for name, case in CASES.items():
        options = asdict(kept(name).options)
        assert [key for key in case.options if options[key] == plain[key]] == [], name
        assert kept(name).software is not None and options["backend"] != "auto"
        assert options["threads"] == case.options.get("threads", 1)


def test_the_precision_that_answered_is_the_one_asked_for_again(study: Study, tmp_path: Path) -> None:
    """Also where auto had chosen it, and another would give another number."""
    bundle = add_precisions(make_tiny_bundle(tmp_path / "a.mmcaf"), tmp_path / "b.mmcaf", {"int8": 0.05})
    case = CASES["plain"]
    probabilities = set()
    for precision in ("fp32", "int8"):
        options = {"backend": "onnxruntime", "precision": precision, "threads": 1}
        first = infer(study("series"), case.record, bundle=bundle, **options)
        again = made_again(first, case, study, bundle)
        assert again.engine.precision == precision and again.probabilities == first.probabilities
        probabilities.add(first.probability)
    assert len(probabilities) == 2


def test_a_difference_is_found() -> None:
    old = numbers(kept("slices"))
    assert differences(old, {**old, "more": 1}, 0.0) == []
    moved = {**old, "probability": old["probability"] + 2e-4}
    assert differences(old, moved, ELSEWHERE) and not differences(old, moved, 1e-3)
    assert differences(old, {**old, "windows": old["windows"][:-1]}, ELSEWHERE)
    assert differences(old, {name: value for name, value in old.items() if name != "label"}, ELSEWHERE)
