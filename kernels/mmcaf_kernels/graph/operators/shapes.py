"""Operators that move elements without computing."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Arguments, Function, operation


@operation("GatherND")
def _gather_nd(given: Arguments) -> Function:
    given.expect("batch_dims", 0)
    return lambda x, indices: x[indices.unbind(-1)]


@operation("ScatterND")
def _scatter_nd(given: Arguments) -> Function:
    given.expect("reduction", "none")
    return lambda x, indices, updates: x.clone().index_put_(indices.unbind(-1), updates)


@operation("Reshape", settings=1)
def _reshape(given: Arguments) -> Function:
    shape, literal = given.numbers(1) or [], given("allowzero", 0)
    return lambda x: x.reshape([x.shape[i] if n == 0 and not literal else n for i, n in enumerate(shape)])


@operation("Flatten")
def _flatten(given: Arguments) -> Function:
    axis = given("axis", 1)
    return lambda x: x.reshape(x.shape[:axis].numel(), -1)


@operation("Unsqueeze", settings=1)
def _unsqueeze(given: Arguments) -> Function:
    axes = given.numbers(1) or []

    def widen(x: Tensor) -> Tensor:
        rank = x.ndim + len(axes)
        for axis in sorted(axis % rank for axis in axes):
            x = x.unsqueeze(axis)
        return x

    return widen


@operation("Squeeze", settings=1)
def _squeeze(given: Arguments) -> Function:
    axes = given.numbers(1)
    return lambda x: x.squeeze() if axes is None else x.squeeze(tuple(axes))


@operation("Transpose")
def _transpose(given: Arguments) -> Function:
    return lambda x: x.permute(given("perm", list(range(x.ndim))[::-1]))


@operation("Expand", settings=1)
def _expand(given: Arguments) -> Function:
    shape = given.numbers(1) or []
    return lambda x: x.expand(torch.broadcast_shapes(x.shape, shape))


@operation("Concat")
def _concat(given: Arguments) -> Function:
    return lambda *parts: torch.cat(parts, dim=given("axis"))


@operation("Split", settings=1)
def _split(given: Arguments) -> Function:
    lengths, count, axis = given.numbers(1), len(given.node.outputs), given("axis", 0)
    return lambda x: torch.split(x, lengths or -(-x.shape[axis] // count), dim=axis)


@operation("Slice", settings=1)
def _slice(given: Arguments) -> Function:
    starts, ends = given.numbers(1) or [], given.numbers(2) or []
    axes, steps = given.numbers(3) or list(range(len(starts))), given.numbers(4) or [1] * len(starts)
    if 0 in steps:
        raise given.unsupported(f"steps are {steps}; others than 0 are known")

    def cut(x: Tensor) -> Tensor:
        index, turned = [slice(None)] * x.ndim, []
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            places = range(x.shape[axis])[start:end:step]
            if step < 0:
                places = places[::-1]
                turned.append(axis)
            index[axis] = slice(places.start, places.stop, places.step)
        return x[tuple(index)].flip(turned) if turned else x[tuple(index)]

    return cut


@operation("Gather")
def _gather(given: Arguments) -> Function:
    axis, known = given("axis", 0), given.constants.get(given.node.inputs[1])
    from_start = known is not None and bool((known >= 0).all())

    def gather(x: Tensor, index: Tensor) -> Tensor:
        if not from_start:
            index = torch.where(index < 0, index + x.shape[axis], index)
        picked = x.index_select(axis, index.reshape(-1))
        return picked.reshape([*x.shape[: axis % x.ndim], *index.shape, *x.shape[axis % x.ndim + 1 :]])

    return gather


@operation("Pad", settings=1)
def _pad(given: Arguments) -> Function:
    given.expect("mode", "constant")
    pads, value = given.numbers(1) or [], given.numbers(2)

    def pad(x: Tensor) -> Tensor:
        axes = given.numbers(3) or list(range(x.ndim))
        sides = [0] * 2 * x.ndim
        for place, axis in enumerate(axes):
            last = 2 * (x.ndim - 1 - axis % x.ndim)
            sides[last], sides[last + 1] = pads[place], pads[place + len(axes)]
        return F.pad(x, sides, value=value[0] if value else 0.0)

    return pad
