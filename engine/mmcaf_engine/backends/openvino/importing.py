"""Imports OpenVINO without the parts of its package that running a network needs none of."""

import re
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_CONVERTER = "openvino.tools.ovc"
"""Reports its import over the network."""
_OPERATORS = re.compile(r"openvino\.opset\d+")
"""The Python functions that make operators, a package for each version of the operator set."""


def import_openvino() -> Any:
    """OpenVINO without its model converter; an operator set is loaded when something of it is first asked for.

    Together these are more than half of what the package takes to import, and an engine is loaded without them.
    """
    if "openvino" in sys.modules:
        return import_module("openvino")
    later = _OperatorsLater()
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    sys.meta_path.insert(0, later)
    try:
        return import_module("openvino")
    finally:
        sys.meta_path.remove(later)
        sys.modules.pop(_CONVERTER, None)


class _OperatorsLater(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if _OPERATORS.fullmatch(name) else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Later(spec.loader)
        return spec


class _Later(Loader):
    """In place of a loader, loads what that one would when it is asked for."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Waiting(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader


class _Waiting(ModuleType):
    """A package that is loaded when something is asked for that it does not hold yet.

    importlib's LazyLoader does this too, but loads a package twice that its own modules import from.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._lock, self._loading = threading.RLock(), False

    def __getattr__(self, name: str) -> Any:
        lock = self.__dict__.get("_lock")
        of_import = name.startswith("__") and name != "__all__"  # What the import itself asks for.
        if of_import or lock is None:  # Without a lock, another thread has loaded it since.
            return ModuleType.__getattribute__(self, name)
        with lock:
            if not self.__dict__.get("_loading", True):
                self._load()
            return ModuleType.__getattribute__(self, name)

    def __dir__(self) -> list[str]:
        with_all: list[str] = self.__all__ if hasattr(self, "__all__") else []
        return sorted({*self.__dict__, *with_all})

    def _load(self) -> None:
        self._loading = True
        loader: Any = self.__loader__
        try:
            loader.exec_module(self)
        except BaseException:
            self._loading = False
            raise
        self.__class__ = ModuleType  # type: ignore[assignment]
        del self._lock, self._loading
