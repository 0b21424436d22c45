"""Which files of a bundle make one network of it."""

from types import SimpleNamespace
from typing import Any

import pytest

from mmcaf_engine.bundle.models import model_files, model_hashes

NAMES = ["fp32.onnx", "fp32.onnx.data", "fp16.onnx", "text.onnx", "rest.onnx", "rest.onnx.data", "golden.npz"]
MANIFEST: Any = SimpleNamespace(
    models={"fp32": "fp32.onnx", "fp16": "fp16.onnx"},
    files={name: SimpleNamespace(sha256=f"hash of {name}") for name in NAMES},
)


@pytest.mark.parametrize(
    ("precision", "model", "files"),
    [
        ("fp32", None, ["fp32.onnx", "fp32.onnx.data"]),
        ("fp16", None, ["fp16.onnx"]),
        ("fp32", "text.onnx", ["text.onnx", "fp32.onnx.data"]),
        ("fp32", "rest.onnx", ["rest.onnx", "rest.onnx.data", "fp32.onnx.data"]),
        ("fp16", "rest.onnx", ["rest.onnx", "rest.onnx.data"]),
    ],
)
def test_a_model_and_the_weights_that_it_may_be_read_with(precision: Any, model: str | None, files: list[str]) -> None:
    whole = {"fp32": "fp32.onnx", "fp16": "fp16.onnx"}[precision]
    assert model_files(MANIFEST, precision, model or whole) == files
    assert model_hashes(MANIFEST, precision, model) == [f"hash of {name}" for name in files]
