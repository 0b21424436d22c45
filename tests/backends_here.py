"""The backends for tests that open one: those of a GPU are marked so, and skipped with the reason where none is."""

from collections.abc import Iterator
from typing import Any

import pytest

from mmcaf_engine.backends.registry import Backends

BUILT_IN = {name: kind for name, kind in Backends().classes.items() if not kind.origin}
"""Name -> class of every backend of this package."""

ON_PROCESSOR = tuple(name for name, kind in BUILT_IN.items() if not kind.needs_gpu)
"""What runs on every machine that the tests run on."""

SPLIT = tuple(name for name, kind in BUILT_IN.items() if kind.can_split)
"""What runs a network in two parts."""


def backends() -> Iterator[Any]:
    """Every backend's name, as parameters of a test."""
    for name, kind in BUILT_IN.items():
        if name in ON_PROCESSOR:
            yield name
            continue
        answer = kind.availability()
        skipped = pytest.mark.skipif(not answer.available, reason=f"{name}: {answer.reason}")
        yield pytest.param(name, marks=[pytest.mark.gpu, skipped])


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let these be all backends of this package."""
    monkeypatch.setattr("mmcaf_engine.backends.registry.built_in_names", lambda: names)
