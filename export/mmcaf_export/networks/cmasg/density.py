"""How many of the gates are open: what a network tells of its gates beside its answer, if it is asked to."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .recurrent import DIRECTIONS, SparseGate

OUTPUT = "gate_density"


class GateDensity(nn.Module):
    """The share of open gates of each direction, over its units and a case's own steps.

    x [N, n, d], lengths [N], gate -> [N, 2], from 0 to 1, forward direction first. A soft gate is open where its unit
    is kept at the step, since a sigmoid is never 0; a hard one where it reads more than 0, too.

    Args of the constructor: units of each direction, those that are not kept among them.
    """

    def __init__(self, units: Sequence[int]) -> None:
        super().__init__()
        self.units = tuple(units)

    def forward(self, x: Tensor, lengths: Tensor, gate: SparseGate) -> Tensor:
        return self.of_counts([gate.opened(x, ending).sum(dim=-1) for ending in DIRECTIONS], x, lengths)

    def of_counts(self, counts: Sequence[Tensor], x: Tensor, lengths: Tensor) -> Tensor:
        """From the number of open gates of each direction at each step, [N or 1, n]."""
        real = (torch.arange(x.shape[1], device=x.device) < lengths[:, None]).to(x.dtype)
        shares = [
            (count.to(x.dtype) * real).sum(dim=1) / units for count, units in zip(counts, self.units, strict=True)
        ]
        return torch.stack(shares, dim=1) / lengths[:, None].to(x.dtype)


class StandaloneDensity(GateDensity):
    """The same without the gate, of a network whose gates a rewrite takes apart: it holds what it needs of them."""

    def __init__(self, units: Sequence[int], gate: SparseGate, read: nn.Linear | None) -> None:
        super().__init__(units)
        self.read = read  # of hard gates: what they read off the input, of both directions
        for ending in DIRECTIONS:
            bits = gate.bits(ending)
            self.register_buffer(f"bits{ending}", bits if read is not None else bits.sum(dim=-1))

    def forward(self, x: Tensor, lengths: Tensor, gate: SparseGate | None = None) -> Tensor:
        steps = x.shape[1]
        held = [self.get_buffer(f"bits{ending}") for ending in DIRECTIONS]
        held = [bits[:steps] if len(bits) > 1 else bits for bits in held]
        if self.read is None:
            return self.of_counts([bits.expand(1, steps) for bits in held], x, lengths)
        opened = (self.read(x) > 0).to(x.dtype).split([bits.shape[-1] for bits in held], dim=-1)
        return self.of_counts([(one * bits).sum(dim=-1) for one, bits in zip(opened, held, strict=True)], x, lengths)
