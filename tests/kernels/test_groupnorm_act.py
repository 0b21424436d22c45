"""Group norm with activation against its float64 reference, and the reference against the network's bottleneck."""

import pytest

pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import torch
import torch.nn.functional as F

from kernels.cases_groupnorm_act import layers
from kernels.harness import random, relative_error
from mmcaf_export.networks.mmcaf.penet import Bottleneck
from mmcaf_kernels.groupnorm_act import groupnorm_act


def test_references_make_up_the_networks_bottleneck() -> None:
    torch.manual_seed(0)
    block = Bottleneck(32, 32, 1, project=True).eval()
    x = random((2, 32, 3, 5, 4), torch.float32, "cpu", seed=1)
    for norm in (block.norm1, block.norm2, block.norm3, block.down_sample[1]):
        norm.weight.data.normal_()
        norm.bias.data.normal_()
    with torch.no_grad():
        first = groupnorm_act(block.conv1(x), 2, block.norm1.weight, block.norm1.bias)
        second = groupnorm_act(block.conv2(first), 2, block.norm2.weight, block.norm2.bias)
        skip_norm = block.down_sample[1]
        skip = groupnorm_act(block.down_sample[0](x), 4, skip_norm.weight, skip_norm.bias, slope=None)
        narrow, widen = block.se_block.excite[0], block.se_block.excite[2]
        gate = (narrow.weight, narrow.bias, widen.weight, widen.bias)
        norm3 = block.norm3
        found = groupnorm_act(block.conv3(second), 4, norm3.weight, norm3.bias, gate=gate, residual=skip)
        assert relative_error(found, block.double()(x.double())) < 1e-5


def test_half_precision_is_normalised_in_single() -> None:
    x = 1000 + random((1, 2, 1, 8, 8), torch.float16, "cpu", seed=1)
    expected = F.leaky_relu(F.group_norm(x.double(), 1))
    assert relative_error(groupnorm_act(x, 1, torch.ones(2), torch.zeros(2)), expected) < 2e-3


def arguments(**changes: object) -> dict[str, object]:
    plain = {"x": torch.zeros(1, 4, 2, 3, 3), "groups": 2, "weight": torch.zeros(4), "bias": torch.zeros(4)}
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": torch.zeros(1, 4, 2, 3, 3, dtype=torch.int32)}, TypeError, "x is int32"),
        ({"groups": 3}, ValueError, "groups is 3; expected a divisor of x's 4 channels"),
        ({"groups": 0}, ValueError, "groups is 0"),
        ({"eps": 0.0}, ValueError, "eps is 0.0; expected a positive number"),
        ({"eps": float("nan")}, ValueError, "eps is nan"),
        ({"slope": -0.1}, ValueError, "slope is -0.1; expected 0 to 1"),
        ({"weight": torch.zeros(3)}, ValueError, r"weight is \[3\]; expected \[4\]"),
        ({"bias": torch.zeros(4).half()}, TypeError, "bias is float16; expected float32"),
        ({"residual": torch.zeros(1, 4, 2, 3, 4)}, ValueError, "residual is .* expected .*2, 3, 3"),
        ({"residual": torch.zeros(1, 4, 2, 3, 3).half()}, TypeError, "residual is .*float16; expected .*float32"),
        ({"gate": torch.zeros(4)}, TypeError, "gate is not a tuple of four tensors"),
        ({"gate": layers(5, 2, "cpu")}, ValueError, r"gate's weight 1 is \[2, 5\]; expected \[2, 4\]"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_refuses(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        groupnorm_act(**arguments(**changes))  # type: ignore[arg-type]


def test_an_incomplete_gate_is_refused_by_the_operator() -> None:
    with pytest.raises(TypeError, match="the gate lacks a tensor"):
        torch.ops.mmcaf.groupnorm_act(*arguments().values(), narrow=torch.zeros(1, 4))


def test_empty_batch_gives_empty() -> None:
    assert groupnorm_act(torch.zeros(0, 4, 2, 3, 3), 2, torch.ones(4), torch.zeros(4)).shape == (0, 4, 2, 3, 3)
