"""What a rewrite is, and how a list of them is applied to a network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from .copies import share_copy
from .cost import Cost, measure
from .observed import Call, Observed, look_at, observe


@dataclass(frozen=True)
class Site:
    """A place where a rewrite fits.

    made: path -> the module that takes the place of what is there; the first is where the place is called after.
    before, after: the computation as it is and as it will be, of one tensor. calls: what it is given.
    """

    made: Mapping[str, nn.Module]
    before: nn.Module
    after: nn.Module
    calls: tuple[Call, ...]

    @property
    def path(self) -> str:
        """Of the module that changes."""
        return next(iter(self.made))


@dataclass(frozen=True)
class Sites:
    """Where a rewrite fits, and where it would but for a reason: path -> the reason, as in "it has hooks"."""

    fitting: tuple[Site, ...] = ()
    unfit: Mapping[str, str] = field(default_factory=dict)


Find = Callable[[nn.Module, Mapping[str, Tensor]], Sites]


@dataclass(frozen=True)
class Rewrite:
    """A change of the computation that leaves its result the same in exact arithmetic.

    name: short, in words joined by underscores; description: one sentence on what it does and why it is exact.
    apply: called with the network, whose submodules it may replace but whose tensors it must not
    change, and with inputs that may be on "meta"; tells whether there was anything to do. Weights are
    combined in float64 and rounded once to their own type.
    find: of one that goes by a pattern, and so may be for any network: the places. Only modules that are exactly what
    their class says are found; see `Observed.unfit`.
    """

    name: str
    description: str
    apply: Callable[[nn.Module, Mapping[str, Tensor]], bool]
    find: Find | None = None


@dataclass(frozen=True)
class Applied:
    """A rewrite that was applied, and the cost of one window before and after it."""

    rewrite: Rewrite
    before: Cost
    after: Cost


@dataclass(frozen=True)
class LeftOut:
    """Modules that a rewrite by pattern would fit, and why they stay as they are."""

    rewrite: str
    modules: tuple[str, ...]
    reason: str


def by_pattern(
    name: str, description: str, find: Callable[[Observed], Sites], of: Callable[[nn.Module], bool], *, run: bool = True
) -> Rewrite:
    """A rewrite that, applied, changes every place that `find` finds.

    Args:
        of: which modules it can be about.
        run: whether sizes matter to it; if not, a network that lists it is not run for it.
    """

    def look(network: nn.Module, inputs: Mapping[str, Tensor]) -> Sites:
        return find(observe(network, inputs)) if any(map(of, network.modules())) else Sites()

    def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
        found = (look(network, inputs) if run else find(look_at(network))).fitting
        place(network, found)
        return bool(found)

    return Rewrite(name, description, apply, look)


def place(network: nn.Module, sites: Sequence[Site]) -> None:
    """Put what the places have become where it belongs."""
    for site in sites:
        for path, module in site.made.items():
            network.set_submodule(path, module)


def rewritten(network: nn.Module, rewrites: Sequence[Rewrite], inputs: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the network with every rewrite applied in order; the network is left as it is."""
    copied = share_copy(network)
    for rewrite in rewrites:
        rewrite.apply(copied, inputs)
    return copied.eval()


def rewritten_with_costs(
    network: nn.Module, rewrites: Sequence[Rewrite], inputs: Mapping[str, Tensor]
) -> tuple[nn.Module, tuple[Applied, ...]]:
    """As `rewritten`, with what each rewrite that found something to do has saved on these inputs."""
    copied = share_copy(network)
    applied = []
    before = measure(copied, inputs)
    for rewrite in rewrites:
        if rewrite.apply(copied, inputs):
            after = measure(copied, inputs)
            applied.append(Applied(rewrite, before, after))
            before = after
    return copied.eval(), tuple(applied)
