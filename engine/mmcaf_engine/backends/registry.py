"""The runtimes that can run a bundle's network: those of this package, and those that other packages add.

A built-in backend is a folder of this package whose `backend.py` defines one subclass of `Backend`. Another package
names its subclass under the entry-point group `mmcaf.backends`; one that cannot be used harms no other.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, TypeVar

from ..errors import BackendError, MmcafError, Remedy, UsageError
from ..machine.installation import installed_version
from ..machine.plugins import raised
from ..manifest import Precision
from .base import Availability, Backend, Detail
from .plugins import BrokenPlugin, installed
from .remedies import ANY_BACKEND, SEE_WHAT_RUNS

_Asked = TypeVar("_Asked")

_log = logging.getLogger(__name__)


class Backends:
    """The backends of this installation, and what each says of this machine; each is asked once, and asked safely."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, str], Any] = {}

    @cached_property
    def _found(self) -> tuple[dict[str, type[Backend]], tuple[BrokenPlugin, ...]]:
        classes = {name: _built_in(name) for name in built_in_names()}
        added, broken = installed(taken=classes)
        ordered = sorted((classes | added).values(), key=lambda kind: (kind.rank, bool(kind.origin), kind.name))
        return {kind.name: kind for kind in ordered}, broken

    @property
    def classes(self) -> Mapping[str, type[Backend]]:
        """Name -> class of every backend that can be asked, in the order of lists."""
        return self._found[0]

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """What other packages add and cannot be used."""
        return self._found[1]

    def named(self, name: str) -> type[Backend]:
        """The backend's class; its runtime is imported only when it is asked whether it is available.

        Raises:
            UsageError: no backend of that name.
            BackendError: it is another package's, and cannot be used.
        """
        runtime, told, device = name.partition(":")
        if told:
            return self.named(runtime).on(device)
        if name in built_in_names():
            return _built_in(name)
        if name in self.classes:
            return self.classes[name]
        reasons = [f"that of the package {one.origin}: {one.reason}" for one in self.broken if one.name == name]
        if reasons:
            raise BackendError(
                f"Backend {name} cannot be used: {'; '.join(reasons)}.", "Update or remove the package.", SEE_WHAT_RUNS
            )
        choices = Remedy(f"Choose one of auto, {', '.join(self.classes)}", option="backend")
        raise UsageError(f"Unknown backend {name!r}.", choices)

    def on_devices(self) -> list[type[Backend]]:
        """The classes, each followed by what it is on further devices of this machine."""
        found = []
        for kind in self.classes.values():
            further: Sequence[type[Backend]] = ()
            if self.availability(kind).available:
                further = self._ask(kind, "devices", "", kind.other_devices, lambda failure: ())
            found += [kind, *further]
        return found

    def availability(self, kind: type[Backend]) -> Availability:
        """`Backend.availability`."""
        return self._ask(kind, "availability", "", kind.availability, partial(_failed, kind))

    def can_run(self, kind: type[Backend], precision: Precision) -> Availability:
        """`Backend.can_run`, where the backend is available at all."""
        if not (answer := self.availability(kind)).available:
            return answer
        return self._ask(kind, "can_run", precision, lambda: kind.can_run(precision), partial(_failed, kind))

    def excluded_from_auto(self, kind: type[Backend]) -> str | None:
        """`Backend.excluded_from_auto`."""
        return self._ask(kind, "excluded", "", kind.excluded_from_auto, lambda failure: _failed(kind, failure).reason)

    def details(self, kind: type[Backend]) -> Sequence[Detail]:
        """`Backend.details`."""
        answer = self.availability(kind)
        return self._ask(kind, "details", "", kind.details, partial(_undetailed, kind, answer))

    def in_auto_order(self) -> list[type[Backend]]:
        """What "auto" tries on this machine where nothing was measured, the first first."""
        ranked = []
        for kind in self.classes.values():
            rank = self._ask(kind, "rank", "", kind.auto_rank, partial(_unranked, kind))
            ranked += [] if rank is None else [(rank, kind)]
        return [kind for _, kind in sorted(ranked, key=lambda one: one[0])]  # of equal ones, as they are listed

    def _ask(
        self,
        kind: type[Backend],
        question: str,
        about: str,
        ask: Callable[[], _Asked],
        otherwise: Callable[[Exception], _Asked],
    ) -> _Asked:
        """The answer, also to the same question later; of a class that fails at it, `otherwise`.

        One of this package fails where its runtime does, as with a driver that is sick: the others can still run.
        """
        key = (kind.name, question, about)
        if key not in self._answers:
            try:
                self._answers[key] = ask()
            except Exception as failure:
                if isinstance(failure, MmcafError) and not kind.origin:
                    raise
                self._answers[key] = otherwise(failure)
        answer: _Asked = self._answers[key]
        return answer


def built_in_names() -> tuple[str, ...]:
    """The names of the backends of this package: of its folders here."""
    return tuple(module.name for module in iter_modules([str(Path(__file__).parent)]) if module.ispkg)


def backend_class(name: str) -> type[Backend]:
    """As `Backends.named`."""
    return Backends().named(name)


def installed_packages() -> dict[str, str]:
    """For each backend whose package is installed, that package and its version; no runtime is imported."""
    found = {}
    for name, kind in Backends().classes.items():
        own = [kind.origin] if kind.origin else []
        versions = own + [f"{package} {held}" for package in kind.packages if (held := installed_version(package))]
        if versions:
            found[name] = ", ".join(versions)
    return found


def unavailable(kind: type[Backend], answer: Availability) -> BackendError:
    """The refusal of a backend that was named and cannot run here."""
    return BackendError(
        f"{kind.title()} cannot run here: {answer.reason}.",
        *answer.remedies,
        ANY_BACKEND,
        SEE_WHAT_RUNS,
    )


def _built_in(name: str) -> type[Backend]:
    found: type[Backend] = import_module(f".{name}.backend", __package__).BACKEND
    return found


def _failed(kind: type[Backend], failure: Exception) -> Availability:
    said = f"it failed when asked: {raised(failure.__cause__ or failure)}"
    return Availability(False, f"{said} (of the package {kind.origin})" if kind.origin else said)


def _undetailed(kind: type[Backend], answer: Availability, failure: Exception) -> Sequence[Detail]:
    """Nothing where the backend failed alike when it was asked whether it is available."""
    if answer == (again := _failed(kind, failure)):
        return ()
    said = failure if isinstance(failure, MmcafError) else BackendError(again.reason)
    return (Detail(kind.name, False, said.problem, said.remedies),)


def _unranked(kind: type[Backend], failure: Exception) -> None:
    said = failure.problem if isinstance(failure, MmcafError) else f"{kind.title()}: {_failed(kind, failure).reason}."
    _log.warning("%s The automatic choice leaves it aside.", said)
