"""The calls that benchmarks/kernels.py measures: ours, eager torch, the float64 reference, and the least cost."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from kernel_names import TWIN
from torch import Tensor

from mmcaf_kernels.cross_attention import cross_attention
from mmcaf_kernels.cross_attention.reference import cross_attention as cross_attention_reference
from mmcaf_kernels.fusion_head import fusion_head
from mmcaf_kernels.fusion_head.reference import fusion_head as fusion_head_reference
from mmcaf_kernels.fusion_head.reference import parameter_count
from mmcaf_kernels.groupnorm_act import groupnorm_act
from mmcaf_kernels.groupnorm_act.reference import groupnorm_act as groupnorm_act_reference
from mmcaf_kernels.kan import kan
from mmcaf_kernels.kan.reference import kan as kan_reference
from mmcaf_kernels.msca_attention import msca_attention
from mmcaf_kernels.msca_attention.reference import msca_attention as msca_attention_reference
from mmcaf_kernels.msdc import even_then_odd, msdc
from mmcaf_kernels.msdc.cuda import MsdcCuda
from mmcaf_kernels.msdc.reference import KERNELS, TAPS
from mmcaf_kernels.msdc.reference import msdc as msdc_reference
from mmcaf_kernels.network import FEATURES, REGIONS, STAGES, TABLE_VALUES, TOKEN_WIDTH, WORD_PIECES
from mmcaf_kernels.upsample_dw import upsample_dw
from mmcaf_kernels.upsample_dw.reference import upsample_dw as upsample_dw_reference

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
DEVICE = "cuda"


@dataclass(frozen=True)
class Case:
    """One kernel at one shape: arguments of activations and parameters, and who computes it.

    tolerance: of the largest difference, in the result's own unit; None for TOLERANCE, relative to the largest value.
    """

    kernel: str
    shape: str
    dtype: torch.dtype
    ours: Callable[[], Any]
    eager: Callable[[], Any]
    reference: Callable[[], Any]
    bytes: int
    operations: int
    tolerance: float | None = None

    def error(self, found: Any, expected: Any) -> float:
        """Largest difference over all outputs, infinite when not finite."""
        pairs = zip(_tensors(found), _tensors(expected), strict=True)
        relative = self.tolerance is None
        errors = [
            float((a.double() - b.double()).abs().max() / (b.double().abs().max() if relative else 1)) for a, b in pairs
        ]
        return max(error if error == error else float("inf") for error in errors)

    def right(self, found: Any, expected: Any) -> bool:
        """Whether the difference is within the tolerance."""
        allowed = TOLERANCE[self.dtype] if self.tolerance is None else self.tolerance
        return self.error(found, expected) <= allowed


def _tensors(result: Any) -> Sequence[Tensor]:
    return result if isinstance(result, tuple) else (result,)


@dataclass(frozen=True)
class Maker:
    """Makes a kernel's case, each time on buffers of its own; nothing of it is made before."""

    kernel: str
    make: Callable[[], Case]

    def __call__(self) -> Case:
        return self.make()

    def __str__(self) -> str:
        given = self.make.args if isinstance(self.make, partial) else ()
        return " ".join(map(str, (self.kernel, *given)))


def cases(native: MsdcCuda | None) -> Iterator[Case]:
    """Every kernel at every shape of the published networks, in every precision."""
    return (make() for dtype in TOLERANCE for make in makers(dtype, native))


def makers(dtype: torch.dtype, native: MsdcCuda | None) -> Iterator[Maker]:
    """Those of one precision."""
    for stage, (channels, *size) in STAGES.items():
        yield Maker("msdc", partial(msdc_case, dtype, stage, 2 * channels, size))
        if native is not None:
            yield Maker(TWIN, partial(msdc_case, dtype, stage, 2 * channels, size, native))
        for name, width, gated in (("norm1", channels // 2, False), ("norm3", channels, True)):
            yield _groupnorm_act(dtype, f"{stage} {name}", width, size, gated=gated)
        yield _groupnorm_act(dtype, f"{stage} shortcut", channels, size)
        yield Maker("msca_attention", partial(msca_attention_case, dtype, stage, channels, size))
        if stage != "stage1":
            yield Maker("upsample_dw", partial(upsample_dw_case, dtype, stage, channels, size))
    yield _groupnorm_act(dtype, "stem", 64, [12, 96, 96])
    yield Maker("kan", partial(kan_case, dtype))
    yield Maker("fusion_head", partial(fusion_head_case, dtype))
    for n, m, d in ((1, 1, FEATURES), (288, TABLE_VALUES, 64)):
        yield Maker("cross_attention", partial(cross_attention_case, dtype, n, m, d))
    for pieces in WORD_PIECES:
        yield Maker("cross_attention", partial(shared_attention_case, dtype, REGIONS, pieces, TOKEN_WIDTH))


def _groupnorm_act(dtype: torch.dtype, name: str, channels: int, size: Sequence[int], gated: bool = False) -> Maker:
    return Maker("groupnorm_act", partial(groupnorm_act_case, dtype, name, channels, size, gated=gated))


def taps_inside(length: int, kernel: int) -> int:
    """Taps of a zero-padded kernel that fall inside an axis, over all its positions."""
    reach = kernel // 2
    return sum(min(length, i + reach + 1) - max(0, i - reach) for i in range(length))


def convolution(channels: int, size: Sequence[int], kernel: int) -> int:
    """Operations of a depthwise convolution: two per tap inside the volume."""
    return 2 * channels * int(np.prod([taps_inside(length, kernel) for length in size]))


def msdc_case(
    dtype: torch.dtype, stage: str, channels: int, size: Sequence[int], native: MsdcCuda | None = None
) -> Case:
    x = _random(1, channels, *size, dtype=dtype)
    taps, bias = 0.1 * _random(channels, TAPS), _random(channels, 3)
    order = even_then_odd(channels).to(DEVICE)
    parts = taps.to(dtype).split([k**3 for k in KERNELS], dim=1)
    weights = [part.reshape(channels, 1, k, k, k) for k, part in zip(KERNELS, parts, strict=True)]
    biases = bias.to(dtype).unbind(1)

    def eager() -> Tensor:
        branches = (
            F.relu6(F.conv3d(x, weight, shift.contiguous(), padding=kernel // 2, groups=channels))
            for kernel, weight, shift in zip(KERNELS, weights, biases, strict=True)
        )
        total = sum(branches, start=torch.zeros((), dtype=dtype, device=DEVICE))
        return total.reshape(1, channels // 2, 2, *size).transpose(1, 2).reshape(x.shape)

    return Case(
        "msdc" if native is None else TWIN,
        f"{stage} {list(x.shape)}",
        dtype,
        (lambda: msdc(x, taps, bias, order)) if native is None else (lambda: native(x, taps, bias, order)),
        eager,
        lambda: msdc_reference(x.double(), taps, bias, order),
        2 * x.nbytes + taps.nbytes + bias.nbytes,
        sum(convolution(channels, size, kernel) for kernel in KERNELS),
    )


def groupnorm_act_case(dtype: torch.dtype, name: str, channels: int, size: Sequence[int], *, gated: bool) -> Case:
    x = 3 + _random(1, channels, *size, dtype=dtype)
    groups, hidden = channels // 16, channels // 16
    weight, bias = _random(channels), _random(channels)
    gate = (_random(hidden, channels), _random(hidden), _random(channels, hidden), _random(channels)) if gated else None
    residual = _random(1, channels, *size, dtype=dtype) if gated else None
    options = {"gate": gate, "residual": residual}
    cast = [part.to(dtype) for part in (weight, bias, *(gate or ()))]

    def eager() -> Tensor:
        y = F.group_norm(x, groups, cast[0], cast[1])
        if residual is not None:
            squeezed = F.leaky_relu(F.linear(y.mean(dim=(2, 3, 4)), cast[2], cast[3]))
            y = y * torch.sigmoid(F.linear(squeezed, cast[4], cast[5]))[:, :, None, None, None] + residual
        return F.leaky_relu(y)

    return Case(
        "groupnorm_act",
        f"{name} {list(x.shape)}",
        dtype,
        lambda: groupnorm_act(x, groups, weight, bias, **options),
        eager,
        lambda: groupnorm_act_reference(x.double(), groups, weight, bias, **options),
        (3 if gated else 2) * x.nbytes,
        (10 if gated else 8) * x.numel(),
    )


def msca_attention_case(dtype: torch.dtype, stage: str, channels: int, size: Sequence[int]) -> Case:
    x = _random(1, channels, *size, dtype=dtype)
    hidden, positions = channels // 16, int(np.prod(size))
    weights = _random(hidden, channels) / channels**0.5, _random(channels, hidden), 0.2 * _random(2, 7, 7, 7)
    narrow, widen, spatial = (weight.to(dtype) for weight in weights)

    def eager() -> Tensor:
        pooled = torch.stack([x.mean(dim=(2, 3, 4)), x.amax(dim=(2, 3, 4))])
        y = x * torch.sigmoid(F.linear(F.relu(F.linear(pooled, narrow)), widen).sum(dim=0))[:, :, None, None, None]
        maps = torch.cat([y.mean(dim=1, keepdim=True), y.amax(dim=1, keepdim=True)], dim=1)
        return y * torch.sigmoid(F.conv3d(maps, spatial[None], padding=3))

    return Case(
        "msca_attention",
        f"{stage} {list(x.shape)}",
        dtype,
        lambda: msca_attention(x, *weights),
        eager,
        lambda: msca_attention_reference(x.double(), *weights),
        2 * x.nbytes,
        7 * x.numel() + 2 * convolution(1, size, 7) + 8 * channels * hidden + 8 * positions,
    )


def upsample_dw_case(dtype: torch.dtype, stage: str, channels: int, size: Sequence[int]) -> Case:
    x = _random(1, channels, *size, dtype=dtype)
    taps, bias = _random(channels, 27), _random(channels)
    weight, shift = taps.to(dtype).reshape(channels, 1, 3, 3, 3), bias.to(dtype)
    doubled = [2 * length for length in size]

    def eager() -> Tensor:
        up = F.interpolate(x, size=doubled, mode="trilinear", align_corners=True)
        return F.relu(F.conv3d(up, weight, shift, padding=1, groups=channels))

    return Case(
        "upsample_dw",
        f"{stage} {list(x.shape)}",
        dtype,
        lambda: upsample_dw(x, taps, bias),
        eager,
        lambda: upsample_dw_reference(x.double(), taps, bias),
        9 * x.nbytes + taps.nbytes,
        convolution(channels, doubled, 3),
    )


def kan_case(dtype: torch.dtype) -> Case:
    x = _random(1, TABLE_VALUES, dtype=dtype)
    knots = (torch.arange(-3, 9, device=DEVICE) * 0.4 - 1).repeat(TABLE_VALUES, 1)
    base, coefficients = _random(TABLE_VALUES, FEATURES), _random(TABLE_VALUES, FEATURES, 8)
    return Case(
        "kan",
        f"table {list(x.shape)}",
        dtype,
        lambda: kan(x, knots, base, coefficients),
        lambda: kan_reference(x, knots, base, coefficients),
        lambda: kan_reference(x.double(), knots, base, coefficients),
        base.nbytes + coefficients.nbytes // 2 + knots.nbytes,
        10 * TABLE_VALUES * FEATURES,
    )


def fusion_head_case(dtype: torch.dtype) -> Case:
    image, table = _random(1, FEATURES, dtype=dtype), _random(1, FEATURES, dtype=dtype)
    parameters = _random(parameter_count(FEATURES, "tokens")) / 5
    return Case(
        "fusion_head",
        f"tokens {list(image.shape)}",
        dtype,
        lambda: fusion_head(image, table, parameters),
        lambda: fusion_head_reference(image, table, parameters),
        lambda: fusion_head_reference(image.double(), table.double(), parameters),
        parameters.nbytes,
        4 * parameters.numel(),
    )


def cross_attention_case(dtype: torch.dtype, n: int, m: int, d: int) -> Case:
    six = [_random(1, 1, length, d, dtype=dtype) for length in (n, n, n, m, m, m)]

    def eager() -> tuple[Tensor, Tensor]:
        image = F.scaled_dot_product_attention(six[0], six[4], six[5])
        return image, F.scaled_dot_product_attention(six[3], six[1], six[2])

    return Case(
        "cross_attention",
        f"{n} x {m} tokens of {d}",
        dtype,
        lambda: cross_attention(*six),
        eager,
        lambda: cross_attention_reference(*(part.double() for part in six)),
        4 * (n + m) * d * six[0].element_size(),
        8 * n * m * d,
    )


def shared_attention_case(dtype: torch.dtype, n: int, m: int, d: int) -> Case:
    """The attention of CMASG-Bi-LSTM: tokens are queries, keys and values, and the last quarter of the text padding."""
    image, text = _random(1, 1, n, d, dtype=dtype), _random(1, 1, m, d, dtype=dtype)
    real = (torch.arange(m) < m - m // 4)[None].to(DEVICE)

    def eager() -> tuple[Tensor, Tensor]:
        scores = image @ text.transpose(2, 3) * d**-0.5
        shown = scores.masked_fill(~real[:, None, None], -6e4)
        return shown.softmax(dim=-1) @ text, scores.transpose(2, 3).softmax(dim=-1) @ image

    def reference() -> tuple[Tensor, Tensor]:
        six = [part.double() for part in (image, text) for _ in range(3)]
        return cross_attention_reference(*six, table_mask=real)

    six = [part for part in (image, text) for _ in range(3)]
    return Case(
        "cross_attention",
        f"{n} x {m} tokens of {d}",
        dtype,
        lambda: cross_attention(*six, table_mask=real),
        eager,
        reference,
        2 * (image.nbytes + text.nbytes),
        6 * n * m * d,
    )


def _random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape) + shape[-1])
    return torch.randn(shape, generator=generator).to(DEVICE, dtype)
