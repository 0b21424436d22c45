"""Format version 2: what it adds, that version 1 knows nothing of it, and that version 1 stays what it was."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mmcaf_engine.bundle.bundle import load_bundle, write_bundle
from mmcaf_engine.manifest import FORMAT_VERSION, Manifest, written_version
from tiny_bundle import tiny_manifest
from tiny_image import tiny_image_manifest
from tiny_liver import tiny_liver_manifest
from tiny_report import report_manifest

VERSION_1 = sorted((Path(__file__).parents[2] / "data" / "version_1").glob("*.zip"))
FILE = {"sha256": "0" * 64, "size": 0}
FILES = {"model.onnx": FILE, "golden.npz": FILE, "vocabulary.txt": FILE}
CODE = {"scheme": "99MMCAF", "value": "LOUD", "meaning": "Loud"}
BOUND = {"probability_difference": 0.05, "flips": 0.01, "auroc_loss": 0.005}
WEIGHT_FHIR = {"resource": "Observation", "codes": ["29463-7"]}


def attending(**attention: Any) -> dict[str, Any]:
    """A network that reads an image and has an output that weighs a grid of 2 x 2 of its parts."""
    alpha = {"name": "alpha", "kind": "attention", "shape": ["N", 4]}
    spec = {"output": "alpha", "title": "parts", "grid": [2, 2], "input": "image"}
    document = tiny_image_manifest()
    return {**document, "outputs": [*document["outputs"], alpha], "attention": [{**spec, **attention}]}


def with_field(**changes: Any) -> dict[str, Any]:
    document = tiny_manifest()
    sex, age = document["table"]["fields"]
    return {**document, "table": {"fields": [sex, {**age, **changes}]}}


def with_int8(**changes: Any) -> dict[str, Any]:
    document = tiny_manifest()
    int8 = {"calibration": "demo:1-2", "method": "minmax", "layers": 3, **changes}
    return {**document, "provenance": {**document["provenance"], "int8": int8}}


def with_int8_maps() -> dict[str, Any]:
    document = tiny_manifest()
    entry = {"calibration": "demo:1-2", "method": "minmax", "layers": 3, "between": "bf16"}
    return {**document, "provenance": {**document["provenance"], "int8_bf16": entry}}


def leaning() -> dict[str, Any]:
    """A network of MR that accepts oblique slices."""
    document = tiny_liver_manifest()
    return {**document, "preprocessing": {**document["preprocessing"], "oblique": "accept"}}


def with_windows(**changes: Any) -> dict[str, Any]:
    document = tiny_manifest()
    document["preprocessing"]["windows"] |= changes
    return document


def agreeing(**agreement: Any) -> dict[str, Any]:
    """The tiny liver's two outputs, which weigh the same parts."""
    told = {"outputs": ["alpha", "upper"], "bound": 0.5, "percentile": 5, "studies": 120, "data": "phantoms"}
    document = tiny_liver_manifest()
    attention = [{**document["attention"][0], "output": spec["output"]} for spec in document["attention"]]
    return {**document, "attention": attention, "attention_agreement": {**told, **agreement}}


def reading_words(**attention: Any) -> dict[str, Any]:
    """A network with an output that weighs the word pieces of its report."""
    document = report_manifest()
    words = {"name": "words", "kind": "attention", "shape": ["N", "L"]}
    spec = {"output": "words", "title": "words", "input": "input_ids", **attention}
    return {**document, "outputs": [*document["outputs"], words], "attention": [spec]}


def optional() -> dict[str, Any]:
    document = attending()
    score, alpha = document["outputs"]
    return {**document, "outputs": [score, {**alpha, "optional": True}]}


NEW: dict[str, tuple[dict[str, Any], str]] = {
    "release": ({**tiny_manifest(), "release": 3}, "release"),
    "version": ({**tiny_manifest(), "version": "3.1-rc1"}, "version"),
    "label-codes": ({**tiny_manifest(), "label_codes": {"loud": CODE}}, "label_codes"),
    "titles": ({**tiny_manifest(), "module_titles": {"encoder.0": "stem"}}, "module_titles"),
    "identity": ({**tiny_manifest(), "identity": "required"}, "identity"),
    "oblique": (leaning(), "preprocessing.oblique"),
    "trained-on": (with_windows(trained_on="lesion"), "preprocessing.windows.trained_on"),
    "lesion-field": (with_windows(lesion_field="lesion_slices"), "preprocessing.windows.lesion_field"),
    "body-part": ({**tiny_manifest(), "body_part": {"accepted": ["CHEST"]}}, "body_part"),
    "age-limit": (with_field(dicom=None, fhir=WEIGHT_FHIR, max_age_days=90), "table.fields.1.max_age_days"),
    "between": (with_int8(between="fp16"), "provenance.int8.between"),
    "bf16-maps": (with_int8_maps(), "provenance.int8_bf16"),
    "precision": ({**tiny_manifest(), "models": {"fp32": "model.onnx", "int8-bf16": "model.onnx"}}, "models.int8-bf16"),
    "bound": ({**tiny_manifest(), "accuracy_bounds": {"int8-bf16": BOUND}}, "accuracy_bounds.int8-bf16"),
    "attention-input": (attending(), "attention.0.input"),
    "attention-meaning": (attending(meaning="share of a part"), "attention.0.meaning"),
    "attention-to-words": (reading_words(), "attention.0.input"),
    "agreement": (agreeing(), "attention_agreement"),
    "optional-output": (optional(), "outputs.1.optional"),
}


def valid(document: dict[str, Any], **changes: Any) -> Manifest:
    return Manifest.model_validate({"files": FILES, **document, **changes})


@pytest.mark.parametrize(("document", "path"), NEW.values(), ids=NEW.keys())
def test_what_version_2_adds(document: dict[str, Any], path: str) -> None:
    manifest = valid(document)
    assert manifest.format_version == FORMAT_VERSION == 2
    written = manifest.model_dump(mode="json")
    assert Manifest.model_validate(json.loads(json.dumps(written))) == manifest
    place: Any = written
    for part in path.split("."):
        place = place[int(part) if part.isdigit() else part]
    assert written_version({**document, "files": FILES, "format_version": 1}) == 2


@pytest.mark.parametrize(("document", "path"), NEW.values(), ids=NEW.keys())
def test_version_1_does_not_know_it(document: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationError, match=rf"2 .*{path}.* 1\b"):
        valid(document, format_version=1)


@pytest.mark.parametrize(
    "name", ["release", "version", "body_part", "identity", "label_codes", "module_titles", "attention_agreement"]
)
def test_a_default_is_no_less_a_new_field(name: str) -> None:
    default = Manifest.model_fields[name].get_default(call_default_factory=True)
    with pytest.raises(ValidationError, match=rf"2 .*{name}"):
        valid(tiny_manifest(), format_version=1, **{name: default})
    assert name not in valid(tiny_manifest(), **{name: default}).model_dump(mode="json")


@pytest.mark.parametrize("archive", VERSION_1, ids=lambda path: path.stem)
def test_version_1_is_written_as_it_was_read(archive: Path) -> None:
    with zipfile.ZipFile(archive) as files:
        text = files.read("manifest.json").decode()
    manifest = Manifest.model_validate_json(text)
    assert manifest.format_version == 1
    assert json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n" == text


@pytest.mark.parametrize(("changes", "version"), [({}, 1), ({"description": "renamed"}, 1), ({"release": 2}, 2)])
def test_a_bundle_keeps_its_version_unless_it_needs_the_new_one(
    changes: dict[str, Any], version: int, tmp_path: Path
) -> None:
    old = load_bundle(next(path for path in VERSION_1 if path.stem == "tiny_bundle"))
    draft = Path(shutil.copytree(old.folder, tmp_path / "draft", ignore=shutil.ignore_patterns("manifest.json")))
    document = old.manifest.model_dump(mode="json", exclude={"files"})
    again = write_bundle(draft, {**document, **changes}, tmp_path / "again.mmcaf")
    assert again.manifest.format_version == version
    assert changes or again.sha256 == old.sha256


@pytest.mark.parametrize(
    ("document", "standard"),
    [(tiny_manifest(), "binary"), (report_manifest(), "multilabel")],
    ids=["binary", "multilabel"],
)
def test_activations_have_standard_names(document: dict[str, Any], standard: str) -> None:
    before = valid(document)
    assert valid(document, activation=standard) == before
    with pytest.raises(ValidationError, match=r"1 .*sigmoid, softmax, independent"):
        valid(document, activation=standard, format_version=1)


def test_several_exclusive_labels_by_their_standard_name() -> None:
    document = {**tiny_manifest(), "labels": ["a", "b", "c"], "threshold": None}
    document["outputs"] = [{"name": "logits", "kind": "score", "shape": ["N", 3]}]
    assert valid(document, activation="multiclass").activation == "softmax"
    with pytest.raises(ValidationError, match="activation"):
        valid(document, activation=["multiclass"])


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "release-0": ({**tiny_manifest(), "release": 0}, "release\n.* 1 "),
    "version-of-two-lines": ({**tiny_manifest(), "version": "1\n2"}, "version\n.*printable"),
    "code-of-no-label": ({**tiny_manifest(), "label_codes": {"deaf": CODE}}, "label_codes.*deaf"),
    "code-without-meaning": ({**tiny_manifest(), "label_codes": {"loud": {"scheme": "SCT", "value": "1"}}}, "meaning"),
    "code-with-backslash": ({**tiny_manifest(), "label_codes": {"loud": {**CODE, "value": "1\\2"}}}, "backslash"),
    "long-scheme": ({**tiny_manifest(), "label_codes": {"loud": {**CODE, "scheme": "9" * 17}}}, "scheme\n.*16"),
    "title-of-a-pattern": (
        {**tiny_manifest(), "module_titles": {r"encoder\.\d": "stem"}},
        "module_titles.*\n.*pattern",
    ),
    "title-with-escape": ({**tiny_manifest(), "module_titles": {"encoder": "\x1b[31m"}}, "printable"),
    "unknown-identity": ({**tiny_manifest(), "identity": "asked"}, "'required' or 'optional'"),
    "empty-body-part": ({**tiny_manifest(), "body_part": {}}, "body_part\n"),
    "body-part-twice": (
        {**tiny_manifest(), "body_part": {"accepted": ["chest"], "refused": ["CHEST"]}},
        "CHEST.*twice",
    ),
    "body-part-no-code-string": (
        {**tiny_manifest(), "body_part": {"refused": ["CHEST\\HEAD"]}},
        "body_part.refused.*\n.*pattern",
    ),
    "age-limit-of-no-observation": (with_field(max_age_days=90), "max_age_days.*Observation"),
    "age-limit-of-0-days": (with_field(dicom=None, fhir=WEIGHT_FHIR, max_age_days=0), "max_age_days\n.* 1 "),
    "optional-score": (
        {**tiny_manifest(), "outputs": [{**tiny_manifest()["outputs"][0], "optional": True}]},
        "optional.*outputs.*score",
    ),
    "optional-input": (
        {**tiny_manifest(), "inputs": [{**spec, "optional": True} for spec in tiny_manifest()["inputs"]]},
        "optional.*outputs",
    ),
    "attention-on-a-table": (attending(input="table"), "attention.*table"),
    "attention-on-a-mask": (reading_words(input="attention_mask"), "attention.*attention_mask"),
    "attention-to-words-in-a-grid": (reading_words(grid=[2, 2]), "attention words.*grid"),
    "attention-without-a-grid": (attending(grid=None), "attention alpha has no grid"),
    "meaning-of-two-lines": (attending(meaning="a\nb"), "attention.*\n.*printable"),
    "agreement-above-1": (agreeing(bound=1.5), "bound\n.* 1 "),
    "agreement-of-no-studies": (agreeing(studies=0), "studies\n.* 1 "),
    "agreement-of-one": (agreeing(outputs=["alpha", "alpha"]), "alpha is compared with itself"),
    "attention-on-an-unnamed-image": (attending(input=None), "attention.*volume"),
    "slices-of-an-image": (attending(slices=[0, 1]), "attention alpha.*slices"),
    "unknown-between": (with_int8(between="int4"), "'fp32', 'fp16', 'bf16', 'int8' or 'int8-bf16'"),
}


@pytest.mark.parametrize(("document", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        valid(document)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        ("CHEST", "accepted"),
        (" chest ", "accepted"),
        ("ABDOMEN", "warned"),
        ("Head", "refused"),
        ("KNEE", "warned"),
        ("", "accepted"),
    ],
    ids=str,
)
def test_verdict_on_a_body_part(value: str, verdict: str) -> None:
    rule = valid({**tiny_manifest(), "body_part": {"accepted": ["CHEST"], "warned": ["Abdomen"], "refused": ["HEAD"]}})
    assert rule.body_part is not None and rule.body_part.verdict(value) == verdict


def test_without_accepted_parts_all_but_the_named_are() -> None:
    rule = valid({**tiny_manifest(), "body_part": {"warned": ["NECK"], "refused": ["HEAD"]}}).body_part
    assert rule is not None
    assert [rule.verdict(value) for value in ("KNEE", "NECK", "HEAD")] == ["accepted", "warned", "refused"]
