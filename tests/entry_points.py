"""Packages with an entry point, as pip would have left them on the path."""

import importlib
import sys
from pathlib import Path

import pytest


def add_package(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, code: str, group: str, point: str, target: str
) -> None:
    """Put a package of one module on the path for the test; its entry point `point` is the module's `target`."""
    module = name.replace("-", "_")
    metadata = folder / f"{module}-2.1.dist-info"
    metadata.mkdir(parents=True)
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.1\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{point} = {module}:{target}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.invalidate_caches()
