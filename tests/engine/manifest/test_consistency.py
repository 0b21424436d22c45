"""What must agree within a manifest, check by check."""

from typing import Any, Literal

import pytest

from mmcaf_engine.manifest import (
    AgreementSpec,
    AttentionSpec,
    ImageSpec,
    Manifest,
    PreprocessingSpec,
    ReportParts,
    SeriesSpec,
    TableSpec,
    TensorSpec,
    TextSpec,
    consistency,
)
from tiny_bundle import tiny_manifest
from tiny_report import report_manifest

FILE = {"sha256": "0" * 64, "size": 0}
FILES = {"model.onnx", "golden.npz", "vocabulary.txt"}
TEXT = TextSpec(lowercase=True, max_tokens=8, buckets=(8,))


def volume(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, kind="volume", shape=("N", 1, *shape))


def score(width: int) -> TensorSpec:
    return TensorSpec(name="score", kind="score", shape=("N", width))


def windows(axes: str, slices: int) -> PreprocessingSpec:
    stacked = {"slices": slices, "stride": slices, "pad_value": 0.0}
    return PreprocessingSpec.model_validate(
        {"modality": "CT", "intensity": "hounsfield", "windows": stacked, "steps": [], "axes": axes}
    )


def whole(*size: int, axes: str = "SPL") -> PreprocessingSpec:
    steps = [{"step": "resize_volume", "size": size}]
    return PreprocessingSpec.model_validate({"modality": "MR", "intensity": "stored", "steps": steps, "axes": axes})


def parts(text: str = "text.onnx", rest: str = "rest.onnx", **words: Any) -> ReportParts:
    tensor = {"name": "words", "kind": "words", "shape": ["N", "L", 4], **words}
    return ReportParts.model_validate({"words": tensor, "models": {"fp32": {"text": text, "rest": rest}}})


def test_every_file_that_is_named_is_listed() -> None:
    consistency.check_files(FILES, {"fp32": "model.onnx"}, TEXT, None)
    for missing in FILES:
        with pytest.raises(ValueError, match=missing):
            consistency.check_files(FILES - {missing}, {"fp32": "model.onnx"}, TEXT, None)
    every = FILES | {"text.onnx", "rest.onnx"}
    consistency.check_files(every, {"fp32": "model.onnx"}, TEXT, parts())
    for missing in ("text.onnx", "rest.onnx"):
        with pytest.raises(ValueError, match=missing):
            consistency.check_files(every - {missing}, {"fp32": "model.onnx"}, TEXT, parts())


def test_fp32_is_always_there() -> None:
    with pytest.raises(ValueError, match="fp32"):
        consistency.check_files(FILES, {"fp16": "model.onnx"}, None, None)


@pytest.mark.parametrize("name", ["a.onnx", "weights/a.data", ".hidden", "a..b", "...a", "conf.onnx", "é" * 100])
def test_a_file_within_the_bundle(name: str) -> None:
    consistency.check_files(FILES | {name}, {"fp32": "model.onnx"}, None, None)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../a",
        "a/../../b",
        "a/..",
        "./a",
        "a//b",
        "a/",
        "a\\b",
        "c:a",
        "a\0",
        "...",
        "nul.onnx",
        "é" * 101,
    ],
)
def test_a_file_outside_the_bundle(name: str) -> None:
    with pytest.raises(ValueError):
        consistency.check_files(FILES | {name}, {"fp32": "model.onnx"}, None, None)


@pytest.mark.parametrize(("axes", "shape"), [("SPL", (4, 16, 12)), ("LPS", (12, 16, 4)), ("PSL", (16, 4, 12))])
def test_a_window_is_as_deep_as_the_input_along_its_axis_of_slices(axes: str, shape: tuple[int, ...]) -> None:
    consistency.check_volumes([volume("image", *shape)], [], windows(axes, 4))
    for slices in (3, 12, 16):
        with pytest.raises(ValueError, match="slices"):
            consistency.check_volumes([volume("image", *shape)], [], windows(axes, slices))


def test_a_whole_volume_has_the_size_that_it_is_resized_to() -> None:
    consistency.check_volumes([volume("image", 4, 16, 12)], [], whole(4, 16, 12))
    with pytest.raises(ValueError, match="resize_volume"):
        consistency.check_volumes([volume("image", 4, 16, 12)], [], whole(4, 12, 16))


def test_several_volumes_need_a_rule_for_each_in_their_order() -> None:
    both = [volume("t1", 4, 16, 12), volume("t2", 4, 16, 12)]
    rules = [
        SeriesSpec.model_validate({"input": name, "description": name, "match": [{"words": [name]}]})
        for name in ("t1", "t2")
    ]
    consistency.check_volumes(both, rules, whole(4, 16, 12))
    consistency.check_volumes(both[:1], [], whole(4, 16, 12))
    for given in ([], rules[:1], rules[::-1]):
        with pytest.raises(ValueError, match="series"):
            consistency.check_volumes(both, given, whole(4, 16, 12))
    with pytest.raises(ValueError, match="windows"):
        consistency.check_volumes(both, rules, windows("SPL", 4))


def table(*names: str, ignored: tuple[str, ...] = ()) -> TableSpec:
    fields = [{"kind": "category", "name": name, "description": name, "categories": {"M": 1}} for name in names]
    return TableSpec.model_validate({"fields": fields, "ignored": ignored})


def test_the_field_of_a_lesion_is_one_of_a_record_and_of_nothing_else() -> None:
    consistency.check_lesion(None, None, None)
    consistency.check_lesion("lesion_slices", table("sex"), None)
    consistency.check_lesion("lesion_slices", None, TEXT)
    with pytest.raises(ValueError, match="lesion_field"):
        consistency.check_lesion("lesion_slices", None, None)
    for field, of_table, text in (
        ("sex", table("age", "sex"), None),
        ("t_stage", table("T-Stage"), None),
        ("height", table("sex", ignored=("height",)), None),
        (TEXT.fields[0], table("sex"), TEXT),
        *((taken, table("sex"), None) for taken in ("patient_id", "patientid", "study", "record", "report", "id")),
    ):
        with pytest.raises(ValueError, match=f"{field}.*lesion_field"):
            consistency.check_lesion(field, of_table, text)


@pytest.mark.parametrize("field", ["", "Lesion", "lesion slices", "lesion-slices", "3", "a" * 65])
def test_names_that_no_field_of_a_lesion_has(field: str) -> None:
    fields = tiny_manifest()
    fields["preprocessing"]["windows"]["lesion_field"] = field
    with pytest.raises(ValueError, match="lesion_field"):
        Manifest.model_validate({**fields, "files": {"model.onnx": FILE, "golden.npz": FILE}})


def test_parts_are_a_network_of_the_bundle_in_files_of_their_own() -> None:
    tokens = TensorSpec(name="ids", kind="tokens", dtype="int64", shape=("N", "L"))
    inputs, outputs = [volume("image", 4, 16, 12), tokens], [score(1)]
    models: dict[Any, str] = {"fp32": "model.onnx"}
    consistency.check_parts(parts(), models, inputs, outputs)
    consistency.check_parts(None, models, [tokens], outputs)
    for refused, said in (
        (parts(text="same.onnx", rest="same.onnx"), "same.onnx"),
        (parts(text="model.onnx"), "model.onnx"),
        (parts(kind="table", shape=["N", 4]), "kind"),
        (parts(name="image"), "image"),
        (parts(name="score"), "score"),
    ):
        with pytest.raises(ValueError, match=said):
            consistency.check_parts(refused, models, inputs, outputs)
    with pytest.raises(ValueError, match="fp32"):
        consistency.check_parts(parts(), {"fp16": "model.onnx"}, inputs, outputs)
    with pytest.raises(ValueError, match=r"text\.parts"):
        consistency.check_parts(parts(), models, [tokens], outputs)


def attention(*slices: int, grid: tuple[int, int] | None = (2, 3), **more: Any) -> AttentionSpec:
    return AttentionSpec.model_validate(
        {"output": "weights", "title": "Attention", "grid": grid, "slices": slices or None, **more}
    )


def weights(count: int) -> list[TensorSpec]:
    return [score(1), TensorSpec(name="weights", kind="attention", shape=("N", count))]


@pytest.mark.parametrize(("axes", "shape"), [("SPL", (4, 16, 12)), ("LPS", (12, 16, 4))])
def test_attention_weighs_slices_that_are_there(axes: str, shape: tuple[int, ...]) -> None:
    inputs, spec = [volume("image", *shape)], windows(axes, 4)
    for slices in ((), (0, 4), (3, 4)):
        consistency.check_attention(weights(6), [attention(*slices)], inputs, spec)
    for slices in ((0, 5), (4, 5), (2, 2), (3, 2)):
        with pytest.raises(ValueError, match="slices"):
            consistency.check_attention(weights(6), [attention(*slices)], inputs, spec)


def test_attention_has_a_weight_for_each_part_of_an_input() -> None:
    inputs, spec = [volume("image", 4, 16, 12)], windows("SPL", 4)
    with pytest.raises(ValueError, match="weights"):
        consistency.check_attention(weights(5), [attention()], inputs, spec)
    with pytest.raises(ValueError, match="other"):
        consistency.check_attention(weights(6), [attention(input="other")], inputs, spec)
    with pytest.raises(ValueError, match="attention"):
        consistency.check_attention(weights(6), [], inputs, spec)
    plane = [TensorSpec(name="plane", kind="image", shape=("N", 1, 8, 8))]
    consistency.check_attention(weights(6), [attention(input="plane")], plane, None)
    with pytest.raises(ValueError, match="weights"):
        consistency.check_attention(weights(6), [attention(0, 1, input="plane")], plane, None)


IDS = TensorSpec(name="ids", kind="tokens", dtype="int64", shape=("N", "L"))
FIELDS = TensorSpec(name="table", kind="table", shape=("N", 3))


def of_list(*axes: int | Literal["L"]) -> list[TensorSpec]:
    return [score(1), TensorSpec(name="weights", kind="attention", shape=("N", *axes))]


def record_table() -> TableSpec:
    """Two fields, of which one has a cut: three features."""
    return TableSpec.model_validate(report_manifest()["table"])


def test_attention_to_word_pieces_and_fields_is_one_weight_each() -> None:
    table = record_table()
    assert (len(table.fields), table.width) == (2, 3)
    consistency.check_attention(of_list("L"), [attention(grid=None, input="ids")], [IDS, FIELDS], None, table)
    consistency.check_attention(of_list(2), [attention(grid=None, input="table")], [IDS, FIELDS], None, table)
    for outputs, name, said in (
        (of_list(12), "ids", "word piece.*L"),
        (of_list(3), "table", "field of the table.*2"),
        (of_list("L"), "table", "field of the table.*2"),
    ):
        with pytest.raises(ValueError, match=f"weights.*{said}"):
            consistency.check_attention(outputs, [attention(grid=None, input=name)], [IDS, FIELDS], None, table)
    for spec in (attention(input="ids"), attention(0, 1, grid=None, input="ids")):
        with pytest.raises(ValueError, match=r"weights.*grid and slices.*ids"):
            consistency.check_attention(of_list("L"), [spec], [IDS], None)
    with pytest.raises(ValueError, match=r"weights has no grid.*plane"):
        plane = TensorSpec(name="plane", kind="image", shape=("N", 1, 8, 8))
        consistency.check_attention(weights(6), [attention(grid=None, input="plane")], [plane], None)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (("a", "b"), None),
        (("a", "a"), "a is compared with itself"),
        (("a", "c"), "c weigh other parts"),
        (("a", "d"), "d weigh other parts"),
        (("a", "words"), "words is no attention over a grid"),
        (("a", "other"), "other is no attention over a grid"),
    ],
    ids=str,
)
def test_what_agrees_weighs_the_same_parts(outputs: tuple[str, str], said: str | None) -> None:
    entries = [
        AttentionSpec(output="a", title="a", grid=(2, 3)),
        AttentionSpec(output="b", title="b", grid=(2, 3)),
        AttentionSpec(output="c", title="c", grid=(3, 2)),
        AttentionSpec(output="d", title="d", grid=(2, 3), slices=(0, 1)),
        AttentionSpec(output="words", title="words", input="ids"),
    ]
    spec = AgreementSpec(outputs=outputs, bound=0.5, percentile=5, studies=100, data="phantoms")
    consistency.check_agreement(None, entries)
    if said is None:
        consistency.check_agreement(spec, entries)
        return
    with pytest.raises(ValueError, match=said):
        consistency.check_agreement(spec, entries)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"accuracy_bounds": {"fp32": {"probability_difference": 0, "flips": 0, "auroc_loss": 0}}}, "accuracy_bounds"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 1.0}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"unknown": 1}, "unknown"),
        ({"version": "2 "}, "version"),
        ({"version": "2\n1"}, "version"),
    ],
    ids=["bound-of-fp32", "threshold-0", "threshold-1", "threshold-nan", "unknown-field", "blank", "two-lines"],
)
def test_a_manifest_that_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Manifest.model_validate({**tiny_manifest(), "files": dict.fromkeys(FILES, FILE), **changes})


def test_a_bound_that_is_given_replaces_the_default_of_its_precision_alone() -> None:
    bound = {"probability_difference": 0.5, "flips": 0.25, "auroc_loss": 0.125}
    given = {**tiny_manifest(), "files": dict.fromkeys(FILES, FILE), "accuracy_bounds": {"int8": bound}}
    bounds = Manifest.model_validate(given).accuracy_bounds
    assert bounds["int8"].model_dump() == bound
    assert {name: one.probability_difference for name, one in bounds.items()} == {
        "fp16": 0.01,
        "bf16": 0.02,
        "int8": 0.5,
    }
    del given["accuracy_bounds"]
    assert Manifest.model_validate(given).accuracy_bounds["int8"].probability_difference == 0.10


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (1, 1, 1)), ((0.5,) * 3, (1,)), ((0.5,), (1,))])
def test_mean_and_std_are_for_each_channel(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    ImageSpec(size=(8, 8), channels=3, mean=(0.5,) * 3, std=(1,) * 3)
    with pytest.raises(ValueError, match="channels"):
        ImageSpec(size=(8, 8), channels=3, mean=mean, std=std)


def ensemble(members: int = 3, **fields: Any) -> dict[str, Any]:
    each = [{"checkpoint_sha256": f"{at:064x}", "checkpoint_format": "none"} for at in range(members)]
    return {"members": each, **fields}


def of_members(count: int = 3, shape: tuple[Any, ...] = ("N", 3, 1), **fields: Any) -> Manifest:
    files = dict.fromkeys(("model.onnx", "golden.npz"), FILE)
    outputs = [{"name": "logit", "kind": "score", "shape": shape}]
    return Manifest.model_validate(
        {**tiny_manifest(), "files": files, "outputs": outputs, "ensemble": ensemble(count) | fields}
    )


def test_an_ensembles_score_has_an_axis_for_its_members() -> None:
    found = of_members()
    assert found.ensemble is not None and found.ensemble.spread_bound is None
    assert of_members(32, ("N", 32, 1)).score.shape == ("N", 32, 1)
    for members, shape in ((3, ("N", 1)), (3, ("N", 2, 1)), (2, ("N", 3, 1)), (3, ("N", 3, 2)), (3, ("N", 1, 3))):
        with pytest.raises(ValueError, match=r"must be \[N, [23], 1\] for these labels and members"):
            of_members(members, shape)
    with pytest.raises(ValueError, match=r"must be \[N, 1\] for these labels$"):
        consistency.check_outputs([TensorSpec(name="s", kind="score", shape=("N", 3, 1))], "sigmoid", ("a", "b"))


@pytest.mark.parametrize("members", [0, 1, 33])
def test_an_ensemble_has_two_members_to_32(members: int) -> None:
    with pytest.raises(ValueError, match=r"ensemble\.members"):
        of_members(members, ("N", max(members, 1), 1))


def test_no_two_members_are_of_one_checkpoint() -> None:
    twice = ensemble(2)["members"] * 2
    with pytest.raises(ValueError, match="same checkpoint, SHA-256 0000000000000000"):
        of_members(4, ("N", 4, 1), members=twice)


@pytest.mark.parametrize("bound", [0, -0.1, 0.51])
def test_a_bound_is_a_spread_that_can_be(bound: float) -> None:
    assert of_members(spread_bound=0.5).ensemble is not None
    with pytest.raises(ValueError, match="spread_bound"):
        of_members(spread_bound=bound)


def test_ensembles_came_with_version_2() -> None:
    with pytest.raises(ValueError, match="version 2 added ensemble"):
        Manifest.model_validate({**of_members().model_dump(mode="json"), "format_version": 1, "ensemble": ensemble()})
    assert "ensemble" not in Manifest.model_validate(
        {**tiny_manifest(), "files": dict.fromkeys(("model.onnx", "golden.npz"), FILE)}
    ).model_dump(mode="json")
