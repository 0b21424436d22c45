"""What every backend is, whatever runs it."""

from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.manifest import TensorSpec

TOKENS = TensorSpec(name="ids", kind="tokens", dtype="int64", shape=("N", "L"))
LOGIT = TensorSpec(name="logit", kind="score", shape=("N", 2))


def facts(**changes: Any) -> dict[str, Any]:
    given = {"inputs": (TOKENS,), "outputs": (LOGIT,), "threads": 1, "precision": "fp32", "lengths": (4, 8), **changes}
    return OpenVinoBackend(Path("model.onnx"), **given).engine_facts()


@pytest.mark.parametrize(
    "changes",
    [
        {"lengths": (4, 16)},
        {"lengths": (8,)},
        {"threads": 2},
        {"precision": "int8"},
        {"inputs": (TOKENS.model_copy(update={"name": "tokens"}),)},
        {"outputs": (LOGIT.model_copy(update={"shape": ("N", 3)}),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_engine_is_of_one_network_and_how_it_is_run(changes: dict[str, Any]) -> None:
    assert facts() == facts() != facts(**changes)


def test_a_network_that_reads_texts_must_be_told_their_lengths() -> None:
    with pytest.raises(ValueError, match="lengths"):
        facts(lengths=())
