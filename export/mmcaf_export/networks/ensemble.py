"""Several checkpoints of one network as one network: its members side by side, with the same inputs."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmcaf_engine.manifest import TensorSpec

from ..assumptions import Assumptions
from ..rewrites.rewrite import Rewrite
from .entry import NetworkEntry
from .feature_map import FeatureMap

AVERAGED = frozenset({"attention", "diagnostic"})
"""Kinds of outputs of which there is one, the members' mean."""


class Ensemble(nn.Module):
    """The members' scores [N, K] as one [N, members, K], in their order, and so those of branches; attention and
    diagnostics are the members' mean.

    Args:
        kinds: of the outputs, the score first.
    """

    def __init__(self, members: Sequence[nn.Module], kinds: Sequence[str] = ("score",)) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.kinds = tuple(kinds)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        answers = [member(*inputs) for member in self.members]
        if isinstance(answers[0], Tensor):
            return torch.stack(answers, dim=1)
        return tuple(
            torch.stack(each).mean(dim=0) if kind in AVERAGED else torch.stack(each, dim=1)
            for kind, each in zip(self.kinds, zip(*answers, strict=True), strict=True)
        )


class EnsembleEntry(NetworkEntry[Any]):
    """What the exporter knows of a network, of so many of it: each rewrite is of every member.

    Checkpoints are recognised, named and filled into one member each, by `member`.
    """

    def __init__(self, member: NetworkEntry[Any], count: int) -> None:
        self.member = member
        self.count = count
        own = {name: getattr(member, name) for name in NetworkEntry.__annotations__}
        explained = member.explained_rewrites
        own["title"] = f"{count} of {member.title}"
        own["rewrites"] = None if member.rewrites is None else tuple(map(_of_each, member.rewrites))
        own["explained_rewrites"] = None if explained is None else tuple(map(_of_each, explained))
        # One title for all members: a profile adds up what they take.
        own["module_titles"] = tuple((rf"members\.\d+\.(?:{path})", title) for path, title in member.module_titles)
        vars(self).update(own)

    def needed_repairs(self, state: Mapping[str, Tensor]) -> tuple[str, ...]:
        """See `NetworkEntry.needed_repairs`; of one member."""
        return self.member.needed_repairs(state)

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `NetworkEntry.own_names`; of one member."""
        return self.member.own_names(state)

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Any:
        """See `NetworkEntry.configure`; of one member."""
        return self.member.configure(state, metadata)

    def build(self, config: Any) -> nn.Module:
        """See `NetworkEntry.build`."""
        return self.joined(config, [self.member.build(config) for _ in range(self.count)])

    def joined(self, config: Any, members: Sequence[nn.Module]) -> Ensemble:
        """The ensemble of members that hold their weights."""
        return Ensemble(members, [spec.kind for spec in self.member.tensors(config)[1]]).eval()

    def tensors(self, config: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """A member's, but that scores have an axis for them."""
        inputs, outputs = self.member.tensors(config)
        return inputs, tuple(self._for_each(spec) for spec in outputs)

    def _for_each(self, spec: TensorSpec) -> TensorSpec:
        batch, *rest = spec.shape
        return spec if spec.kind in AVERAGED else spec.model_copy(update={"shape": (batch, self.count, *rest)})

    def example_inputs(self, config: Any, batch: int, seed: int) -> dict[str, Tensor]:
        """See `NetworkEntry.example_inputs`."""
        return self.member.example_inputs(config, batch, seed)

    def explained(self, config: Any) -> tuple[FeatureMap, ...]:
        """Feature maps of a member: a heat map is made of every member's."""
        return self.member.explained(config)

    def manifest(self, config: Any) -> dict[str, Any]:
        """See `NetworkEntry.manifest`."""
        return self.member.manifest(config)

    def describe(self, config: Any, network: nn.Module, metadata: Mapping[str, str]) -> dict[str, Any]:
        """A member's, which all must have, of the first."""
        first = network.members[0] if isinstance(network, Ensemble) else network
        return self.member.describe(config, first, metadata)

    def assumed(self, config: Any, metadata: Mapping[str, str]) -> Assumptions:
        """See `NetworkEntry.assumed`; of one member."""
        return self.member.assumed(config, metadata)


def _of_each(rewrite: Rewrite) -> Rewrite:
    """The same change of every member."""

    def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
        if not isinstance(network, Ensemble):
            raise TypeError(f"an ensemble is expected, got {type(network).__name__}")
        own: Callable[[nn.Module, Mapping[str, Tensor]], bool] = rewrite.apply
        changed = [own(member, inputs) for member in network.members]
        return any(changed)

    return dataclasses.replace(rewrite, apply=apply)
