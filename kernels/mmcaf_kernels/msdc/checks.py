"""MSDC: what its kernels can read."""

import torch
from torch import Tensor

from ..checks import check_tensor, check_volume
from . import reference


def check(x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None) -> None:
    """Refuse what the kernels cannot read, as `msdc` documents."""
    check_volume("msdc", x)
    channels = x.shape[1]
    check_tensor("msdc", "taps", taps, (channels, reference.TAPS), beside=x)
    check_tensor("msdc", "bias", bias, (channels, len(reference.KERNELS)), beside=x)
    if order is not None:
        check_tensor("msdc", "order", order, (channels,), dtypes=(torch.int32, torch.int64), beside=x)
