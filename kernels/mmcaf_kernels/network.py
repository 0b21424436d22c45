"""The kernels' calls in the published networks, as launches on meta tensors.

MMCAF-Net: one window of 12 x 192 x 192. CMASG-Bi-LSTM: one image, with a report of the shortest and longest length.

Ahead-of-time compilation, the benchmark and the documentation all take their shapes from here.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from . import cross_attention, fusion_head, groupnorm_act, kan, msca_attention, msdc, upsample_dw
from .fusion_head.reference import Fusion, parameter_count
from .launch import Launch

STAGES = {"stage1": (256, 6, 48, 48), "stage2": (512, 3, 24, 24), "stage3": (1024, 2, 12, 12)}  # C, D, H, W
TABLE_VALUES, FEATURES = 7, 24
REGIONS, WORD_PIECES, TOKEN_WIDTH = 49, (32, 128), 512  # of CMASG-Bi-LSTM
Call = tuple[str, str, Callable[[], list[Launch]]]
"""Kernel, name of the shape, and what makes its launches."""


def calls(dtype: torch.dtype) -> Iterator[Call]:
    """Every call that differs in kernel or shape, with activations of this type."""
    for stage, (channels, *size) in STAGES.items():
        yield "msdc", stage, _msdc(dtype, 2 * channels, size)
        for layer, wide, gated in (
            ("norm1", channels // 2, False),
            ("norm3", channels, True),
            ("shortcut", channels, False),
        ):
            yield "groupnorm_act", f"{stage} {layer}", _groupnorm_act(dtype, wide, size, gated)
        yield "msca_attention", stage, _msca_attention(dtype, channels, size)
        if stage != "stage1":
            yield "upsample_dw", stage, _upsample_dw(dtype, channels, size)
    yield "groupnorm_act", "stem", _groupnorm_act(dtype, 64, [12, 96, 96], False)
    yield "kan", "table", _kan(dtype)
    for fusion in ("tokens", "mean"):
        yield "fusion_head", fusion, _fusion_head(dtype, fusion)
    for width in (FEATURES, FEATURES // 2, FEATURES // 4):
        yield "cross_attention", f"1 x 1 tokens of {width}", _cross_attention(dtype, 1, 1, width)
    for pieces in WORD_PIECES:
        shape = f"{REGIONS} x {pieces} tokens of {TOKEN_WIDTH}"
        yield "cross_attention", shape, _shared_attention(dtype, REGIONS, pieces, TOKEN_WIDTH)


def _msdc(dtype: torch.dtype, channels: int, size: list[int]) -> Callable[[], list[Launch]]:
    x = _meta(1, channels, *size, dtype=dtype)
    order = _meta(channels, dtype=torch.int32)
    return lambda: msdc.launches(x, _meta(channels, 153), _meta(channels, 3), order, x)


def _groupnorm_act(dtype: torch.dtype, channels: int, size: list[int], gated: bool) -> Callable[[], list[Launch]]:
    x = _meta(1, channels, *size, dtype=dtype)
    hidden = channels // 16
    gate = (_meta(hidden, channels), _meta(hidden), _meta(channels, hidden), _meta(channels)) if gated else None
    weight, bias = _meta(channels), _meta(channels)
    return lambda: groupnorm_act.launches(x, channels // 16, weight, bias, 1e-5, 0.01, x if gated else None, gate, x)


def _upsample_dw(dtype: torch.dtype, channels: int, size: list[int]) -> Callable[[], list[Launch]]:
    x = _meta(1, channels, *size, dtype=dtype)
    out = _meta(1, channels, *(2 * n for n in size), dtype=dtype)
    return lambda: upsample_dw.launches(x, _meta(channels, 27), _meta(channels), out)


def _msca_attention(dtype: torch.dtype, channels: int, size: list[int]) -> Callable[[], list[Launch]]:
    x = _meta(1, channels, *size, dtype=dtype)
    narrow, widen = _meta(channels // 16, channels), _meta(channels, channels // 16)
    return lambda: msca_attention.launches(x, narrow, widen, _meta(2, 7, 7, 7), x)


def _kan(dtype: torch.dtype) -> Callable[[], list[Launch]]:
    x, out = _meta(1, TABLE_VALUES, dtype=dtype), _meta(1, FEATURES, dtype=dtype)
    pairs = TABLE_VALUES, FEATURES
    return lambda: kan.launches(x, _meta(TABLE_VALUES, 12), _meta(*pairs), _meta(*pairs, 8), out)


def _fusion_head(dtype: torch.dtype, fusion: Fusion) -> Callable[[], list[Launch]]:
    features, out = _meta(1, FEATURES, dtype=dtype), _meta(1, 1, dtype=dtype)
    parameters = _meta(parameter_count(FEATURES, fusion))
    return lambda: fusion_head.launches(features, features, parameters, fusion, out)


def _cross_attention(dtype: torch.dtype, n: int, m: int, d: int) -> Callable[[], list[Launch]]:
    image, table = _meta(1, 1, n, d, dtype=dtype), _meta(1, 1, m, d, dtype=dtype)
    six = (image, image, image, table, table, table)
    return lambda: cross_attention.launches(six, d**-0.5, None, None, (image, table))


def _shared_attention(dtype: torch.dtype, n: int, m: int, d: int) -> Callable[[], list[Launch]]:
    image, table = _meta(1, 1, n, d, dtype=dtype), _meta(1, 1, m, d, dtype=dtype)
    mask = _meta(1, m, dtype=torch.bool)
    return lambda: cross_attention.launches((image,) * 3 + (table,) * 3, d**-0.5, None, mask, (image, table))


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")
