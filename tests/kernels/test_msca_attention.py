"""Channel and spatial attention against its float64 reference, and the reference against the network."""

import pytest

pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import torch
from torch import nn

from kernels.cases_msca_attention import weights
from kernels.harness import random, relative_error
from mmcaf_export.networks.mmcaf.attention import ChannelAttention, SpatialAttention
from mmcaf_kernels.msca_attention import msca_attention


def test_reference_is_the_networks_pair_of_blocks() -> None:
    torch.manual_seed(0)
    pair = nn.Sequential(ChannelAttention(32), SpatialAttention())
    x = random((2, 32, 3, 7, 5), torch.float32, "cpu", seed=1)
    with torch.no_grad():
        found = msca_attention(x, pair[0].fc1.weight.flatten(1), pair[0].fc2.weight.flatten(1), pair[1].conv.weight[0])
        assert relative_error(found, pair.double()(x.double())) < 1e-6


def arguments(**changes: object) -> dict[str, object]:
    narrow, widen, spatial = weights(4, 2, "cpu")
    return {"x": torch.zeros(1, 4, 2, 3, 3), "narrow": narrow, "widen": widen, "spatial": spatial, **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": torch.zeros(1, 4, 2, 3, 3).to(torch.complex64)}, TypeError, "x is complex64"),
        ({"x": torch.zeros(1, 4, 0, 3, 3)}, ValueError, "expected no axis but the first to be empty"),
        ({"narrow": torch.zeros(2, 5)}, ValueError, r"narrow is \[2, 5\]; expected \[hidden, 4\]"),
        ({"widen": torch.zeros(4, 3)}, ValueError, r"widen is \[4, 3\]; expected \[4, 2\]"),
        ({"spatial": torch.zeros(1, 2, 7, 7, 7)}, ValueError, r"expected \[2, 7, 7, 7\]"),
        ({"spatial": torch.zeros(7, 7, 7, 2).permute(3, 0, 1, 2)}, ValueError, "contiguous"),
    ],
    ids=["x-type", "x-empty", "narrow", "widen", "spatial", "spatial-strided"],
)
def test_refuses(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        msca_attention(**arguments(**changes))  # type: ignore[arg-type]


def test_empty_batch_gives_empty() -> None:
    assert msca_attention(**arguments(x=torch.zeros(0, 4, 2, 3, 3))).shape == (0, 4, 2, 3, 3)  # type: ignore[arg-type]
