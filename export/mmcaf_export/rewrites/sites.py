"""The places of a network where a rewrite that replaces one module fits."""

from collections.abc import Iterator, Mapping

from torch import nn

from .observed import Observed
from .rewrite import Site, Sites


def convolutions(observed: Observed) -> Iterator[tuple[str, nn.Conv3d]]:
    """Path and module of every 3D convolution; after a run, of those that ran, each time on a batch of volumes."""
    for path, module in observed.network.named_modules():
        if type(module) is nn.Conv3d and (observed.calls is None or observed.ranks(path) == {3}):
            yield path, module


def replacing(observed: Observed, found: Mapping[str, tuple[nn.Module, nn.Module]]) -> Sites:
    """Path -> (module, what takes its place), with those that have to stay told apart."""
    unfit = {path: observed.unfit[path] for path in found if path in observed.unfit}
    return Sites(
        tuple(
            Site({path: after}, before, after, observed.given(path))
            for path, (before, after) in found.items()
            if path not in unfit
        ),
        unfit,
    )
