"""Risk levels and branch scores of a manifest: what is refused, and that one without them is written as before."""

from typing import Any

import pytest
from pydantic import ValidationError

from mmcaf_engine.manifest import Manifest, RiskSpec, written_version
from tiny_bundle import tiny_manifest

FILES = {name: {"sha256": "0" * 64, "size": 0} for name in ("model.onnx", "golden.npz")}
CUTS, NAMES = [0.2, 0.6], ["low", "intermediate", "high"]


def risk(**changes: Any) -> dict[str, Any]:
    return {"label": "loud", "cuts": CUTS, "names": NAMES, **changes}


def document(**changes: Any) -> dict[str, Any]:
    return {**tiny_manifest(), "files": FILES, **changes}


def branched(*shapes: list[Any], **changes: Any) -> dict[str, Any]:
    outputs = [{"name": f"branch_{at}", "kind": "branch_score", "shape": shape} for at, shape in enumerate(shapes)]
    entries = [{"output": spec["name"], "title": "a branch"} for spec in outputs]
    return document(outputs=[*tiny_manifest()["outputs"], *outputs], branch_scores=entries) | changes


@pytest.mark.parametrize(
    ("probability", "name"),
    [
        (0.0, "low"),
        (0.19999999999999998, "low"),
        (0.2, "intermediate"),
        (0.5999999999999999, "intermediate"),
        (0.6, "high"),
        (1.0, "high"),
    ],
)
def test_a_cut_point_itself_is_of_the_level_above(probability: float, name: str) -> None:
    spec = RiskSpec.model_validate(risk())
    assert spec.names[spec.level(probability)] == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cuts": [0.6, 0.2]}, "must ascend"),
        ({"cuts": [0.2, 0.2]}, "must ascend"),
        ({"cuts": []}, "at least 1"),
        ({"cuts": [0.0, 0.6]}, "greater than 0"),
        ({"cuts": [0.2, 1.0]}, "less than 1"),
        ({"cuts": [0.2, float("nan")]}, "finite|greater than 0"),
        ({"cuts": [-0.2, 0.6]}, "greater than 0"),
        ({"names": NAMES[:2]}, "2 names of levels for 2 cuts; expected one more"),
        ({"names": [*NAMES, "highest"]}, "4 names of levels for 2 cuts"),
        ({"names": ["low", "high", "low"]}, "share a name"),
        ({"names": ["low", "high", "Low"]}, "share a name"),
        ({"names": ["low", "", "high"]}, "at least 1"),
        ({"names": ["low", " ", "high"]}, "without blanks"),
        ({"names": ["low", "a\nb", "high"]}, "one line"),
        ({"label": ""}, "at least 1"),
        ({"boundary": "below"}, "not permitted"),
    ],
    ids=str,
)
def test_impossible_levels(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RiskSpec.model_validate(risk(**changes))


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([risk(label="LOUD")], "risk_levels names LOUD, which is no label"),
        ([risk(), risk(cuts=[0.5], names=["a", "b"])], "two entries of one label"),
    ],
    ids=["unknown", "twice"],
)
def test_levels_are_of_labels_each_once(levels: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Manifest.model_validate(document(risk_levels=levels))


def test_either_label_of_two_can_have_levels() -> None:
    found = Manifest.model_validate(document(risk_levels=[risk(label="quiet"), risk()]))
    assert [spec.label for spec in found.risk_levels] == ["quiet", "loud"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (branched(["N", 2]), r"branch_0 is \('N', 2\); the score beside it is \('N', 1\)"),
        (branched(["N", 1], branch_scores=[]), "branch_scores must tell"),
        (branched(branch_scores=[{"output": "logit", "title": "x"}]), "branch_scores must tell"),
        (
            branched(["N", 1], ["N", 1])
            | {"branch_scores": [{"output": f"branch_{at}", "title": "x"} for at in (1, 0)]},
            "in their order",
        ),
        (branched(["N", 1]) | {"outputs": branched(["N", 1])["outputs"][::-1]}, "branch_score last"),
    ],
    ids=["shape", "not told", "no such", "order", "first"],
)
def test_branch_scores_stand_beside_the_score(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Manifest.model_validate(given)


def test_branch_scores_may_be_optional() -> None:
    given = branched(["N", 1])
    given["outputs"][1]["optional"] = True
    assert Manifest.model_validate(given).outputs[1].optional


@pytest.mark.parametrize("given", [document(risk_levels=[risk()]), branched(["N", 1])], ids=["risk", "branches"])
def test_they_came_with_version_2(given: dict[str, Any]) -> None:
    assert written_version({**given, "format_version": 1}) == 2
    with pytest.raises(ValidationError, match="format version 2 added"):
        Manifest.model_validate({**given, "format_version": 1})


def test_a_manifest_without_them_is_written_as_before() -> None:
    written = Manifest.model_validate(document()).model_dump(mode="json")
    assert not {"risk_levels", "branch_scores"} & written.keys()


def test_branch_scores_of_an_ensemble_are_of_every_member() -> None:
    members = [{"checkpoint_sha256": f"{at}" * 64, "checkpoint_format": "none"} for at in range(2)]

    def of_two(*shape: object) -> dict[str, Any]:
        score, *others = branched(list(shape))["outputs"]
        outputs = [{**score, "shape": ["N", 2, 1]}, *others]
        return branched(list(shape)) | {"outputs": outputs, "ensemble": {"members": members}}

    assert Manifest.model_validate(of_two("N", 2, 1)).branch_scores
    with pytest.raises(ValidationError, match=r"branch_0 is \('N', 1\); the score beside it is \('N', 2, 1\)"):
        Manifest.model_validate(of_two("N", 1))
