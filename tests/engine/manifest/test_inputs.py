"""Which inputs, labels and parts a manifest may hold together: volumes, one image, text, a table, or some of them."""

from typing import Any

import pytest
from pydantic import ValidationError

from mmcaf_engine.manifest import Manifest
from tiny_bundle import tiny_manifest
from tiny_image import TABLE, tiny_image_manifest

FILE = {"sha256": "0" * 64, "size": 0}
FILES = {"model.onnx": FILE, "golden.npz": FILE, "vocabulary.txt": FILE}

TOKENS: list[dict[str, Any]] = [
    {"name": "input_ids", "kind": "tokens", "dtype": "int64", "shape": ["N", "L"]},
    {"name": "attention_mask", "kind": "token_mask", "dtype": "int64", "shape": ["N", "L"]},
]
TEXT = {"lowercase": True, "max_tokens": 64, "buckets": [32, 64]}
AGE = {"name": "table", "kind": "table", "shape": ["N", 1]}
IMAGE = tiny_image_manifest()["inputs"][0]


def valid(manifest: dict[str, Any], **changes: Any) -> Manifest:
    return Manifest.model_validate({"files": FILES, **manifest, **changes})


def image(**changes: Any) -> Manifest:
    return valid(tiny_image_manifest(), **changes)


def multi_label(**changes: Any) -> Manifest:
    labels = ["mass", "nodule", "effusion"]
    outputs = [{"name": "logits", "kind": "score", "shape": ["N", 3]}]
    own = {"activation": "independent", "threshold": None, "thresholds": [0.5, 0.4, 0.3]}
    return image(**{"labels": labels, "outputs": outputs, **own, **changes})


def test_image_text_and_table_together() -> None:
    manifest = image(inputs=[IMAGE, *TOKENS, AGE], text=TEXT, table=TABLE)
    assert (manifest.input("tokens").name, manifest.input("token_mask").name) == ("input_ids", "attention_mask")
    assert manifest.input("tokens").shape == ("N", "L")
    assert manifest.modalities == ("DX", "CR")
    assert manifest.image is not None and manifest.image.view == "frontal"
    assert manifest.volumes == ()


def test_what_reads_no_study() -> None:
    manifest = image(inputs=[*TOKENS, AGE], text=TEXT, table=TABLE, image=None)
    assert manifest.modalities == ()
    with pytest.raises(ValueError, match="tiny image"):
        _ = manifest.of_volumes


def test_a_table_with_cuts_is_wider() -> None:
    cut = {"value": 60, "direction": "above"}
    fields = {"fields": [{**TABLE["fields"][0], "cut": cut}]}
    wide = {**AGE, "shape": ["N", 2]}
    assert image(inputs=[IMAGE, wide], table=fields).input("table").shape == ("N", 2)
    with pytest.raises(ValidationError, match=r"table.*\D2\b"):
        image(inputs=[IMAGE, AGE], table=fields)


def test_volumes_are_as_before() -> None:
    manifest = valid(tiny_manifest())
    assert manifest.modalities == ("CT",)
    assert manifest.of_volumes is manifest.preprocessing
    assert (manifest.image, manifest.text, manifest.thresholds) == (None, None, ())
    assert manifest.format_version == 2


def test_independent_labels() -> None:
    assert multi_label().thresholds == (0.5, 0.4, 0.3)
    one = [{"name": "logits", "kind": "score", "shape": ["N", 1]}]
    assert multi_label(labels=["mass"], outputs=one, thresholds=[0.2]).labels == ("mass",)


def attended(**changes: Any) -> Manifest:
    outputs = [*tiny_image_manifest()["outputs"], {"name": "alpha", "kind": "attention", "shape": ["N", 4]}]
    return image(outputs=outputs, attention=[{"output": "alpha", "title": "x", "grid": [2, 2]}], **changes)


SPEC = tiny_image_manifest()["image"]

WRONG: dict[str, tuple[Any, str]] = {
    "image-and-volume": (
        lambda: image(
            inputs=[IMAGE, {**tiny_manifest()["inputs"][0], "name": "ct"}],
            preprocessing=tiny_manifest()["preprocessing"],
        ),
        "inputs.*volumes.*image",
    ),
    "two-images": (lambda: image(inputs=[IMAGE, {**IMAGE, "name": "other"}]), "one input.* image"),
    "image-without-its-part": (
        lambda: image(image=None),
        "inputs.* image.* image",
    ),
    "volume-without-its-part": (
        lambda: valid(tiny_manifest(), preprocessing=None),
        "inputs.* volume.* preprocessing",
    ),
    "part-without-image": (lambda: image(inputs=[AGE], table=TABLE), "inputs.* image.* image"),
    "text-without-part": (lambda: image(inputs=[IMAGE, *TOKENS]), "inputs.* tokens.* text"),
    "part-without-text": (lambda: image(text=TEXT), "inputs.* tokens.* text"),
    "tokens-without-mask": (lambda: image(inputs=[IMAGE, TOKENS[0]], text=TEXT), "inputs.* token_mask.* text"),
    "other-size": (lambda: image(image={**SPEC, "size": [12, 12]}), r"input image.*image"),
    "other-channels": (
        lambda: image(image={**SPEC, "channels": 1, "mean": [0.5], "std": [0.2]}),
        "input image.*image",
    ),
    "two-channels": (lambda: image(image={**SPEC, "channels": 2}), "image.channels\n.*1 or 3"),
    "one-mean-for-three": (lambda: image(image={**SPEC, "mean": [0.5]}), "mean.*std.* 3 "),
    "std-of-0": (lambda: image(image={**SPEC, "std": [0.1, 0, 0.1]}), "image.std.*\n.* 0 "),
    "no-modality": (lambda: image(image={**SPEC, "modality": []}), "image.modality\n.* 1 "),
    "unknown-view": (lambda: image(image={**SPEC, "view": "oblique"}), "'frontal', 'lateral' or 'any'"),
    "score-as-input": (lambda: image(inputs=[{**IMAGE, "kind": "score"}]), "input.* score"),
    "float-tokens": (lambda: image(inputs=[{**TOKENS[0], "dtype": "float32"}]), 'tokens.*int64 \\["N", "L"\\]'),
    "fixed-tokens": (lambda: image(inputs=[{**TOKENS[0], "shape": ["N", 64]}]), 'tokens.*int64 \\["N", "L"\\]'),
    "integer-image": (lambda: image(inputs=[{**IMAGE, "dtype": "int64"}]), "image.*float32"),
    "image-of-L": (lambda: image(inputs=[{**IMAGE, "shape": ["N", 3, "L", 16]}]), '"L".*tokens'),
    "no-vocabulary": (
        lambda: image(inputs=[IMAGE, *TOKENS], text={**TEXT, "vocabulary": "words.txt"}),
        "files.*words.txt",
    ),
    "field-of-both": (
        lambda: image(inputs=[IMAGE, *TOKENS, AGE], text={**TEXT, "fields": ["age"]}, table=TABLE),
        "age.*table.*text",
    ),
    "attention-on-an-image": (attended, "attention.*volume"),
    "no-thresholds": (lambda: multi_label(thresholds=[]), "thresholds.*independent"),
    "too-few-thresholds": (lambda: multi_label(thresholds=[0.5]), "thresholds.*independent"),
    "threshold-of-1": (lambda: multi_label(thresholds=[0.5, 1, 0.5]), "thresholds.1\n.* 1 "),
    "both-thresholds": (lambda: multi_label(threshold=0.5), "threshold .*sigmoid"),
    "thresholds-of-sigmoid": (lambda: image(thresholds=[0.5, 0.5]), "thresholds.*independent"),
    "softmax-of-one": (
        lambda: multi_label(labels=["mass"], activation="softmax", thresholds=[]),
        "softmax.*independent",
    ),
    "unequal-scores": (lambda: multi_label(labels=["a", "b"], thresholds=[0.5, 0.5]), r"\[N, 2\]"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_contradicts_itself_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()
