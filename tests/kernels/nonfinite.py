"""Inputs that are not finite or nearly so: which kernels to try them on, and how far each is from its reference."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from unittest.mock import patch

import torch
from hypothesis import strategies as st
from torch import Tensor

from kernels import (
    cases_cross_attention,
    cases_groupnorm_act,
    cases_kan,
    cases_msca_attention,
    cases_msdc,
)
from kernels.harness import TOLERANCE, random
from mmcaf_kernels.channels import launches as channel_launches
from mmcaf_kernels.cross_attention import cross_attention, plan
from mmcaf_kernels.cross_attention.reference import cross_attention as cross_attention_reference
from mmcaf_kernels.fusion_head import fusion_head
from mmcaf_kernels.fusion_head.reference import Fusion, parameter_count
from mmcaf_kernels.fusion_head.reference import fusion_head as fusion_head_reference
from mmcaf_kernels.groupnorm_act import groupnorm_act, operator
from mmcaf_kernels.groupnorm_act.reference import groupnorm_act as groupnorm_act_reference
from mmcaf_kernels.kan import kan
from mmcaf_kernels.kan.reference import kan as kan_reference
from mmcaf_kernels.launch import path
from mmcaf_kernels.msca_attention import msca_attention
from mmcaf_kernels.msca_attention.reference import msca_attention as msca_attention_reference
from mmcaf_kernels.msdc import msdc
from mmcaf_kernels.msdc.reference import msdc as msdc_reference
from mmcaf_kernels.upsample_dw import upsample_dw
from mmcaf_kernels.upsample_dw.reference import upsample_dw as upsample_dw_reference

VALUES = (float("nan"), float("inf"), float("-inf"), 65504.0, -65504.0, 70000.0, 1e-7, 1e-40, 0.0)
"""Among them FP16's largest, one that overflows in FP16, and denormals of FP16 and FP32."""
Placed = tuple[tuple[int, int, float], ...]
"""(activation, position, value), activations and positions counted modulo what there is."""
PLACED: st.SearchStrategy[Placed] = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 10_000), st.sampled_from(VALUES)), min_size=1, max_size=3
).map(tuple)
Function = Callable[[list[Tensor]], Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Trial:
    """A kernel beside its reference, on activations of some shapes; whatever else they take is in them."""

    shapes: tuple[tuple[int, ...], ...]
    kernel: Function
    reference: Function
    setting: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True)
class Case:
    """The trial's name, and what is put where."""

    trial: str
    placed: Placed

    def inputs(self, shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype) -> list[Tensor]:
        """Normally distributed activations with the values put in."""
        made = [random(shape, torch.float32, "cpu", seed=20 + k) for k, shape in enumerate(shapes)]
        for which, position, value in self.placed:
            chosen = made[which % len(made)].view(-1)
            chosen[position % chosen.numel()] = value
        return [tensor.to(dtype) for tensor in made]


def _msdc(shape: tuple[int, int, int, int, int], shuffled: bool = False) -> Trial:
    _, *rest = cases_msdc.arguments(cases_msdc.Case(shape, shuffled), torch.float32, "cpu")
    return Trial((shape,), lambda a: msdc(*a, *rest), lambda a: msdc_reference(*a, *rest))


def _upsample_dw(shape: tuple[int, int, int, int, int]) -> Trial:
    taps, bias = random((shape[1], 27), torch.float32, "cpu", 2), random((shape[1],), torch.float32, "cpu", 3, 2.0)
    return Trial((shape,), lambda a: upsample_dw(*a, taps, bias), lambda a: upsample_dw_reference(*a, taps, bias))


def _groupnorm_act(groups: int, slope: float | None, gated: bool, split: bool) -> Trial:
    shape = (2, 6, 2, 3, 5)
    weight, bias = (random((6,), torch.float32, "cpu", seed, mean=0.5) for seed in (2, 3))
    gate = cases_groupnorm_act.layers(6, 3, "cpu") if gated else None

    def call(function: Callable[..., Tensor], given: list[Tensor]) -> Tensor:
        return function(given[0], groups, weight, bias, slope=slope, gate=gate, residual=given[1])

    def setting() -> AbstractContextManager[object]:
        return patch.multiple(operator, LARGEST_GROUP=0, PART=13, MOST_PARTS=3) if split else nullcontext()

    return Trial((shape, shape), lambda a: call(groupnorm_act, a), lambda a: call(groupnorm_act_reference, a), setting)


def _msca_attention(shape: tuple[int, int, int, int, int], hidden: int, block: int = 4096) -> Trial:
    weights = cases_msca_attention.weights(shape[1], hidden, "cpu")
    return Trial(
        (shape,),
        lambda a: msca_attention(*a, *weights),
        lambda a: msca_attention_reference(*a, *weights),
        lambda: patch.object(channel_launches, "LONGEST_RUN", block),
    )


def _kan(knots: str) -> Trial:
    case = cases_kan.Case(3, 2, 5, knots)
    layer = cases_kan.layer(case, "cpu")
    return Trial(((3, 2),), lambda a: kan(*a, *layer), lambda a: kan_reference(*a, *layer))


def _fusion_head(width: int, fusion: Fusion) -> Trial:
    parameters = random((parameter_count(width, fusion),), torch.float32, "cpu", seed=3) / width**0.5
    return Trial(
        ((2, width), (2, width)),
        lambda a: fusion_head(*a, parameters, fusion),
        lambda a: fusion_head_reference(*a, parameters, fusion),
    )


def _cross_attention(case: cases_cross_attention.Case) -> Trial:
    lengths = [case.n] * 3 + [case.m] * 3
    hidden = cases_cross_attention.masks(case, "cpu")

    def setting() -> AbstractContextManager[object]:
        return patch.object(plan, "FEW_TOKENS", 0 if case.tiled else plan.FEW_TOKENS)

    return Trial(
        tuple((case.batch, case.heads, length, case.d) for length in lengths),
        lambda a: cross_attention(*a, **hidden),
        lambda a: cross_attention_reference(*a, **hidden),
        setting,
    )


_attention = cases_cross_attention.Case
TRIALS: Mapping[str, Callable[[], Trial]] = {
    "msdc": lambda: _msdc((1, 2, 2, 3, 4), shuffled=True),
    "msdc-stacks": lambda: _msdc((1, 1, 9, 6, 2)),
    "upsample_dw": lambda: _upsample_dw((1, 2, 2, 3, 4)),
    "upsample_dw-one-slice": lambda: _upsample_dw((1, 1, 1, 1, 3)),
    "upsample_dw-stacks": lambda: _upsample_dw((1, 1, 6, 2, 1)),
    "groupnorm_act": lambda: _groupnorm_act(3, 0.01, gated=False, split=False),
    "groupnorm_act-no-activation": lambda: _groupnorm_act(1, None, gated=False, split=False),
    "groupnorm_act-parts": lambda: _groupnorm_act(3, 0.01, gated=False, split=True),
    "groupnorm_act-gated": lambda: _groupnorm_act(2, 0.2, gated=True, split=True),
    "msca_attention": lambda: _msca_attention((2, 3, 1, 2, 3), hidden=3),
    "msca_attention-runs": lambda: _msca_attention((1, 2, 2, 5, 15), hidden=1, block=128),
    "kan": lambda: _kan("uneven"),
    "kan-repeated-knots": lambda: _kan("repeated"),
    "fusion_head-tokens": lambda: _fusion_head(12, "tokens"),
    "fusion_head-mean": lambda: _fusion_head(20, "mean"),
    "cross_attention-paired": lambda: _cross_attention(_attention(1, 1, 5, 1, 4)),
    "cross_attention-paired-masked": lambda: _cross_attention(_attention(2, 1, 18, 3, 4, masked=True)),
    "cross_attention-tiled": lambda: _cross_attention(_attention(1, 1, 33, 1, 3, tiled=True)),
    "cross_attention-tiled-masked": lambda: _cross_attention(_attention(2, 1, 5, 3, 4, masked=True, tiled=True)),
    "cross_attention-wide": lambda: _cross_attention(_attention(1, 1, 5, 1, 130)),
    "cross_attention-wide-masked": lambda: _cross_attention(_attention(2, 1, 3, 5, 130, masked=True)),
}


def measure(case: Case, dtype: torch.dtype, device: str) -> float:
    """The largest error relative to what is allowed; infinite where one is NaN or infinite and the other is not."""
    trial = TRIALS[case.trial]()
    given = case.inputs(trial.shapes, dtype)
    assert path(given[0]).runs_kernel, path(given[0]).reason
    with trial.setting():
        found = trial.kernel(given)
    return distance(found, trial.reference, given)


def distance(found: Tensor | tuple[Tensor, ...], reference: Function, given: list[Tensor]) -> float:
    """As `measure`, of what a kernel found.

    A finite value may be off by the type's tolerance, by thirty times what float32 costs the reference itself (large
    inputs cancel), and by half of FP16's smallest step of the largest input, which a weight in FP16 costs.
    """
    dtype = given[0].dtype
    largest = max(float(tensor.float().nan_to_num(0, 0, 0).abs().max()) for tensor in given)
    single = _several(reference([tensor.float() for tensor in given]))
    double = _several(reference([tensor.double() for tensor in given]))
    worst = 0.0
    for have, want, exact in zip(_several(found), single, double, strict=True):
        rounded = want.to(dtype)
        finite = want.isfinite() & exact.isfinite()
        scale = float(want[finite].abs().max()) if finite.any() else 0.0
        allowed = TOLERANCE[dtype] * scale + 30 * float((want - exact)[finite].abs().max() if finite.any() else 0.0)
        allowed += 2.0**-25 * largest if dtype == torch.float16 else 0.0
        border = finite & ((want.abs() - torch.finfo(dtype).max).abs() <= 2 * allowed)  # either side is right
        same = (have == rounded) | (have.isnan() & rounded.isnan()) | (have.isfinite() & rounded.isfinite()) | border
        if not same.all():
            return float("inf")
        compared = have.isfinite() & rounded.isfinite()
        if compared.any():
            apart = float((have.double() - want.double())[compared].abs().max())
            worst = max(worst, apart / allowed if allowed else float(apart > 0) * float("inf"))
    return worst


def _several(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (found,) if isinstance(found, Tensor) else found
