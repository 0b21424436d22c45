"""MSDC against its float64 reference, and the reference against the network's module."""

import pytest

pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import torch
from torch import Tensor, nn

from kernels.harness import random, relative_error
from mmcaf_export.networks.mmcaf.attention import MultiKernelDepthwise
from mmcaf_export.networks.mmcaf.layers import even_then_odd as shuffle
from mmcaf_kernels.msdc import even_then_odd, fold, msdc


def test_reference_is_the_networks_block() -> None:
    torch.manual_seed(0)
    block = MultiKernelDepthwise(6).eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm3d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data.uniform_(0.5, 2)
    taps, bias = fold([branch[0] for branch in block.dwconvs], [branch[1] for branch in block.dwconvs])
    x = random((2, 6, 3, 7, 5), torch.float32, "cpu", seed=1)
    with torch.no_grad():
        expected = shuffle(block.double()(x.double()))
    assert relative_error(msdc(x, taps, bias, even_then_odd(6)), expected) < 1e-6


def arguments(**changes: object) -> dict[str, object]:
    plain = {"x": torch.zeros(1, 4, 2, 3, 3), "taps": torch.zeros(4, 153), "bias": torch.zeros(4, 3)}
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": [1.0]}, TypeError, "x is of type list"),
        ({"x": torch.zeros(1, 4, 2, 3, 3).double()}, TypeError, "float64; expected float32 or float16 or bfloat16"),
        ({"x": torch.zeros(4, 2, 3, 3)}, ValueError, r"x is \[4, 2, 3, 3\]; expected \[N, C, D, H, W\]"),
        ({"x": torch.zeros(1, 4, 2, 3, 3).transpose(3, 4)[..., :2]}, ValueError, "contiguous"),
        ({"taps": torch.zeros(4, 152)}, ValueError, r"taps is \[4, 152\]; expected \[4, 153\]"),
        ({"taps": torch.zeros(4, 153).half()}, TypeError, "taps is float16; expected float32"),
        ({"taps": torch.zeros(4, 153, device="meta")}, ValueError, "taps is on meta; expected it on cpu"),
        ({"bias": torch.zeros(3)}, ValueError, r"bias is \[3\]; expected \[4, 3\]"),
        ({"order": torch.zeros(4)}, TypeError, "order is float32; expected int32 or int64"),
        ({"order": torch.tensor([0, 1, 2, 4])}, ValueError, "entries outside 0 to 3"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_refuses(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        msdc(**arguments(**changes))  # type: ignore[arg-type]


def test_empty_batch_gives_empty() -> None:
    assert msdc(torch.zeros(0, 4, 2, 3, 3), torch.zeros(4, 153), torch.zeros(4, 3)).shape == (0, 4, 2, 3, 3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_visible(bad: float) -> None:
    x: Tensor = torch.zeros(1, 1, 2, 3, 3)
    x[0, 0, 0, 0, 0] = bad
    taps = -torch.ones(1, 153) if bad != bad else torch.ones(1, 153)
    out = msdc(x, taps, torch.zeros(1, 3))
    assert out.isnan().any() if bad != bad else out[0, 0, 0, 0, 0] == 18
