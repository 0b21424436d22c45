"""What a rewrite is, and how a list of them is applied to a network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from .copies import share_copy
from .cost import Cost, measure


@dataclass(frozen=True)
class Rewrite:
    """A change of the computation that leaves its result the same in exact arithmetic.

    name: short, in words joined by underscores; description: one sentence on what it does and why it is exact.
    apply: called with the network, whose submodules it may replace but whose tensors it must not
    change, and with inputs that may be on "meta"; tells whether there was anything to do. Weights are
    combined in float64 and rounded once to their own type.
    """

    name: str
    description: str
    apply: Callable[[nn.Module, Mapping[str, Tensor]], bool]


@dataclass(frozen=True)
class Applied:
    """A rewrite that was applied, and the cost of one window before and after it."""

    rewrite: Rewrite
    before: Cost
    after: Cost


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
