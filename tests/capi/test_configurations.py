"""What the C library reads of accuracy.json and of a model's weights is what the Python engine reads of them."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle import accuracy as reading
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_engine.bundle.external_data import external_locations
from mmcaf_engine.errors import BundleError
from mmcaf_engine.session import judged
from testing_library import call, fresh_random

KERNELS = ["groupnorm_act", "msdc", "upsample_dw"]


def some(random: Random) -> list[str]:
    return random.sample(KERNELS, random.randrange(len(KERNELS) + 1))


def drawn(random: Random, precision: str) -> dict[str, Any]:
    """An accuracy.json of one precision, judged in a few configurations."""
    runtime = {"backend": "openvino", "version": "1", "device": "CPU"}
    performance = {"auroc": None, "decisions": None}

    def configuration() -> dict[str, Any]:
        return {
            "backend": random.choice(["openvino", "onnxruntime", None]),
            "hint": random.choice(["f32", "f32", "f16", None]),
            "between": random.choice(["fp32", "fp32", "bf16"]),
            "kernels": sorted(some(random)) if random.random() < 0.7 else [],
        }

    facts = {
        "runtime": runtime,
        "max_probability_difference": random.random(),
        "mean_probability_difference": 0.0,
        "max_logit_difference": 0.0,
        "flips": random.choice(
            [{"to_label_0": 1, "to_label_1": 2, "fraction": 0.1}, {"changed": 4, "fraction": 0.1}, {"fraction": 0.0}]
        ),
        "performance": performance,
        "auroc_difference": random.choice([None, {"value": -0.25, "low": -1.0, "high": 0.5}]),
        "auroc_note": None,
        "bound": {"probability_difference": 0.1, "flips": 0.1, "auroc_loss": 0.1},
        "passed": True,
        "reasons": [],
    }
    if random.random() < 0.9:
        facts["judged"] = [
            {
                "configuration": configuration(),
                "runtime": runtime,
                "max_probability_difference": random.random(),
                "max_logit_difference": 0.0,
                "flips": random.choice([0.0, 0.05, 0.25, random.random()]),
            }
            for _ in range(random.randrange(1, 5))
        ]
    cohort = {"source": "demo:1-30", "studies": random.randrange(1, 60), "refused": 0, "labelled": 0}
    document = {"format_version": 1, "cohort": cohort, "threshold": 0.5, "precisions": {precision: facts}}
    return document | {"reference": {**runtime, "precision": "fp32", "performance": performance}}


def test_a_precision_answers_in_the_same_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    random, bundle = fresh_random(), load_bundle(default_bundle().path)
    seen = set()
    for _ in range(400):
        precision = random.choice(["int8", "bf16", "fp16", "int8-bf16", "int8"])
        document = drawn(random, precision)
        read = reading.parse_accuracy(json.dumps(document).encode())
        monkeypatch.setattr(judged, "read_accuracy", lambda _bundle, read=read: read)
        kernels = random.choice([None, some(random)])
        answer = judged._answer(bundle, OpenVinoBackend, precision, kernels)
        found = call(
            "mmcaf_testing_unjudged", bundle.manifest.name, precision, json.dumps(document), json.dumps(kernels)
        )
        assert found == ("" if answer.available else answer.reason)
        seen.add(answer.available)
    assert seen == {True, False}


def test_what_a_precision_costs_is_told_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    random, bundle = fresh_random(), load_bundle(default_bundle().path)
    for _ in range(200):
        document = drawn(random, "int8")
        read = reading.parse_accuracy(json.dumps(document).encode())
        monkeypatch.setattr(reading, "read_accuracy", lambda _bundle, read=read: read)
        summary = reading.accuracy_summary(bundle, "int8")
        assert summary is not None
        assert json.loads(call("mmcaf_testing_cost", json.dumps(document), "int8")) == vars(summary)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format_version": 2}, "accuracy format 2; this library reads up to 1."),
        ({"cohort": None}, "accuracy.json: no accuracy report: cohort is of another type."),
        ({"precisions": {"int8": {}}}, "no accuracy report: max_probability_difference is missing."),
    ],
    ids=["newer", "cohort", "precision"],
)
def test_a_report_that_is_none_is_refused(change: dict[str, Any], problem: str) -> None:
    document = drawn(Random(1), "int8") | change
    error = json.loads(call("mmcaf_testing_cost", json.dumps(document), "int8"))
    assert error["exit_code"] == 5 and problem in error["problem"]


def message(random: Random, depth: int = 0) -> bytes:
    """A few fields of a message of Protocol Buffers, some of those that lead to a tensor's entries."""

    def varint(number: int) -> bytes:
        out = b""
        while number > 127:
            out, number = out + bytes([number & 127 | 128]), number >> 7
        return out + bytes([number])

    fields = b""
    for _ in range(random.randrange(1, 4)):
        number, inner = random.choice([1, 2, 5, 7, 13, 20, 25]), b""
        match random.randrange(8):
            case 0:
                fields += varint(number << 3) + varint(random.randrange(2**40))
                continue
            case 1:
                fields += varint(number << 3 | 5) + random.randbytes(4)
                continue
            case 2 | 3:
                inner = b"\x0a\x08location\x12" + varint(size := random.randrange(6)) + random.randbytes(size)
                number = random.choice([13, 13, number])
            case _:
                inner = message(random, depth + 1) if depth < 5 else random.randbytes(3)
        fields += varint(number << 3 | 2) + varint(len(inner)) + inner
    return fields


def test_the_same_files_are_found_in_a_model(tmp_path: Path) -> None:
    random, model, told = fresh_random(), tmp_path / "model.onnx", set()
    for _ in range(1500):
        data = bytearray(message(random))
        # A graph of one tensor leads to the entry that it wraps.
        if random.random() < 0.5:
            entry = b"\x0a\x08location\x12\x04w.da"
            tensor = bytes([13 << 3 | 2, len(entry)]) + entry
            graph = bytes([5 << 3 | 2, len(tensor)]) + tensor
            data += bytes([7 << 3 | 2, len(graph)]) + graph
        if random.random() < 0.4:
            data[random.randrange(len(data))] = random.randrange(256)
        model.write_bytes(data)
        try:
            expected = sorted(
                map(list, {name.encode("utf-8", "surrogateescape") for name in external_locations(model)})
            )
        except BundleError:
            expected = None
        found = call("mmcaf_testing_locations", bytes(data).hex())
        assert (None if found == "refused" else sorted(json.loads(found))) == expected, bytes(data).hex()
        told.add("refused" if expected is None else bool(expected))
    assert told == {True, False, "refused"}
