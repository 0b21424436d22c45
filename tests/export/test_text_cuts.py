"""Where a network is cut, and which cannot be: hand-made ones of a few nodes, and what their parts answer."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mmcaf_engine.manifest import TensorSpec
from mmcaf_export.onnx_files import load_model
from mmcaf_export.text_parts import find_cut, remove_parts, write_parts
from tiny_bert import bert_network
from tiny_report import report_network

IMAGE = TensorSpec(name="image", kind="table", shape=("N", 4))
TEXT = (
    TensorSpec(name="input_ids", kind="tokens", dtype="int64", shape=("N", "L")),
    TensorSpec(name="attention_mask", kind="token_mask", dtype="int64", shape=("N", "L")),
)
INPUTS = (IMAGE, *TEXT)
OF_REPORT = (TensorSpec(name="image", kind="volume", shape=("N", 1, 4, 16, 16)), *TEXT)
OF_REPORT += (TensorSpec(name="table", kind="table", shape=("N", 3)),)
Network = onnx.ModelProto


def network(*nodes: tuple[str, ...], outputs: tuple[str, ...] = ("logit",), **attributes: dict[str, Any]) -> Network:
    """Nodes as (operator, output, *inputs); attributes by the output's name, after which the node is called too."""
    made = [
        helper.make_node(operator, list(inputs), [output], name=output, **attributes.get(output, {}))
        for operator, output, *inputs in nodes
    ]
    rng = np.random.default_rng(0)
    constants = {
        "table": rng.normal(size=(9, 4)).astype(np.float32),
        "square": rng.normal(size=(4, 4)).astype(np.float32),
        "one": np.array([1]),
        "two": np.array([2]),
        "four": np.array([4]),
    }
    read = {name for _, _, *inputs in nodes for name in inputs}
    graph = helper.make_graph(
        made,
        "network",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 4]),
            *(helper.make_tensor_value_info(spec.name, TensorProto.INT64, ["N", "L"]) for spec in TEXT),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "L", 4]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if name in read],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


EMBED = ("Gather", "embedded", "table", "input_ids")
ENCODE = ("MatMul", "encoded", "embedded", "square")
PLANE = ("Unsqueeze", "plane", "image", "one")
LOGIT = ("Add", "logit", "encoded", "plane")
REAL = ("Cast", "real", "attention_mask")
LENGTH = ("Shape", "length", "input_ids")
TO_FLOAT = {"to": TensorProto.FLOAT}
CUTS: dict[str, tuple[str, Network]] = {
    "where the text ends": ("encoded", network(EMBED, ENCODE, PLANE, LOGIT)),
    "behind what two ways become one in": (
        "scaled",
        network(EMBED, ENCODE, ("Mul", "scaled", "encoded", "embedded"), PLANE, ("Add", "logit", "scaled", "plane")),
    ),
    "before two ways to the image": (
        "encoded",
        network(
            EMBED,
            ENCODE,
            ("Relu", "left", "encoded"),
            ("Abs", "right", "encoded"),
            PLANE,
            ("Add", "met", "left", "plane"),
            ("Mul", "logit", "right", "met"),
        ),
    ),
    "before the first of two meetings": (
        "embedded",
        network(EMBED, ENCODE, PLANE, ("Add", "met", "embedded", "plane"), ("Mul", "logit", "encoded", "met")),
    ),
    "before an output of the text alone": (
        "encoded",
        network(EMBED, ENCODE, PLANE, ("Relu", "told", "encoded"), LOGIT, outputs=("logit", "told")),
    ),
    "before an output that the image meets": (
        "encoded",
        network(
            EMBED,
            ENCODE,
            PLANE,
            ("Relu", "told", "encoded"),
            ("Add", "logit", "told", "plane"),
            outputs=("logit", "told"),
        ),
    ),
    "with the mask in the rest": (
        "encoded",
        network(
            EMBED,
            ENCODE,
            REAL,
            ("Unsqueeze", "weight", "real", "two"),
            PLANE,
            ("Mul", "kept", "plane", "weight"),
            ("Add", "logit", "encoded", "kept"),
            real=TO_FLOAT,
        ),
    ),
    "with the mask in both": (
        "masked",
        network(
            EMBED,
            ENCODE,
            REAL,
            ("Unsqueeze", "weight", "real", "two"),
            ("Mul", "masked", "encoded", "weight"),
            PLANE,
            ("Mul", "kept", "plane", "weight"),
            ("Add", "logit", "masked", "kept"),
            real=TO_FLOAT,
        ),
    ),
    "where the text asks the image for the number of cases": (
        "encoded",
        network(
            ("Shape", "cases", "image"),
            LENGTH,
            ("Concat", "sizes", "cases", "length", "four"),
            ("Gather", "picked", "table", "input_ids"),
            ("Reshape", "shaped", "picked", "sizes"),
            ("MatMul", "encoded", "shaped", "square"),
            PLANE,
            LOGIT,
            cases={"start": 0, "end": 1},
            length={"start": 1, "end": 2},
            sizes={"axis": 0},
        ),
    ),
    "where the rest asks the tokens for their number": (
        "encoded",
        network(
            EMBED,
            ENCODE,
            LENGTH,
            ("Cast", "long", "length"),
            PLANE,
            ("Div", "share", "plane", "long"),
            ("Add", "logit", "encoded", "share"),
            length={"start": 1, "end": 2},
            long=TO_FLOAT,
        ),
    ),
    "at a value in FP16": (
        "halves",
        network(
            EMBED,
            ENCODE,
            ("Cast", "halves", "encoded"),
            PLANE,
            ("Cast", "half", "plane"),
            ("Add", "sum", "halves", "half"),
            ("Mul", "product", "sum", "halves"),
            ("Cast", "logit", "product"),
            halves={"to": TensorProto.FLOAT16},
            half={"to": TensorProto.FLOAT16},
            logit=TO_FLOAT,
        ),
    ),
}
"""Where, in words -> the value that is cut at, and the network."""
WHOLE: dict[str, Network] = {
    "no image is read": network(EMBED, ENCODE, ("Relu", "logit", "encoded")),
    "no text is read": network(
        EMBED, REAL, ("Unsqueeze", "weight", "real", "two"), PLANE, ("Mul", "logit", "plane", "weight"), real=TO_FLOAT
    ),
    "the image meets whole numbers": network(
        ("Unsqueeze", "numbers", "input_ids", "two"),
        ("Cast", "rounded", "image"),
        ("Unsqueeze", "plane", "rounded", "one"),
        ("Mul", "product", "numbers", "plane"),
        ("Cast", "logit", "product"),
        rounded={"to": TensorProto.INT64},
        logit=TO_FLOAT,
    ),
    "the rest asks a value inside the text for its size": network(
        EMBED,
        ("Relu", "inside", "embedded"),
        ("MatMul", "encoded", "inside", "square"),
        ("Shape", "size", "inside"),
        PLANE,
        ("Expand", "wide", "plane", "size"),
        ("Add", "logit", "encoded", "wide"),
    ),
}


def given(length: int = 3) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(length)
    mask = (np.arange(length) < np.array([[length], [1]])).astype(np.int64)
    return {
        "image": rng.normal(size=(2, 4)).astype(np.float32),
        "input_ids": rng.integers(0, 9, (2, length)),
        "attention_mask": mask,
    }


def run(path: Path, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """As ONNX defines it, without a runtime that would fuse or leave out anything."""
    network = ReferenceEvaluator(onnx.load(path))
    answers = network.run(None, {name: arrays[name] for name in network.input_names})
    return dict(zip(network.output_names, answers, strict=True))


def written(model: Network, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", CUTS)
def test_the_cut_and_what_its_parts_answer(name: str, tmp_path: Path) -> None:
    value, model = CUTS[name]
    whole = written(model, tmp_path)
    cut = find_cut(load_model(whole).graph, INPUTS)
    assert cut is not None and cut.value == value
    assert cut.words == TensorSpec(name="words", kind="words", shape=("N", "L", 4))
    parts = write_parts({"fp32": whole}, INPUTS)
    assert parts is not None and parts.words == cut.words
    for length in (1, 5):
        arrays = given(length)
        words = run(tmp_path / "model.text.onnx", {name: arrays[name] for name in ("input_ids", "attention_mask")})
        assert list(words) == ["words"] and words["words"].dtype == np.float32
        assert words["words"].shape == (2, length, 4)
        rest = {"image": arrays["image"], "attention_mask": arrays["attention_mask"], **words}
        found, expected = run(tmp_path / "model.rest.onnx", rest), run(whole, arrays)
        assert list(found) == list(expected)
        for output, answer in expected.items():
            np.testing.assert_array_equal(found[output], answer)
            assert np.abs(answer).max() > 0.01


@pytest.mark.parametrize("name", WHOLE)
def test_networks_that_cannot_be_cut(name: str, tmp_path: Path) -> None:
    whole = written(WHOLE[name], tmp_path)
    assert write_parts({"fp32": whole}, INPUTS) is None
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_a_network_of_text_alone_is_not_cut(tmp_path: Path) -> None:
    model = onnx.shape_inference.infer_shapes(bert_network())
    assert write_parts({"fp32": written(model, tmp_path)}, TEXT) is None


def test_what_is_the_same_for_every_word_is_part_of_the_text(tmp_path: Path) -> None:
    """The mean over the word pieces: the words have no axis L, and the rest does not read the mask."""
    whole = written(onnx.shape_inference.infer_shapes(report_network()), tmp_path)
    parts = write_parts({"fp32": whole}, OF_REPORT)
    assert parts is not None and parts.words.shape == ("N", 3)
    rest = onnx.load(tmp_path / "model.rest.onnx")
    assert [value.name for value in rest.graph.input] == ["image", "words", "attention_mask", "table"]
    assert [node.name for node in rest.graph.node][-1] == "logit" and len(rest.graph.node) == 7


@pytest.mark.parametrize("taken", ["logit", "embedded", "met"])
def test_the_name_between_the_parts_is_free(taken: str, tmp_path: Path) -> None:
    model = network(EMBED, ENCODE, PLANE, ("Add", "met", "encoded", "plane"), ("Relu", "logit", "met"))
    for names in (*(node.input for node in model.graph.node), *(node.output for node in model.graph.node)):
        names[:] = ["words" if name == taken else name for name in names]
    for value in (*model.graph.output, *model.graph.value_info):
        value.name = "words" if value.name == taken else value.name
    whole = written(model, tmp_path)
    parts = write_parts({"fp32": whole}, INPUTS)
    assert parts is not None and parts.words.name == "words_2"
    arrays = given()
    words = run(tmp_path / "model.text.onnx", {name: arrays[name] for name in ("input_ids", "attention_mask")})
    found = run(tmp_path / "model.rest.onnx", {**arrays, **words})
    assert [each.tobytes() for each in found.values()] == [each.tobytes() for each in run(whole, arrays).values()]


def test_a_precision_that_is_cut_elsewhere_has_no_parts(tmp_path: Path) -> None:
    whole = written(CUTS["where the text ends"][1], tmp_path)
    other = tmp_path / "model.int8.onnx"
    narrow = ("ReduceMean", "narrow", "embedded", "two")  # to one number for each word piece, not four
    onnx.save(network(EMBED, narrow, PLANE, ("Add", "logit", "narrow", "plane")), other)
    parts = write_parts({"fp32": whole, "int8": other}, INPUTS)
    assert parts is not None and list(parts.models) == ["fp32"]
    assert not list(tmp_path.glob("model.int8.*.onnx"))


def test_parts_of_an_earlier_time_go(tmp_path: Path) -> None:
    whole = written(CUTS["where the text ends"][1], tmp_path)
    assert write_parts({"fp32": whole}, INPUTS) is not None and len(list(tmp_path.iterdir())) == 3
    written(WHOLE["no text is read"], tmp_path)
    assert write_parts({"fp32": whole}, INPUTS) is None
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    remove_parts(whole)
