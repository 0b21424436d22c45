"""The scripts of benchmarks/, imported by a test and forgotten after it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from weakref import WeakSet

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
_patched: WeakSet[pytest.MonkeyPatch] = WeakSet()


def load(patch: pytest.MonkeyPatch, *names: str) -> ModuleType:
    """Import scripts anew, each under its name, by which others find it; the last of them.

    What they import of each other is found, and shared by all that one `patch` loads.
    """
    if patch not in _patched:
        _patched.add(patch)
        patch.syspath_prepend(str(BENCHMARKS))
        for file in BENCHMARKS.glob("*.py"):
            patch.setitem(sys.modules, file.stem, ModuleType(file.stem))  # is undone, also where nothing was there
            del sys.modules[file.stem]
    for name in names:
        module = _imported(name)
    return module


def _imported(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
