"""The backends for tests that open one: those of a GPU are marked so, and skipped with the reason where none is."""

from collections.abc import Iterator
from typing import Any

import pytest

from mmcaf_engine.backends.registry import BACKENDS, backend_class

ON_PROCESSOR = tuple(name for name in BACKENDS if name != "tensorrt")
"""What runs on every machine that the tests run on."""


def backends() -> Iterator[Any]:
    """Every backend's name, as parameters of a test."""
    for name in BACKENDS:
        if name in ON_PROCESSOR:
            yield name
            continue
        answer = backend_class(name).availability()
        skipped = pytest.mark.skipif(not answer.available, reason=f"{name}: {answer.reason}")
        yield pytest.param(name, marks=[pytest.mark.gpu, skipped])
