"""What the kernels count in 32 bits stays below 2^31 for every call that the launchers accept.

Each kernel's formulas stand here as functions of its launch, the last block and the step beyond it included. Offsets
to neighbours that lie outside the volume are left out: they may wrap, and are not read.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="Triton is not installed")

from mmcaf_kernels import cross_attention, fusion_head, groupnorm_act, kan, msca_attention, msdc, upsample_dw
from mmcaf_kernels.checks import LARGEST_INDEX
from mmcaf_kernels.fusion_head.reference import parameter_count
from mmcaf_kernels.launch import LARGEST_GRID, Launch, ceil_div

Numbers = dict[str, Any]


def up(length: int, step: int) -> int:
    """The length in whole steps."""
    return ceil_div(length, step) * step


def statistics(a: Numbers) -> Iterable[int]:
    start = (a["splits"] - 1) * a["part"]
    return start + a["part"], start + up(min(a["part"], a["length"] - start), a["block"]), a["length"] + a["block"]


def gate(a: Numbers) -> Iterable[int]:
    h, c = up(a["hidden"], a["block_hidden"]), up(a["channels"], a["block"])
    return h * a["channels"] + c, c * a["hidden"] + h


def whole_group(a: Numbers) -> Iterable[int]:
    return a["size"] + a["block"], a["groups"] * (a["size"] // a["length"]) + a["size"] // a["length"]


def coefficients(a: Numbers) -> Iterable[int]:
    return a["block_splits"] * a["part"], a["groups"] * a["channels"] + a["block"]


def runs(a: Numbers) -> Iterable[int]:
    return (a["runs"] * a["block"],)


def position_statistics(a: Numbers) -> Iterable[int]:
    return *runs(a), a["channels"] + a["block_channels"]


def volume(a: Numbers) -> int:
    return int(a["depth"] * a["height"] * a["width"])


def position_gate(a: Numbers) -> Iterable[int]:
    return *runs(a), volume(a)


def msdc_slices(a: Numbers) -> Iterable[int]:
    return *runs(a), volume(a), a["stacks"] * a["slices"] + a["halo"], a["height"] + 2, a["width"] + 2


def upsampled(a: Numbers) -> Iterable[int]:
    return *runs(a), 8 * volume(a), a["stacks"] * a["slices"] + 2, 2 * a["height"] + 2, 2 * a["width"] + 2


def splines(a: Numbers) -> Iterable[int]:
    last = (a["inputs"] - 1) * a["outputs"] + a["tiles"] * a["block_outputs"]
    return last * (a["count"] - 4) + a["count"], a["inputs"] * a["count"], last


def head(a: Numbers) -> Iterable[int]:
    return (parameter_count(a["width"], "tokens") + a["block"] ** 2,)


def paired(a: Numbers) -> Iterable[int]:
    return up(a["n"], a["block_n"]), a["block_m"] * a["d"] + a["block_d"]


def tiles(a: Numbers) -> Iterable[int]:
    return a["tiles_n"] * a["block"], a["tiles_m"] * a["block"], a["tiles_n"] + a["tiles_m"]


def wide_scores(a: Numbers) -> Iterable[int]:
    return *tiles(a), up(a["d"], a["block_d"]), a["tiles_n"] * a["tiles_m"]


def wide_gather(a: Numbers) -> Iterable[int]:
    keys = up(max(a["n"], a["m"]), a["block_keys"])
    return *tiles(a), keys, a["slices"] * a["block_d"], (a["tiles_n"] + a["tiles_m"]) * a["slices"]


FORMULAS: dict[str, Callable[[Numbers], Iterable[int]]] = {
    "channel_statistics_kernel": statistics,
    "channel_gate_kernel": gate,
    "whole_group_kernel": whole_group,
    "coefficients_kernel": coefficients,
    "apply_kernel": runs,
    "position_statistics_kernel": position_statistics,
    "position_gate_kernel": position_gate,
    "apply_gates_kernel": runs,
    "msdc_kernel": msdc_slices,
    "upsample_dw_kernel": upsampled,
    "kan_kernel": splines,
    "fusion_head_kernel": head,
    "paired_kernel": paired,
    "tiled_kernel": tiles,
    "scores_kernel": wide_scores,
    "gather_kernel": wide_gather,
}


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def of_msdc(*shape: int) -> list[Launch]:
    given = meta(*shape), meta(shape[1], 153), meta(shape[1], 3), None
    return msdc.launches(*given, msdc.msdc(*given))


def of_upsample_dw(*shape: int) -> list[Launch]:
    given = meta(*shape), meta(shape[1], 27), meta(shape[1])
    return upsample_dw.launches(*given, upsample_dw.upsample_dw(*given))


def of_groupnorm_act(hidden: int, groups: int, *shape: int) -> list[Launch]:
    x, c = meta(*shape), meta(shape[1])
    layers = (meta(hidden, shape[1]), meta(hidden), meta(shape[1], hidden), c) if hidden else None
    out = groupnorm_act.groupnorm_act(x, groups, c, c, gate=layers)
    return groupnorm_act.launches(x, groups, c, c, 1e-5, 0.01, None, layers, out)


def of_msca_attention(hidden: int, *shape: int) -> list[Launch]:
    given = meta(*shape), meta(hidden, shape[1]), meta(shape[1], hidden), meta(2, 7, 7, 7)
    return msca_attention.launches(*given, msca_attention.msca_attention(*given))


def of_kan(samples: int, inputs: int, outputs: int, count: int) -> list[Launch]:
    given = meta(samples, inputs), meta(inputs, count), meta(inputs, outputs), meta(inputs, outputs, count - 4)
    return kan.launches(*given, kan.kan(*given))


def of_cross_attention(batch: int, n: int, m: int, d: int) -> list[Launch]:
    six = tuple(meta(batch, 1, length, d) for length in (n, n, n, m, m, m))
    return cross_attention.launches(six, 1.0, None, None, cross_attention.cross_attention(*six))


def of_fusion_head(samples: int, width: int) -> list[Launch]:
    given = meta(samples, width), meta(samples, width), meta(parameter_count(width, "tokens"))
    return fusion_head.launches(*given, "tokens", fusion_head.fusion_head(*given))


L = LARGEST_INDEX
ACCEPTED: list[tuple[Callable[..., list[Launch]], tuple[int, ...]]] = [
    (of_msdc, (1, 1, 1, 1, L)),
    (of_msdc, (1, 1, L, 1, 1)),
    (of_msdc, (1, 2, 63, 4096, 8192)),
    (of_upsample_dw, (1, 1, 1, 1, L // 8)),
    (of_upsample_dw, (1, 1, L // 8, 1, 1)),
    (of_upsample_dw, (1, 1, 1, L // 8, 1)),
    (of_groupnorm_act, (0, 1, 1, 1, 1, 1, L)),
    (of_groupnorm_act, (0, 63, 1, 63, 1, 1, L)),
    (of_groupnorm_act, (0, 1, 1, L, 1, 1, 1)),
    (of_groupnorm_act, (0, 3, 1, 3, 1, 1, 16384)),
    (of_groupnorm_act, (L // 4096 - 16, 1, 1, 4032, 1, 1, 100)),
    (of_msca_attention, (1, 1, 1, 1, 1, L)),
    (of_msca_attention, (1, 1, 1, 63, 4096, 8192)),
    (of_msca_attention, (1, 1, L // 17 - 64, 1, 1, 1)),
    (of_kan, (L, 1, 1, 5)),
    (of_kan, (1, 1, L // 5 - 32, 5)),
    (of_kan, (1, 1, 1, L // 33)),
    (of_kan, (3, L // 330, 10, 30)),
    (of_cross_attention, (1, L, 3, 8)),
    (of_cross_attention, (1, 3, L, 128)),
    (of_cross_attention, (1, L, L, 128)),
    (of_cross_attention, (1, L, 1, 512)),
    (of_fusion_head, (LARGEST_GRID, 128)),
]
REFUSED: list[tuple[Callable[..., list[Launch]], tuple[int, ...], str]] = [
    (of_msdc, (1, 1, 1, 1, L + 1), f"a channel has {L + 1} positions; expected at most {L}"),
    (of_upsample_dw, (1, 1, 1, 1, L // 8 + 1), f"a channel has {L + 8} positions; expected at most {L}"),
    (of_groupnorm_act, (0, 1, 1, 1, 1, 1, L + 1), f"a channel has {L + 1} positions; expected at most {L}"),
    (of_groupnorm_act, (0, 1, 1, 2, 1, 1, L // 2 + 1), f"a channel has {L + 2} positions; expected at most {L}"),
    (
        of_groupnorm_act,
        (L // 4096 - 15, 1, 1, 4032, 1, 1, 100),
        f"layer [{L // 4096 - 15}, 4032] needs indexes up to {L + 4096}; expected at most {L}",
    ),
    (of_msca_attention, (1, 1, 1, 1, 1, L + 1), f"a channel has {L + 1} positions; expected at most {L}"),
    (of_msca_attention, (48, 1, L // 64, 1, 1, 1), f"needs indexes up to {L + 4096}; expected at most {L}"),
    (of_kan, (1, 1, L // 5 - 31, 5), f"coefficients [1, {L // 5 - 31}, 1] needs indexes up to"),
    (of_cross_attention, (1, L + 1, 3, 8), f"has {L + 1} positions; expected at most {L}"),
    (of_cross_attention, (1, L // 1000, L, 512), f"programs are needed; expected at most {LARGEST_GRID}"),
    (of_fusion_head, (LARGEST_GRID + 1, 24), f"{LARGEST_GRID + 1} programs are needed"),
]


def largest(launch: Launch) -> int:
    """What one launch's 32-bit numbers reach."""
    return max(launch.grid[0], *FORMULAS[launch.kernel.__name__]({**launch.arguments, **launch.constants}))


@pytest.mark.parametrize(("make", "shape"), ACCEPTED)
def test_what_is_accepted_counts_in_32_bits(make: Callable[..., list[Launch]], shape: tuple[int, ...]) -> None:
    for launch in make(*shape):
        assert largest(launch) < 2**31, launch.kernel.__name__


@pytest.mark.parametrize(("make", "shape", "message"), REFUSED)
def test_what_is_larger_is_refused(make: Callable[..., list[Launch]], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make(*shape)
    assert message in str(caught.value)


def test_every_kernel_is_among_them() -> None:
    assert {launch.kernel.__name__ for make, shape in ACCEPTED for launch in make(*shape)} == set(FORMULAS)
