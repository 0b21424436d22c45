"""Imports one module of the project with one line changed; the files stay as they are.

    MUTANT='{"file": ..., "line": ..., "becomes": ...}' pytest -p mutants.plugin TESTS

Python processes that tests start see the change too, by `child/sitecustomize.py`, unless they are given an environment
of their own.
"""

import json
import linecache
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
CHILD = str(Path(__file__).parent / "child")


def changed(source: str, line: str, becomes: str) -> str:
    """The source with its one line of this text, less the indent, replaced.

    Raises:
        ValueError: no line or several lines have this text.
    """
    lines = source.splitlines(keepends=True)
    places = [at for at, text in enumerate(lines) if text.strip() == line.strip()]
    if len(places) != 1:
        raise ValueError(f"{len(places)} lines are {line.strip()!r}; expected one")
    [at] = places
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    lines[at] = f"{indent}{becomes.strip()}\n"
    return "".join(lines)


def module_name(file: Path) -> str:
    """Dotted name of a file of one of the packages."""
    parts = file.with_suffix("").parts[1:]  # less cli/, engine/, export/ or kernels/
    return ".".join(parts).removesuffix(".__init__")


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, line: str, becomes: str) -> None:
        super().__init__(name, path)
        self._change = line, becomes

    def get_code(self, fullname: str) -> CodeType:
        source = changed(Path(self.path).read_text(encoding="utf-8"), *self._change)
        # Without a time it counts as current: Triton compiles what inspect finds, not what was imported.
        linecache.cache[self.path] = len(source), None, source.splitlines(keepends=True), self.path
        return compile(source, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, file: Path, line: str, becomes: str) -> None:
        self._name, self._path = module_name(file), str(ROOT / file)
        self._change = line, becomes
        self._package = file.name == "__init__.py"

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Loader(fullname, self._path, *self._change)
        folders = [str(Path(self._path).parent)] if self._package else None
        return spec_from_file_location(fullname, self._path, loader=loader, submodule_search_locations=folders)


def _install(mutant: dict[str, Any]) -> None:
    name = module_name(Path(mutant["file"]))
    if name in sys.modules:
        raise RuntimeError(f"{name} was imported before it could be changed")
    sys.meta_path.insert(0, _Finder(Path(mutant["file"]), mutant["line"], mutant["becomes"]))
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if CHILD not in path:
        os.environ["PYTHONPATH"] = os.pathsep.join([CHILD, str(ROOT / "tests"), *filter(None, path)])


if "MUTANT" in os.environ:
    _install(json.loads(os.environ["MUTANT"]))
