"""Tokens of a report, as the C library takes them."""

import json
from typing import Any

import numpy as np
import pytest

from capi_inputs import Given, arrays_of, by_library
from mmcaf_engine.volume import Volume
from tiny_report import BUCKETS, PIECES, report_manifest

START, END, PADDING, UNKNOWN = (PIECES.index(piece) for piece in ("[CLS]", "[SEP]", "[PAD]", "[UNK]"))
RECORD = {"sex": "M", "age": 64}


def _given(tokens: list[int] | None, record: dict[str, Any] | None = None, missing: str = "refuse") -> Given:
    manifest = report_manifest()
    manifest["text"]["missing"] = missing
    values = np.arange(4 * 8 * 8, dtype=np.int16).reshape(4, 8, 8)
    volumes = {"image": Volume(values, "hounsfield", (1.0, 1.0, 1.0))}
    text = json.dumps(RECORD if record is None else record).encode()
    return Given(manifest, volumes, text, tokens=tokens, vocabulary="\n".join(PIECES) + "\n")


def test_tokens_are_padded_to_the_smallest_bucket() -> None:
    tokens = [START, *[UNKNOWN + 1] * (BUCKETS[0] - 2), END]
    for given, length in ((tokens, BUCKETS[0]), ([START, 5, *tokens[1:]], BUCKETS[1])):
        arrays = arrays_of(by_library(_given(given))["windows"][0])
        assert arrays["input_ids"].dtype == np.int64
        assert arrays["input_ids"][0].tolist() == given + [PADDING] * (length - len(given))
        assert arrays["attention_mask"][0].tolist() == [1] * len(given) + [0] * (length - len(given))


@pytest.mark.parametrize(
    ("tokens", "error", "told"),
    [
        ([], "UsageError", "[CLS]"),
        ([START], "UsageError", "[CLS]"),
        ([5, END], "UsageError", "[CLS]"),
        ([START, 5], "UsageError", "[SEP]"),
        ([START, -1, END], "UsageError", "-1"),
        ([START, len(PIECES), END], "UsageError", str(len(PIECES) - 1)),
        ([START, *[5] * BUCKETS[-1], END], "UsageError", str(BUCKETS[-1])),
        ([START, END], "RecordError", "holds no word"),
        (None, "RecordError", "is not in the record"),
    ],
)
def test_tokens_that_are_refused(tokens: list[int] | None, error: str, told: str) -> None:
    found = by_library(_given(tokens))
    assert found["error"] == error
    assert told in found["problem"]
    assert found["remedies"]


def test_a_report_in_the_record_is_refused_by_name() -> None:
    found = by_library(_given([START, 5, END], RECORD | {"findings": "clear"}))
    assert found["error"] == "RecordError"
    assert "findings" in found["problem"]
    assert "clear" not in found["problem"]
    assert any(remedy.get("option") == "tokens" for remedy in found["remedies"])


def test_a_network_that_answers_without_a_report_warns() -> None:
    found = by_library(_given(None, missing="empty"))
    assert "the report is not in the record; the network answered without one." in found["record_warnings"]
    assert arrays_of(found["windows"][0])["input_ids"][0, :3].tolist() == [START, END, PADDING]


def test_unknown_words_are_warned_of() -> None:
    found = by_library(_given([START, UNKNOWN, 5, UNKNOWN, END]))
    assert any(warning.startswith("2 of 3 report tokens are unknown") for warning in found["record_warnings"])


def test_tokens_of_a_network_that_reads_no_report_are_refused() -> None:
    given = _given([START, 5, END])
    given.manifest = {**given.manifest, "inputs": [given.manifest["inputs"][0], given.manifest["inputs"][3]]}
    del given.manifest["text"]
    found = by_library(given)
    assert found["error"] == "RecordError"
    assert "reads no report" in found["problem"]
