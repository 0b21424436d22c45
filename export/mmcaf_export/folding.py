"""Exact rewrites of a network before it is written as ONNX."""

import copy

import torch
from torch import nn

from .networks.mmcaf import MmcafNet
from .networks.penet import stem_convolution

STEM = "image_encoder.encoder.in_conv.0"


def share_copy(network: nn.Module) -> nn.Module:
    """A copy of the module tree that shares every weight with the original, in evaluation mode.

    Replacing a submodule or switching modes in the copy leaves the original as it was.
    """
    tensors = (*network.parameters(), *network.buffers())
    copied = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    return copied.eval()


def one_channel(network: MmcafNet) -> nn.Module:
    """A copy of MMCAF-Net whose stem reads one channel instead of three equal ones.

    The stem sees a grey volume three times; by linearity that is one convolution with the kernel
    summed over its input channels. Saves 9.7 of 142.6 GFLOP and two thirds of the largest buffer.
    """
    copied = share_copy(network)
    kernel = copied.get_parameter(f"{STEM}.weight").detach()
    with torch.device("meta"):
        single = stem_convolution(1, kernel.shape[0])
    summed = kernel.double().sum(dim=1, keepdim=True).to(kernel.dtype)
    single.weight = nn.Parameter(summed, requires_grad=False)
    copied.set_submodule(STEM, single)
    return copied.eval()
