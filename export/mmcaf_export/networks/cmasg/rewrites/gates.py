"""What both exported forms of the gated LSTM share: its weights in another order, and its gates as one product."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmcaf_export.rewrites.weights import frozen

from ..density import StandaloneDensity
from ..network import CmasgNet
from ..recurrent import DIRECTIONS, BiLstm, SparseGate


def keep_density(network: CmasgNet) -> None:
    """Before a rewrite takes the gates apart: what tells how many are open holds what it needs of them."""
    density, gate = network.density, network.sparse_gate
    if density is not None and gate is not None and not isinstance(density, StandaloneDensity):
        network.density = StandaloneDensity(density.units, gate, gate_weights(gate) if gate.hard else None).eval()


def of_steps(gate: SparseGate | None, like: Tensor) -> tuple[Tensor, Tensor] | None:
    """The bits of steps of both directions, [steps, H] each; None where there are none."""
    if gate is None or not gate.of_steps:
        return None
    ahead, behind = (gate.bits(ending).to(like) for ending in DIRECTIONS)
    return ahead, behind


def reordered(bilstm: BiLstm, name: str, order: Sequence[int]) -> Tensor:
    """A weight [4 H, ...] in float64 with its parts, of torch's order i, f, c, o, in another one."""
    parts = bilstm.get_parameter(name).detach().double().chunk(4)
    return torch.cat([parts[at] for at in order])


def summed_bias(bilstm: BiLstm, ending: str, order: Sequence[int]) -> Tensor:
    """The sum of both biases of a direction, in float64."""
    return reordered(bilstm, f"bias_ih_l0{ending}", order) + reordered(bilstm, f"bias_hh_l0{ending}", order)


def gate_weights(gate: SparseGate) -> nn.Linear:
    """What the gates of both directions read off the input, as one layer: [n, d] -> [n, 2 H]."""
    weights = [gate.get_parameter(f"weight_l0{ending}") for ending in DIRECTIONS]
    biases = [gate.get_parameter(f"bias_l0{ending}") for ending in DIRECTIONS]
    with torch.device("meta"):
        made = nn.Linear(weights[0].shape[1], sum(map(len, weights)))
    made.weight = frozen(torch.cat([weight.detach().double() for weight in weights]), weights[0])
    made.bias = frozen(torch.cat([bias.detach().double() for bias in biases]), weights[0])
    return made
