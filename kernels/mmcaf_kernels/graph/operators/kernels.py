"""This package's kernels as operations of a graph."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ... import cross_attention, fusion_head, groupnorm_act, kan, msca_attention, msdc, upsample_dw
from ..graph import KERNEL
from .registry import OPERATIONS, Arguments, Function, Operation


def _kernel(call: Function, activations: int) -> Callable[[Arguments], Function]:
    """A kernel's node: the first inputs are maps, which it reads in their plain layout; attributes go by name."""

    def make(given: Arguments) -> Function:
        def run(*tensors: Tensor | None) -> Any:
            maps = [part.contiguous() if part is not None else None for part in tensors[:activations]]
            return call(*maps, *tensors[activations:], **given.node.attributes)

        return run

    return make


def _normalise(x: Tensor, residual: Tensor | None, weight: Tensor, bias: Tensor, *gate: Any, **how: Any) -> Tensor:
    return groupnorm_act.groupnorm_act(x, how.pop("groups"), weight, bias, gate=gate or None, residual=residual, **how)


def _attend(image: Tensor, table: Tensor, table_mask: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """One head, whose tokens [N, T, d] are queries, keys and values."""
    sides = image[:, None], table[:, None]
    six = [side for side in sides for _ in range(3)]
    found = cross_attention.cross_attention(*six, table_mask=table_mask, scale=scale)
    return found[0].squeeze(1), found[1].squeeze(1)


OPERATIONS |= {
    KERNEL + "msdc": Operation(_kernel(msdc.msdc, 1)),
    KERNEL + "upsample_dw": Operation(_kernel(upsample_dw.upsample_dw, 1)),
    KERNEL + "msca_attention": Operation(_kernel(msca_attention.msca_attention, 1)),
    KERNEL + "groupnorm_act": Operation(_kernel(_normalise, 2)),
    KERNEL + "kan": Operation(_kernel(kan.kan, 1)),
    KERNEL + "fusion_head": Operation(_kernel(fusion_head.fusion_head, 2)),
    KERNEL + "cross_attention": Operation(_kernel(_attend, 3)),
}
