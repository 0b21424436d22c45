"""MSDC in plain PyTorch: the meaning of the kernel, and its weights from a network's modules."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..launch import float32_unless_double

KERNELS = (1, 3, 5)
TAPS = sum(kernel**3 for kernel in KERNELS)


def msdc(x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None = None) -> Tensor:
    """Sum over k in {1, 3, 5} of ReLU6(depthwise convolution of size k + bias_k), zero padded.

    Args:
        x: [N, C, D, H, W].
        taps: [C, 153], the 1 + 27 + 125 weights of each channel.
        bias: [C, 3].
        order: [C]; output channel i is channel order[i] of the sum.

    Returns:
        [N, C, D, H, W] in the type of x.
    """
    wide = float32_unless_double(x)
    channels = x.shape[1]
    total = torch.zeros_like(wide)
    for branch, (kernel, weight) in enumerate(zip(KERNELS, taps.split([k**3 for k in KERNELS], dim=1), strict=True)):
        weight = weight.to(wide.dtype).reshape(channels, 1, kernel, kernel, kernel)
        convolved = F.conv3d(wide, weight, bias[:, branch].to(wide.dtype), padding=kernel // 2, groups=channels)
        total = total + F.relu6(convolved)
    return (total if order is None else total.index_select(1, order)).to(x.dtype)


def fold(convolutions: Sequence[nn.Conv3d], norms: Sequence[nn.BatchNorm3d]) -> tuple[Tensor, Tensor]:
    """Depthwise convolutions of sizes 1, 3, 5, each with its batch norm, as (taps [C, 153], bias [C, 3]), float32."""
    folded = [fold_batch_norm(convolution, norm) for convolution, norm in zip(convolutions, norms, strict=True)]
    taps = torch.cat([weight.flatten(1) for weight, _ in folded], dim=1)
    return taps.float().contiguous(), torch.stack([bias for _, bias in folded], dim=1).float().contiguous()


def fold_batch_norm(convolution: nn.Conv3d, norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """(weight, bias) of one convolution that does what convolution and norm do at inference, in float64."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        shift = shift + norm.bias.detach().double()
    if convolution.bias is not None:
        shift = shift + convolution.bias.detach().double() * scale
    return convolution.weight.detach().double() * scale[:, None, None, None, None], shift


def even_then_odd(channels: int) -> Tensor:
    """The `order` that follows MSDC in MMCAF-Net: all even channels, then all odd ones."""
    return torch.arange(channels, dtype=torch.int32).reshape(-1, 2).T.flatten().contiguous()
