"""Gradients that ONNX has no operator for: what is traced in their place gives torch's own gradients."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from mmcaf_export.explain.decompositions import decompositions

WEIGHT = torch.linspace(-1, 1, 4 * 2 * 3 * 3).reshape(4, 2, 3, 3)
UP = torch.linspace(-1, 1, 4 * 3 * 3 * 2).reshape(4, 3, 3, 2)

OPERATORS: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "strided, padded, in groups": ((2, 4, 7, 6), lambda x: F.conv2d(x, WEIGHT, stride=(2, 3), padding=1, groups=2)),
    "stride above the kernel": ((1, 2, 9, 10), lambda x: F.conv2d(x, WEIGHT, stride=4)),
    "dilated": ((1, 2, 9, 9), lambda x: F.conv2d(x, WEIGHT, stride=2, padding=2, dilation=2)),
    "over slices": ((1, 2, 3, 5, 5), lambda x: F.conv3d(x, WEIGHT[:, :, None], padding=(0, 1, 1), stride=(2, 1, 2))),
    "transposed": ((1, 4, 3, 5), lambda x: F.conv_transpose2d(x, UP, stride=2, padding=1, output_padding=1)),
    "mean, padding counts": ((1, 2, 7, 6), lambda x: F.avg_pool2d(x, 3, stride=2, padding=1)),
    "mean, ceiled": ((1, 2, 7, 6), lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)),
    "mean over slices": ((1, 2, 4, 6, 6), lambda x: F.avg_pool3d(x, (1, 2, 3))),
    "adaptive mean": ((1, 2, 7, 5), lambda x: F.adaptive_avg_pool2d(x, (3, 2))),
    "maximum": ((2, 3, 7, 6), lambda x: F.max_pool2d(x, 3, stride=2, padding=1)),
    "maximum over slices": ((1, 2, 3, 6, 6), lambda x: F.max_pool3d(x, 2, stride=1)),
    "nearest": ((1, 2, 3, 4), lambda x: F.interpolate(x, size=(7, 6), mode="nearest")),
    "nearest, by a factor": ((1, 2, 3, 4), lambda x: F.interpolate(x, scale_factor=2.5, mode="nearest")),
    "bilinear": ((1, 2, 3, 4), lambda x: F.interpolate(x, size=(7, 4), mode="bilinear")),
    "trilinear, corners": (
        (1, 2, 3, 4, 5),
        lambda x: F.interpolate(x, (2, 7, 5), mode="trilinear", align_corners=True),
    ),
    "parts of axes": ((2, 5, 6), lambda x: x[:, 1:4, -3:] * x[:, -4:-1, :3] + x[:1, :3, 3:99] + x[:, ::2, 1::2]),
    "norms and softmax": ((2, 4, 3, 3), lambda x: F.gelu(F.group_norm(F.layer_norm(x, (3,)), 2)).softmax(dim=-1)),
    "smaller maxima too": ((1, 4, 3, 3), lambda x: x.amax(dim=(2, 3)) + F.relu6(x).mean(dim=(2, 3))),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_traced_gradients_are_those_of_torch(name: str) -> None:
    shape, operator = OPERATORS[name]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator)
    slopes = torch.randn(operator(x).shape, generator=generator)

    def gradient(x: Tensor, slopes: Tensor) -> Tensor:
        with torch.enable_grad():
            given = x.detach().requires_grad_()
            return torch.autograd.grad(operator(given), given, slopes)[0]

    traced = make_fx(gradient, decompositions())(x, slopes)
    assert not [node for node in traced.graph.nodes if "backward" in str(node.target)]
    other = torch.randn(shape, generator=generator)
    torch.testing.assert_close(traced(other, slopes), gradient(other, slopes), rtol=1e-4, atol=1e-5)


def test_forward_and_backward_share_no_constant() -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)

    def both(x: Tensor) -> Tensor:
        with torch.enable_grad():
            given = x.detach().requires_grad_()
            made = layer(given)
            return torch.autograd.grad(made, given, made.detach())[0]

    traced = make_fx(both, decompositions())(torch.ones(1, 4, 5, 5))
    traced.graph.eliminate_dead_code()
    weights = [node.args[1] for node in traced.graph.nodes if node.target is torch.ops.aten.convolution.default]
    assert len(weights) == 2 == len(set(weights))
    first, second = (getattr(traced, str(node.target)) for node in weights)
    assert torch.equal(first, -second)
