"""The tiny bundle that reads a report, with its network in two parts too: what passes between them is embeddings."""

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from mmcaf_engine.bundle.bundle import write_bundle
from tiny_report import LABELS, make_tiny_report, report_manifest, report_network

WORDS = {"name": "words", "kind": "words", "shape": ["N", "L", len(LABELS)]}
FILES = {"text": "model.text.onnx", "rest": "model.rest.onnx"}


def parts_manifest(**changes: Any) -> dict[str, Any]:
    """The manifest's fields, without `files`; `changes` replace fields of its parts."""
    document = report_manifest()
    document["text"]["parts"] = {"words": WORDS, "models": {"fp32": FILES}, **changes}
    return document


def make_tiny_parts(output: Path, **changes: Any) -> Path:
    """Write the bundle; `changes` replace fields of the manifest."""
    draft = make_tiny_report(output.with_name(output.name + ".whole"))
    (draft / "manifest.json").unlink()
    onnx.save(text_part(), draft / FILES["text"])
    onnx.save(rest_part(), draft / FILES["rest"])
    return write_bundle(draft, {**parts_manifest(), **changes}, output).folder


def text_part() -> onnx.ModelProto:
    """input_ids, attention_mask [N, L] -> words [N, L, 3]."""
    network = report_network()
    graph = network.graph
    graph.node[0].output[0] = "words"
    del graph.node[1:], graph.input[3], graph.input[0], graph.initializer[1:], graph.output[:]
    graph.output.append(_words())
    return network


def rest_part() -> onnx.ModelProto:
    """image, words [N, L, 3], attention_mask, table -> logit."""
    network = report_network()
    graph = network.graph
    del graph.node[0], graph.initializer[0]
    graph.node[2].input[0] = "words"
    graph.input[1].CopyFrom(_words())
    return network


def _words() -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("words", TensorProto.FLOAT, ["N", "L", len(LABELS)])
