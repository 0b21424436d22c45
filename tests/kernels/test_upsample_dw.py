"""Upsampling with depthwise convolution against its float64 reference, and the reference against the network."""

import pytest

pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import torch

from kernels.harness import random, relative_error
from mmcaf_export.networks.mmcaf.attention import UpConvolution
from mmcaf_kernels.upsample_dw import fold, upsample_dw


def test_reference_is_the_networks_block() -> None:
    torch.manual_seed(0)
    block = UpConvolution(6).eval()
    _, convolution, norm, _ = block.up_dwc
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.data.uniform_(0.5, 2)
    x = random((2, 6, 3, 4, 5), torch.float32, "cpu", seed=1)
    found = upsample_dw(x, *fold(convolution, norm))
    with torch.no_grad():
        assert relative_error(found, block.up_dwc.double()(x.double())) < 1e-6


def arguments(**changes: object) -> dict[str, object]:
    return {"x": torch.zeros(1, 4, 2, 3, 3), "taps": torch.zeros(4, 27), "bias": torch.zeros(4), **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": None}, TypeError, "x is of type NoneType"),
        ({"x": torch.zeros(1, 4, 2, 3, 3)[..., ::2]}, ValueError, "contiguous"),
        ({"x": torch.zeros(1, 4, 3000, 3000, 30, device="meta")}, ValueError, "positions; expected at most"),
        ({"taps": torch.zeros(4, 3, 3, 3)}, ValueError, r"expected \[4, 27\]"),
        ({"bias": torch.zeros(3)}, ValueError, r"bias is \[3\]; expected \[4\]"),
    ],
    ids=["x-none", "x-strided", "x-large", "taps", "bias"],
)
def test_refuses(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        upsample_dw(**arguments(**changes))  # type: ignore[arg-type]


def test_empty_batch_gives_empty() -> None:
    assert upsample_dw(torch.zeros(0, 4, 2, 3, 3), torch.zeros(4, 27), torch.zeros(4)).shape == (0, 4, 4, 6, 6)
