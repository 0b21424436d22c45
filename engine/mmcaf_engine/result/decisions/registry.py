"""Which output decision a manifest's `activation` means: one of the format's own, or of another package."""

from importlib.metadata import EntryPoint

from ...errors import BundleError, printable
from ...machine.declared import expect
from ...machine.plugins import PluginError, contained, guard, origin, said
from ...manifest import Manifest
from ...manifest.activation import STANDARD_NAMES, announce, entry_points_of, withdraw
from .base import Decision, called
from .binary import BinaryDecision
from .multiclass import MulticlassDecision
from .multilabel import MultilabelDecision

_OF_THE_FORMAT: dict[str, type[Decision]] = {
    name: kind for kind in (BinaryDecision, MulticlassDecision, MultilabelDecision) for name in kind.names
}
_REGISTERED: dict[str, type[Decision]] = {}


def decision_for(manifest: Manifest) -> Decision:
    """The decision that a manifest declares, after the decision's own check of it.

    Raises:
        BundleError: nothing provides it, what does cannot be used, or the manifest is not what it needs.
        BackendError: another package's fails at making it.
    """
    kind = _kind(manifest.activation)
    if manifest.ensemble is not None and not kind.joins:
        raise BundleError(
            f"{manifest.name}: {called(kind.names[0], kind.origin)} does not say what follows from the mean of several "
            "networks' probabilities, and this bundle is an ensemble.",
            "Export its members one by one, or update the package that the decision comes from.",
        )
    try:
        return kind.of(manifest)
    except ValueError as reason:
        needs = printable(said(reason), 300)
        raise BundleError(
            f"{manifest.name}: not what the output decision {manifest.activation!r} needs: {needs}.",
            "Export the bundle again with a manifest that fits.",
        ) from None


def register(kind: type[Decision]) -> None:
    """Provide a decision in this process, under all its names.

    Raises:
        ValueError: one of them is that of another decision.
        TypeError: a method is missing, or an attribute of the class is not of the declared type.
    """
    for name in kind.names:
        if name in STANDARD_NAMES or (_OF_THE_FORMAT | _REGISTERED).get(name, kind) is not kind:
            raise ValueError(f"there is another output decision {name!r}")
    _guard(kind, kind.__module__.partition(".")[0])
    for name in kind.names:
        _REGISTERED[name] = kind
        announce(name)


def unregister(kind: type[Decision]) -> None:
    """Undo `register`."""
    for name in kind.names:
        _REGISTERED.pop(name, None)
        withdraw(name)


def _kind(name: str) -> type[Decision]:
    found = _OF_THE_FORMAT.get(name) or _REGISTERED.get(name)
    if found is not None:
        return found
    points = entry_points_of(name)
    if not points:
        raise BundleError(f"Unknown output decision {name!r}.", "Install the package that provides it.")
    if len(points) > 1:
        raise BundleError(
            f"The output decision {name!r} is provided by several packages: {', '.join(map(origin, points))}.",
            "Leave one of them installed.",
        )
    return _loaded(points[0])


def _loaded(point: EntryPoint) -> type[Decision]:
    try:
        with contained():
            kind = point.load()
            if not (isinstance(kind, type) and issubclass(kind, Decision)):
                raise TypeError(f"{point.value} is no subclass of {Decision.__name__}")
            _guard(kind, origin(point))
    except PluginError as fault:
        raise BundleError(
            f"The output decision {point.name!r} of {origin(point)} cannot be used: {fault}.",
            "Install that package again, or another version of it.",
        ) from None
    return kind


def _guard(kind: type[Decision], package: str) -> None:
    if kind not in _OF_THE_FORMAT.values():
        expect(kind.names, tuple[str, ...], "names")
        kind.origin = package
        guard(kind, Decision, called(kind.names[0], package))
