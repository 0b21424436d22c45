"""Which TensorRT is installed: TensorRT for RTX or TensorRT. One interface, two packages.

TensorRT for RTX builds engines without a GPU and finishes them on the GPU that runs them; TensorRT measures kernels on
the GPU at hand and builds for that alone. Versions 10 and 11 of TensorRT are known: in 10 a network must be declared
strongly typed, in 11 every network is (NVIDIA, TensorRT documentation, "Migrating from TensorRT 10.x to 11.x").
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal, get_args

from ...errors import BackendError, Remedy
from ...machine.installation import install_packages, installed_version

FlavourName = Literal["tensorrt_rtx", "tensorrt"]
FLAVOURS: tuple[FlavourName, ...] = get_args(FlavourName)

_PACKAGES: dict[FlavourName, str] = {"tensorrt_rtx": "tensorrt-rtx-cu13", "tensorrt": "tensorrt-cu13"}
"""Flavour -> its package, for CUDA 13. The libraries of the second are not on PyPI: its package fetches them, while it
is being installed, from pypi.nvidia.com."""

_OLDEST = {"tensorrt_rtx": 1, "tensorrt": 10}
"""The first major version with strongly typed networks and progress monitors."""

_LEAN = ("tensorrt-lean-cu13-bindings", "tensorrt-lean-cu12-bindings")
"""The lean runtime, which loads engines and builds none."""

_log = logging.getLogger(__name__)


def install_flavour(name: FlavourName, version: str = "") -> str:
    """The command that installs a flavour with all that running it needs, in a version or the newest."""
    oldest = _OLDEST[name]
    wanted = f"=={version}" if version else f">={oldest}" if oldest > 1 else ""
    return install_packages(f"{_PACKAGES[name]}{wanted}", "cuda-python>=13")


BUILD_AHEAD = Remedy("Build ahead, with TensorRT for RTX", command=install_flavour("tensorrt_rtx"))


@dataclass(frozen=True)
class Flavour:
    """An installed TensorRT: its name, which is the module's, its full version, and the module."""

    name: FlavourName
    version: str
    module: Any

    @property
    def builds_ahead(self) -> bool:
        """Whether it builds for a GPU that is not there; if not, it builds for the GPU at hand alone."""
        return self.name == "tensorrt_rtx"

    @property
    def major(self) -> int:
        """The major version."""
        return int(self.version.split(".")[0])


def find_flavour(name: str | None = None) -> Flavour:
    """The TensorRT of that name; without a name TensorRT for RTX, else TensorRT, whichever is installed.

    Raises:
        BackendError: none is installed, or not the named one; what each lacks and the command that installs it.
    """
    if name is not None and name not in FLAVOURS:
        raise BackendError(f"Unknown TensorRT {name!r}.", f"Choose one of: {', '.join(FLAVOURS)}.")
    lacking = []
    for candidate in FLAVOURS:
        if name in (None, candidate):
            found = _import(candidate)
            if isinstance(found, Flavour):
                return found
            lacking.append(f"{candidate}: {found}")
    raise BackendError(
        f"TensorRT cannot be used here. {'; '.join(lacking)}.",
        *(Remedy(f"Install {one}", command=install_flavour(one)) for one in FLAVOURS if name in (None, one)),
    )


class CapturedLog:
    """What TensorRT says: to the log of this module, its errors also to whoever is listening.

    TensorRT takes one logger for the whole process and ignores those that come later, so there is one for each
    flavour: `captured_log`. `logger` is what TensorRT is given.
    """

    def __init__(self, module: Any) -> None:
        self.logger: Any = _logger(module, self._take)
        self._listeners: list[list[str]] = []
        self._lock = threading.Lock()

    @contextmanager
    def errors(self) -> Iterator[list[str]]:
        """A list that is filled with what TensorRT calls an error while the context is open, in any thread."""
        heard: list[str] = []
        with self._lock:
            self._listeners.append(heard)
        try:
            yield heard
        finally:
            with self._lock:
                self._listeners = [one for one in self._listeners if one is not heard]

    def _take(self, level: int, message: str) -> None:
        # Its errors become the message of an exception, which is what is shown.
        _log.log(logging.INFO if level >= logging.ERROR else level, "%s", message)
        if level >= logging.ERROR:
            with self._lock:
                for heard in self._listeners:
                    heard.append(message)


def captured_log(flavour: Flavour) -> CapturedLog:
    """The process's log of a flavour."""
    return _captured_log(flavour.module)


def in_short(errors: list[str], limit: int = 400) -> str:
    """TensorRT's errors in one line, the first of them first, without the places in its source."""
    words = "; ".join(dict.fromkeys(" ".join(error.split()) for error in errors)) or "it gave no reason"
    return words if len(words) <= limit else f"{words[:limit]}..."


@cache
def _captured_log(module: Any) -> CapturedLog:
    return CapturedLog(module)


def _import(name: FlavourName) -> Flavour | str:
    """The flavour, or what it lacks in words."""
    try:
        module = import_module(name)
    except (ImportError, OSError, RuntimeError) as failure:
        first_line = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
        lean = name == "tensorrt" and any(map(installed_version, _LEAN))
        other = "; the lean runtime, which is installed, builds no engines and is not used" if lean else ""
        return f"cannot be imported ({first_line[:200]}){other}"
    version = str(module.__version__)
    if int(version.split(".")[0]) < _OLDEST[name]:
        return f"version {version} is too old; {_OLDEST[name]} or later is needed"
    return Flavour(name, version, module)


def _logger(module: Any, take: Any) -> Any:
    """An object of TensorRT's logger class that passes on (level of `logging`, message)."""
    severity = module.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.CRITICAL,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.INFO,
        severity.INFO: logging.DEBUG,
        severity.VERBOSE: logging.DEBUG,
    }

    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            take(levels.get(severity, logging.DEBUG), msg)

    return Logger()
