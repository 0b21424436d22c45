"""LSTM units whose gate is always closed are not computed."""

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import frozen

from ..network import CmasgNet
from ..recurrent import DIRECTIONS, BiLstm, SparseGate
from .gates import keep_density

MULTIPLE = 8
"""A direction is given so many units, or a multiple of it: what vector and matrix instructions take at once."""


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Drop the units that are not kept, and give both directions as many by units that make nothing but 0."""
    if not isinstance(network, CmasgNet) or not isinstance(network.bilstm, BiLstm):
        return False
    config, gate = network.config, network.sparse_gate
    keep_density(network)
    sizes = config.hidden, config.hidden_reverse
    kept = [_kept(gate, ending, size) for ending, size in zip(DIRECTIONS, sizes, strict=True)]
    rounded = max(MULTIPLE, -(-max(map(len, kept)) // MULTIPLE) * MULTIPLE)
    hidden = min(rounded, max(sizes))
    if sizes == (hidden, hidden) and all(len(units) == hidden for units in kept):
        return False
    network.config = config = dataclasses.replace(config, hidden=hidden, hidden_reverse=hidden)
    with torch.device("meta"):
        bilstm, pruned = BiLstm(config), SparseGate(config)
    columns = []
    for ending, units, size in zip(DIRECTIONS, kept, sizes, strict=True):
        # One past the last unit stands for a unit that is not there: all its weights are 0, and so is what it makes.
        at = F.pad(units, (0, hidden - len(units)), value=size)
        columns.append(at + (sizes[0] + 1 if ending else 0))
        for name, weight in network.bilstm.named_parameters():
            if name.endswith(f"_l0{ending}"):
                weight = weight.detach().unflatten(0, (4, size))
                square = name == f"weight_hh_l0{ending}"
                taken = _take(_take(weight, 1, at), 2, at) if square else _take(weight, 1, at)
                setattr(bilstm, name, frozen(taken.flatten(0, 1), weight))
        if gate is not None:
            for name, weight in gate.named_parameters():
                if name.endswith(f"_l0{ending}"):
                    taken = _take(weight.detach(), 0, at)
                    taken = _take(taken, 1, at) if name == f"hidden_weight_l0{ending}" else taken
                    setattr(pruned, name, frozen(taken, weight))
            pruned.register_buffer(f"keep_l0{ending}", torch.ones(hidden, dtype=torch.bool, device=at.device))
            if gate.of_steps:
                steps = _take(gate.get_buffer(f"keep_steps_l0{ending}"), 1, at)
                pruned.register_buffer(f"keep_steps_l0{ending}", steps)
    network.bilstm = bilstm.eval()
    network.sparse_gate = None if gate is None else pruned.eval()
    network.classifier = _classifier(network.classifier, sizes, torch.cat(columns))
    return True


def _kept(gate: SparseGate | None, ending: str, size: int) -> Tensor:
    """Numbers of the units that the gate does not close for good; all of them where there are no values to look at."""
    if gate is None or gate.get_buffer(f"keep_l0{ending}").is_meta:
        return torch.arange(size, device="meta" if gate is not None else None)
    return gate.bits(ending).any(dim=0).nonzero()[:, 0]


def _take(weight: Tensor, axis: int, at: Tensor) -> Tensor:
    """The entries at these positions of an axis, of which the one past the last is 0."""
    nothing = torch.zeros_like(weight.narrow(axis, 0, 1))
    return torch.cat([weight, nothing], dim=axis).index_select(axis, at)


def _classifier(classifier: nn.Linear, sizes: tuple[int, int], at: Tensor) -> nn.Linear:
    """The classifier of fewer units; positions count each direction's units and the one past their last."""
    nothing = classifier.weight.new_zeros(len(classifier.weight), 1)
    forward, backward = classifier.weight.detach().split(list(sizes), dim=1)
    with torch.device("meta"):
        made = nn.Linear(len(at), classifier.out_features)
    weight = torch.cat([forward, nothing, backward, nothing], dim=1).index_select(1, at)
    made.weight, made.bias = frozen(weight, classifier.weight), classifier.bias
    return made.eval()


REWRITE = Rewrite(
    "pruned_units",
    "LSTM units whose gate is always closed put out 0 at every step; they are left out, with all that reads them.",
    apply,
)
