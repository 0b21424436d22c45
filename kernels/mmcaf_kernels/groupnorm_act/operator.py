"""Group norm with activation: checks, launches, and the operator mmcaf::groupnorm_act."""

import torch
from torch import Tensor

from ..channels.launches import channel_gate, channel_statistics, check_gate
from ..checks import INPUTS, check_positions, check_tensor, check_volume
from ..launch import Launch, ceil_div, new, path, power_of_two, run
from ..operators import operator
from . import reference
from .reference import GATE_SLOPE, Gate

LARGEST_GROUP = 16384
"""Values of a group that one program can hold in registers."""
PART = 4096
"""Values of a channel whose statistics one program forms, unless there would be more than MOST_PARTS."""
MOST_PARTS = 64


def groupnorm_act(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    *,
    eps: float = 1e-5,
    slope: float | None = 0.01,
    gate: Gate | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """leaky_relu(group_norm(x) * gate + residual).

    Args:
        x: [N, C, D, H, W], float32, float16 or bfloat16, contiguous.
        groups: how many groups of consecutive channels; divides C.
        weight, bias: [C] float32.
        eps: added to the variance.
        slope: of the leaky ReLU; None leaves it out.
        gate: squeeze-and-excite layers [hidden, C], [hidden], [C, hidden], [C], float32: each
            normalised channel is scaled by sigmoid(layer2(leaky_relu(layer1(channel means)))).
        residual: as x; added before the activation.

    Returns:
        As x. Statistics are formed in float32 in two passes and merged, relative to each group's
        first value; groups of up to 16384 values without a gate are read only once.

    Raises:
        TypeError: a wrong type.
        ValueError: a wrong shape, device or number, or a tensor that is not contiguous.
    """
    if gate is not None and (not isinstance(gate, tuple | list) or len(gate) != 4):
        raise TypeError("groupnorm_act: gate is not a tuple of four tensors (weight, bias, weight, bias)")
    parts = gate or (None, None, None, None)
    factor = 1.0 if slope is None else float(slope)
    _check(x, groups, weight, bias, eps, factor, residual, *parts)
    result: Tensor = _call(x, groups, weight, bias, eps, factor, residual, *parts)
    return result


def launches(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    slope: float,
    residual: Tensor | None,
    gate: Gate | None,
    out: Tensor,
) -> list[Launch]:
    """What computes `out`; the tensors may be on the meta device."""
    from .kernel import apply_kernel, coefficients_kernel, whole_group_kernel

    samples, all_channels = x.shape[:2]
    length = x.shape[2] * x.shape[3] * x.shape[4]
    channels = all_channels // groups
    ends = {"x": x, "weight": weight, "bias": bias, "residual": residual, "out": out, "slope": slope}
    if gate is None and channels * length <= LARGEST_GROUP:
        block = power_of_two(channels * length, 128)
        sizes = {"groups": groups, "size": channels * length, "length": length, "eps": eps}
        warps = power_of_two(block // 1024, 4, 16)
        return [Launch(whole_group_kernel, (samples * groups,), {**ends, **sizes}, {"block": block}, warps)]

    part = PART * ceil_div(length, PART * MOST_PARTS)
    splits = ceil_div(length, part)
    mean, second = (new(x, (samples * all_channels, splits), torch.float32) for _ in range(2))
    centre, scale = (new(x, (samples, groups), torch.float32) for _ in range(2))
    squeeze = new(x, (samples, all_channels), torch.float32) if gate is not None else None
    factor = new(x, (samples, all_channels), torch.float32) if gate is not None else None
    merge = {
        "mean": mean,
        "second": second,
        "weight": weight,
        "bias": bias,
        "centre": centre,
        "scale": scale,
        "squeeze": squeeze,
        "groups": groups,
        "channels": channels,
        "length": length,
        "part": part,
        "splits": splits,
        "eps": eps,
    }
    block_splits = power_of_two(splits)
    block = power_of_two(channels, 1, max(1, 4096 // block_splits))
    steps = [
        channel_statistics(x, mean, second=second, part=part, rows_per_pivot=channels),
        Launch(coefficients_kernel, (samples * groups,), merge, {"block": block, "block_splits": block_splits}),
    ]
    if gate is not None and squeeze is not None and factor is not None:
        steps.append(channel_gate(squeeze, None, (gate[0], gate[1]), (gate[2], gate[3]), GATE_SLOPE, factor))
    block = power_of_two(length, 128, 1024)
    runs = ceil_div(length, block)
    sizes = {"all_channels": all_channels, "channels": channels, "length": length, "runs": runs}
    made = {"centre": centre, "scale": scale, "gate": factor}
    grid = (samples * all_channels * runs,)
    return [*steps, Launch(apply_kernel, grid, {**ends, **made, **sizes}, {"block": block})]


def _compute(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float = 1e-5,
    slope: float = 0.01,
    residual: Tensor | None = None,
    narrow: Tensor | None = None,
    narrow_bias: Tensor | None = None,
    widen: Tensor | None = None,
    widen_bias: Tensor | None = None,
) -> Tensor:
    _check(x, groups, weight, bias, eps, slope, residual, narrow, narrow_bias, widen, widen_bias)
    gate = _gate(narrow, narrow_bias, widen, widen_bias)
    if not x.numel():
        return new(x, x.shape)
    if not path(x).runs_kernel:
        return reference.groupnorm_act(x, groups, weight, bias, eps=eps, slope=slope, gate=gate, residual=residual)
    out = new(x, x.shape)
    run(launches(x, groups, weight, bias, eps, slope, residual, gate, out), x)
    return out


def _fake(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float = 1e-5,
    slope: float = 0.01,
    residual: Tensor | None = None,
    narrow: Tensor | None = None,
    narrow_bias: Tensor | None = None,
    widen: Tensor | None = None,
    widen_bias: Tensor | None = None,
) -> Tensor:
    _check(x, groups, weight, bias, eps, slope, residual, narrow, narrow_bias, widen, widen_bias)
    return torch.empty_like(x)


def _check(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    slope: float,
    residual: Tensor | None,
    narrow: Tensor | None,
    narrow_bias: Tensor | None,
    widen: Tensor | None,
    widen_bias: Tensor | None,
) -> None:
    name = "groupnorm_act"
    check_volume(name, x)
    channels = x.shape[1]
    if groups < 1 or channels % groups:
        raise ValueError(f"{name}: groups is {groups}; expected a divisor of x's {channels} channels")
    if not eps > 0:
        raise ValueError(f"{name}: eps is {eps}; expected a positive number")
    if not 0 <= slope <= 1:
        raise ValueError(f"{name}: slope is {slope}; expected 0 to 1")
    check_positions(name, channels // groups * x.shape[2] * x.shape[3] * x.shape[4])
    check_tensor(name, "weight", weight, (channels,), beside=x)
    check_tensor(name, "bias", bias, (channels,), beside=x)
    if residual is not None:
        check_tensor(name, "residual", residual, x.shape, dtypes=INPUTS, beside=x)
        if residual.dtype != x.dtype:
            raise TypeError(f"{name}: residual is {residual.dtype}; expected {x.dtype}, as x")
    gate = _gate(narrow, narrow_bias, widen, widen_bias)
    if gate is not None:
        hidden = gate[0].shape[0] if gate[0].ndim else 0
        shapes = ((hidden, channels), (hidden,), (channels, hidden), (channels,))
        for part, tensor, shape in zip(("weight 1", "bias 1", "weight 2", "bias 2"), gate, shapes, strict=True):
            check_tensor(name, f"gate's {part}", tensor, shape, beside=x)
        check_gate(name, gate[0])


def _gate(
    narrow: Tensor | None, narrow_bias: Tensor | None, widen: Tensor | None, widen_bias: Tensor | None
) -> Gate | None:
    if narrow is None and narrow_bias is None and widen is None and widen_bias is None:
        return None
    if narrow is None or narrow_bias is None or widen is None or widen_bias is None:
        raise TypeError("groupnorm_act: the gate lacks a tensor; expected two weights and two biases, or none")
    return narrow, narrow_bias, widen, widen_bias


_compute.__name__ = "groupnorm_act"
_call = operator(_compute, _fake, autocast="activations", activations=("x", "residual"))
