"""Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2) as a torch module around a network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmcaf_engine.errors import ExportError

from ..networks.ensemble import Ensemble
from ..networks.feature_map import FeatureMap


class GradCam(nn.Module):
    """A network's inputs of one case and a cotangent [1, K] -> a map [1, *grid] of each feature map.

    The cotangent says of which combination of the K scores the gradient is. The network runs once: what lies before
    a feature map keeps no gradient. Of an ensemble the cotangent is [1, members, K], and each map the sum of those of
    its members before what is below 0 is cut off: with 1 / members of a label's score, their mean.
    """

    def __init__(self, network: nn.Module, maps: Sequence[FeatureMap]) -> None:
        super().__init__()
        self.network = network
        self.maps = tuple(maps)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        *inputs, cotangent = given
        return tuple(torch.relu(signed) for signed in self.signed(inputs, cotangent))

    def signed(self, inputs: Sequence[Tensor], cotangent: Tensor) -> list[Tensor]:
        """The maps before what is below 0 is cut off.

        Raises:
            ExportError: a feature map is none, or no score depends on it.
        """
        if not isinstance(self.network, Ensemble):
            return self._of_one(self.network, inputs, cotangent)
        members = enumerate(self.network.members)
        each = [self._of_one(member, inputs, cotangent[:, at]) for at, member in members]
        return [torch.stack(maps).sum(dim=0) for maps in zip(*each, strict=True)]

    def _of_one(self, network: nn.Module, inputs: Sequence[Tensor], cotangent: Tensor) -> list[Tensor]:
        held: dict[str, Tensor] = {}
        hooks = [_module(network, spec).register_forward_hook(_keeper(held, spec)) for spec in self.maps]
        try:
            with torch.enable_grad():
                answer = network(*inputs)
        finally:
            for hook in hooks:
                hook.remove()
        scores = answer[0] if isinstance(answer, tuple) else answer
        features = [held[spec.module] for spec in self.maps]
        gradients: Sequence[Tensor | None] = [None] * len(features)
        if scores.requires_grad:
            gradients = torch.autograd.grad(scores, features, cotangent, allow_unused=True)
        made = []
        for spec, feature, gradient in zip(self.maps, features, gradients, strict=True):
            if gradient is None:
                raise ExportError(f"No score depends on {spec.module}, of which a heat map is wanted.", _REMEDY)
            slopes = spec.arranged(gradient.detach())
            weights = slopes.mean(dim=tuple(range(2, slopes.ndim)), keepdim=True)
            made.append((weights * spec.arranged(feature.detach())).sum(dim=1))
        return made


class SignedGradCam(GradCam):
    """As `GradCam`, with what is below 0."""

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        *inputs, cotangent = given
        return tuple(self.signed(inputs, cotangent))


_REMEDY = "Correct what the network's entry names in `explained`."


def _module(network: nn.Module, spec: FeatureMap) -> nn.Module:
    try:
        return network.get_submodule(spec.module)
    except AttributeError:
        raise ExportError(f"The network has no module {spec.module}, of which a heat map is wanted.", _REMEDY) from None


def _keeper(held: dict[str, Tensor], spec: FeatureMap) -> Any:
    """A hook that keeps a module's result as the place where gradients end, or passes through where they end before."""

    def keep(_module: nn.Module, _inputs: Any, result: Any) -> Tensor:
        if not isinstance(result, Tensor) or result.ndim < 3:
            raise ExportError(f"{spec.module} gives no feature map, of which a heat map is wanted.", _REMEDY)
        feature = result if result.requires_grad else result.detach().requires_grad_()
        held[spec.module] = feature
        return feature.clone()  # what follows may change it in place

    return keep
