"""Networks of other packages: found by entry point, tried one by one, so that a broken one harms no other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

from torch import Tensor, nn

from mmcaf_engine.errors import MmcafError, Remedy
from mmcaf_engine.machine.declared import Limit, expect
from mmcaf_engine.machine.plugins import PluginError, contained, origin, place, raised_whole
from mmcaf_engine.manifest import TensorSpec

from .entry import NetworkEntry
from .feature_map import FeatureMap

GROUP = "mmcaf_export.networks"
"""The entry-point group under which a package names its NetworkEntry subclasses."""


FAULTY_NETWORK = (
    "Mend it there, or report it to the package's authors.",
    Remedy("For the whole trace, run it again after", command="export MMCAF_DEBUG=1"),
)
"""What to do about a fault in another package's network."""

_Two = Limit("two lists, of the inputs and of the outputs", lambda found: len(found) == 2)
_MEMBERS: dict[str, Any] = {
    "own_names": Mapping[str, Tensor],
    "configure": Any,
    "build": nn.Module,
    "tensors": Annotated[Sequence[Sequence[TensorSpec]], _Two],
    "example_inputs": Mapping[str, Tensor],
    "explained": Sequence[FeatureMap],
    "manifest": Mapping[str, Any],
    "describe": Mapping[str, Any],
}
"""What the exporter asks an entry, and the type of what it must give."""
_ANSWERS: Mapping[str, type[Exception]] = {"configure": ValueError, "describe": ValueError}
"""What a member may raise to say that the checkpoint cannot be."""


class NetworkError(PluginError):
    """What went wrong in a member of another package's entry: which, the whole message, and the line."""


@dataclass(frozen=True)
class Plugin:
    """A network and the distribution that it comes from, with its version."""

    origin: str
    entry: NetworkEntry[Any]


@dataclass(frozen=True)
class Faulty:
    """A distribution that names a network which cannot be used, and why."""

    origin: str
    reason: str


def installed() -> tuple[list[Plugin], list[Faulty]]:
    """The networks of all installed packages, by name of the package, and those that cannot be used."""
    found: list[Plugin] = []
    faulty: list[Faulty] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: (origin(point), point.name)):
        try:
            with contained():
                found.append(Plugin(origin(point), _load(point)))
        except PluginError as fault:
            faulty.append(Faulty(origin(point), f"{point.value}: {fault}"))
    return found, faulty


def _load(point: EntryPoint) -> NetworkEntry[Any]:
    loaded = point.load()
    entry = loaded() if isinstance(loaded, type) else loaded
    if not isinstance(entry, NetworkEntry):
        raise TypeError(f"it makes {type(entry).__name__}; a subclass of {NetworkEntry.__name__} is expected")
    for attribute in ("name", "title", "signature"):
        if not getattr(entry, attribute, None):
            raise TypeError(f"its {attribute} is missing or empty")
    if entry.batch not in (None, 1):
        raise TypeError(f"its batch is {entry.batch!r}; 1 or None is expected")
    for name, declared in _MEMBERS.items():
        setattr(entry, name, _attributed(name, getattr(entry, name), declared))
    return entry


def _attributed(name: str, member: Callable[..., Any], declared: Any) -> Callable[..., Any]:
    """A member that says its name where it fails, or gives what is not of the declared type."""

    @wraps(member)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            with contained(MmcafError, *filter(None, [_ANSWERS.get(name)])):
                answer = member(*arguments, **options)
                expect(answer, declared)
        except NetworkError:
            raise
        except PluginError as fault:
            cause = fault.__cause__ or fault
            where = place(cause) or _defined(member)
            raise NetworkError(f"{name} of the entry: {raised_whole(cause)}{where and f' ({where})'}") from cause
        return answer

    return call


def _defined(member: Callable[..., Any]) -> str:
    """Where a member is written, for a fault that shows after it."""
    code = getattr(getattr(member, "__func__", member), "__code__", None)
    return "" if code is None else f"{member.__module__}, {code.co_filename}, line {code.co_firstlineno}"
