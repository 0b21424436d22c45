"""The rewrites that are no one network's: done where each fits, pays by the cost model and changes no answer."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmcaf_engine.session.self_test import TOLERANCE

from .batch_norm import REWRITE as BATCH_NORM
from .channel_scale import REWRITE as CHANNEL_SCALE
from .copies import share_copy
from .cost import Cost, measure
from .few_slices import REWRITE as FEW_SLICES
from .group_norm import REWRITE as GROUP_NORM
from .padding_taps import REWRITE as PADDING_TAPS
from .rewrite import Applied, LeftOut, Rewrite, Site, place, rewritten_with_costs

GENERAL = (BATCH_NORM, GROUP_NORM, PADDING_TAPS, FEW_SLICES, CHANNEL_SCALE)
"""In the order in which they are applied."""
PAYS = 0.98
"""What a place may cost afterwards, as a share of what it cost before."""
DIFFERENCE = TOLERANCE["fp32"] / 4
"""What float32 may round otherwise, as a share of an output's largest value, where that is above 1."""


def prepared(
    network: nn.Module,
    rewrites: Sequence[Rewrite] | None,
    inputs: Mapping[str, Tensor],
    *,
    watched: Sequence[str] = (),
) -> tuple[nn.Module, tuple[Applied, ...], tuple[LeftOut, ...]]:
    """A copy of the network with the rewrites that its entry lists; where it lists none, with the general ones."""
    if rewrites is None:
        return generally_rewritten(network, inputs, watched=watched)
    return (*rewritten_with_costs(network, rewrites, inputs), ())


def generally_rewritten(
    network: nn.Module, inputs: Mapping[str, Tensor], *, watched: Sequence[str] = ()
) -> tuple[nn.Module, tuple[Applied, ...], tuple[LeftOut, ...]]:
    """A copy with the general rewrites in the places where they pay, what each saved, and what was left as it is.

    After each, the copy has to answer these inputs as the network does; where it does not, or does not run, it goes on
    without that rewrite.

    Args:
        inputs: with values.
        watched: modules whose results have to stay the same too.
    """
    copied, applied, left = share_copy(network), list[Applied](), list[LeftOut]()
    expected: list[Tensor] | None = None
    before = measure(copied, inputs)
    for rewrite in GENERAL:
        if rewrite.find is None:
            raise TypeError(f"{rewrite.name} goes by no pattern")
        found = rewrite.find(copied, inputs)
        for reason in dict.fromkeys(found.unfit.values()):
            left.append(
                LeftOut(rewrite.name, tuple(path for path, why in found.unfit.items() if why == reason), reason)
            )
        paying, costly = _sorted(found.fitting)
        if costly:
            left.append(LeftOut(rewrite.name, tuple(site.path for site in costly), _price(costly)))
        if not paying:
            continue
        tried = share_copy(copied)
        place(tried, paying)
        if expected is None:
            expected = _answers(network, inputs, watched)
        if (wrong := _wrong(tried, inputs, watched, expected)) is not None:
            left.append(LeftOut(rewrite.name, tuple(site.path for site in paying), wrong))
            continue
        after = measure(tried, inputs)
        applied.append(Applied(rewrite, before, after))
        copied, before = tried, after
    return copied.eval(), tuple(applied), tuple(left)


def _sorted(sites: Sequence[Site]) -> tuple[list[Site], list[Site]]:
    """Those that pay, and those that do not."""
    paying, costly = list[Site](), list[Site]()
    for site in sites:
        before, after = _costs(site)
        (paying if after.seconds <= PAYS * before.seconds else costly).append(site)
    return paying, costly


def _costs(site: Site) -> tuple[Cost, Cost]:
    """Of all calls of a place, as it is and as it would be."""
    totals = []
    for module in (site.before, site.after):
        dtype = next((tensor.dtype for tensor in module.parameters()), torch.float32)
        one_by_one = [
            measure(module, {"x": torch.empty(call.shape, dtype=dtype, device="meta")}, inner=call.inner)
            for call in site.calls
        ]
        totals.append(
            Cost(
                sum(cost.flops for cost in one_by_one),
                one_by_one[0].parameters,
                sum(cost.moved for cost in one_by_one),
                sum(cost.operators for cost in one_by_one),
            )
        )
    return totals[0], totals[1]


def _price(sites: Sequence[Site]) -> str:
    """Why places do not pay."""
    pairs = [_costs(site) for site in sites]
    flops = [sum(pair[at].flops for pair in pairs) / 1e6 for at in (0, 1)]
    moved = [sum(pair[at].moved for pair in pairs) / 1e6 for at in (0, 1)]
    return (
        f"it would not pay: {flops[0]:.1f} MFLOP would become {flops[1]:.1f}, "
        f"and {moved[0]:.1f} MB read and written {moved[1]:.1f}"
    )


def _answers(network: nn.Module, inputs: Mapping[str, Tensor], watched: Sequence[str]) -> list[Tensor]:
    """All that the network answers, and what the watched modules make, call by call."""
    copied, seen = share_copy(network), list[Any]()
    for path in watched:
        copied.get_submodule(path).register_forward_hook(lambda _module, _given, made: seen.append(made))
    with torch.inference_mode():
        answer = copied(*(one.clone() for one in inputs.values()))
    return [one for one in tree_leaves((answer, seen)) if isinstance(one, Tensor)]


def _wrong(
    tried: nn.Module, inputs: Mapping[str, Tensor], watched: Sequence[str], expected: Sequence[Tensor]
) -> str | None:
    """Why a rewritten network may not take the place of its source; None where it may."""
    try:
        found = _answers(tried, inputs, watched)
    except Exception as failure:
        return f"the network does not run with it: {type(failure).__name__}: {failure}"
    if [one.shape for one in found] != [one.shape for one in expected]:
        return "the network answers in other shapes with it"
    worst = max(map(_difference, found, expected), default=0.0)
    if not worst <= DIFFERENCE:
        return f"the network answers otherwise with it, by {worst:.2g}"
    return None


def _difference(found: Tensor, expected: Tensor) -> float:
    """Largest |difference|, as a share of the largest |value| where that is above 1; infinite if one is not finite."""
    if not expected.numel():
        return 0.0
    if not (torch.isfinite(found) == torch.isfinite(expected)).all():
        return float("inf")
    off = torch.nan_to_num(found.double() - expected.double(), nan=0.0)
    return float(off.abs().max() / max(1.0, float(torch.nan_to_num(expected.double()).abs().max())))
