"""Bundles whose network in two parts is not what the manifest says; the whole network may be sound."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from backends_here import SPLIT
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.bundle.bundle import MANIFEST_NAME, Bundle, write_bundle
from mmcaf_engine.errors import BackendError, BundleError, MmcafError
from refusals import Fact, refused
from tiny_parts import FILES, WORDS, make_tiny_parts, parts_manifest, rest_part, text_part

on_each = pytest.mark.parametrize("backend", SPLIT)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An engine that another test had kept would answer, and the file that is damaged not be read."""
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_parts(tmp_path_factory.mktemp("parts") / "tiny.mmcaf")


@pytest.fixture
def bundle(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "report.mmcaf"))


def resealed(bundle: Path, document: dict[str, Any], **files: bytes) -> Bundle:
    """The bundle with another manifest and other parts, whose hashes are right."""
    (bundle / MANIFEST_NAME).unlink()
    for part, data in files.items():
        (bundle / FILES[part]).write_bytes(data)
    return write_bundle(bundle, document, bundle.with_name("hostile.mmcaf"))


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"models": {"fp32": {**FILES, "rest": "other.onnx"}}}, ("files", "other.onnx")),
        ({"models": {"fp32": {**FILES, "text": "../model.text.onnx"}}}, ("files", "../model.text.onnx")),
        ({"models": {"int8": FILES}}, ("text.parts", "int8", "models")),
        ({"models": {"fp64": FILES}}, ("text.parts.models.fp64.[key]",)),
        ({"models": {}}, ("text.parts.models", 1)),
        ({"models": {"fp32": {**FILES, "rest": "model.onnx"}}}, ("model.onnx", "precision's")),
        ({"models": {"fp32": {**FILES, "rest": FILES["text"]}}}, ("model.text.onnx", "precision's")),
        ({"models": {"fp32": {"text": FILES["text"]}}}, ("text.parts.models.fp32.rest",)),
        ({"models": {"fp32": {**FILES, "code": "x.py"}}}, ("text.parts.models.fp32.code",)),
        ({"words": {**WORDS, "name": "logit"}}, ("text.parts.words", "logit")),
        ({"words": {**WORDS, "name": "input_ids"}}, ("text.parts.words", "input_ids")),
        ({"words": {**WORDS, "name": "a b"}}, ("text.parts.words.name", "pattern")),
        ({"words": {**WORDS, "kind": "table", "shape": ["N", 3]}}, ("text.parts.words", "table", "words")),
        ({"words": {**WORDS, "dtype": "int64"}}, ("text.parts.words", "float32")),
        ({"words": {**WORDS, "shape": ["L", 3]}}, ('"N"',)),
        ({"words": {**WORDS, "shape": ["N", "M"]}}, ("text.parts.words.shape",)),
    ],
    ids=str,
)
def test_manifests_that_contradict_themselves(bundle: Path, changes: dict[str, Any], facts: tuple[Fact, ...]) -> None:
    document = json.loads((bundle / MANIFEST_NAME).read_text())
    document["text"]["parts"] = parts_manifest(**changes)["text"]["parts"]
    (bundle / MANIFEST_NAME).write_text(json.dumps(document))
    with refused(BundleError, "manifest", *facts):
        load_bundle(bundle)


def test_words_are_no_input(bundle: Path) -> None:
    document = json.loads((bundle / MANIFEST_NAME).read_text())
    document["inputs"][0] = {**WORDS, "name": "image"}
    (bundle / MANIFEST_NAME).write_text(json.dumps(document))
    with refused(BundleError, "manifest", "input", "words"):
        load_bundle(bundle)


@pytest.mark.parametrize("part", sorted(FILES))
def test_missing_part(bundle: Path, part: str) -> None:
    (bundle / FILES[part]).unlink()
    with refused(BundleError, f"model.{part}.onnx", "missing"):
        load_bundle(bundle)


@on_each
@pytest.mark.parametrize("part", sorted(FILES))
def test_one_changed_byte(bundle: Path, part: str, backend: str) -> None:
    data = bytearray((bundle / FILES[part]).read_bytes())
    data[60] ^= 1
    (bundle / FILES[part]).write_bytes(data)
    with refused(BundleError, f"model.{part}.onnx", "SHA-256"):
        open_session(load_bundle(bundle), backend=backend, reports=2)


def of_other_weights(part: onnx.ModelProto, name: str) -> bytes:
    weights = next(tensor for tensor in part.graph.initializer if tensor.name == name)
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) + np.float32(0.01), name))
    return part.SerializeToString()


def of_other_words(cast: int | None, width: int = 3, name: str = "words") -> bytes:
    """A text part that puts out words of another type, width or name than it should."""
    part = text_part()
    graph = part.graph
    graph.node[0].output[0] = "embedded"
    graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1, width), np.float32), "wide"))
    graph.node.append(helper.make_node("Add", ["embedded", "wide"], ["wider"], name="wider"))
    if width != 3:
        graph.node[0].input[0] = "column"
        graph.initializer.append(numpy_helper.from_array(np.zeros((37, 1), np.float32), "column"))
    graph.node.append(helper.make_node("Cast", ["wider"], [name], name="cast", to=cast or TensorProto.FLOAT))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(name, cast or TensorProto.FLOAT, ["N", "L", width]))
    return part.SerializeToString()


def of_one_word() -> bytes:
    """A text part that puts out one word for all, which the rest would take for each of them."""
    part = text_part()
    part.graph.node[0].output[0] = "embedded"
    part.graph.initializer.append(numpy_helper.from_array(np.array([1]), "length"))
    part.graph.node.append(helper.make_node("ReduceSum", ["embedded", "length"], ["words"], name="one", keepdims=1))
    return part.SerializeToString()


HOSTILE: dict[str, Callable[[], dict[str, bytes]]] = {
    "the text encodes otherwise": lambda: {"text": of_other_weights(text_part(), "embeddings")},
    "the rest answers otherwise": lambda: {"rest": of_other_weights(rest_part(), "brightness")},
    "the parts are swapped": lambda: {"text": rest_part().SerializeToString(), "rest": text_part().SerializeToString()},
    "no network at all": lambda: {"rest": b"not a network"},
    "words are whole numbers": lambda: {"text": of_other_words(TensorProto.INT64)},
    "words are double": lambda: {"text": of_other_words(TensorProto.DOUBLE)},
    "words are wider": lambda: {"text": of_other_words(None, 4)},
    "words have another name": lambda: {"text": of_other_words(None, 3, "others")},
}


@on_each
@pytest.mark.parametrize("name", HOSTILE)
def test_parts_that_are_not_the_network_never_answer(bundle: Path, name: str, backend: str) -> None:
    hostile = resealed(bundle, parts_manifest(), **HOSTILE[name]())
    with pytest.raises((BackendError, BundleError)):
        open_session(hostile, backend=backend, reports=2)
    with open_session(hostile, backend=backend) as session:  # the whole network is sound
        assert session.describe()["self_test"]["passed"]


@on_each
@pytest.mark.parametrize("shape", [["N", "L", 4], ["N", 3], ["N", 12, 3]], ids=str)
def test_words_of_another_shape_than_declared(bundle: Path, shape: list[int | str], backend: str) -> None:
    hostile = resealed(bundle, parts_manifest(words={**WORDS, "shape": shape}))
    with pytest.raises(MmcafError) as caught:
        open_session(hostile, backend=backend, reports=2)
    assert isinstance(caught.value, BackendError | BundleError)


def test_what_is_wrong_with_the_words_is_said(bundle: Path) -> None:
    hostile = resealed(bundle, parts_manifest(), text=of_other_words(None, 4))
    with refused(BundleError, "words", "float32", "[N, L, 3]", "[?, ?, 4]"):
        open_session(hostile, backend="onnxruntime", reports=2)


def test_words_are_as_many_as_the_text_has(bundle: Path) -> None:
    hostile = resealed(bundle, parts_manifest(), text=of_one_word())
    with refused(BundleError, "model.text.onnx", "words", "[1, 12, 3]", "[1, 1, 3]"):
        open_session(hostile, backend="onnxruntime", reports=2)
