"""Checks that every launcher makes before it touches memory; each refusal says what came and what was expected."""

from collections.abc import Sequence

import torch
from torch import Tensor

INPUTS = (torch.float32, torch.float16, torch.bfloat16)
"""What activations may be; sums are formed in float32 whatever they are."""
PARAMETERS = (torch.float32,)
LARGEST_INDEX = 2**31 - 2**25
"""Of what is counted in 32 bits; the rest holds the last step beyond it: a block, or a part of a channel (1 / 64)."""


def check_tensor(
    kernel: str,
    name: str,
    tensor: object,
    shape: Sequence[int | str],
    *,
    dtypes: Sequence[torch.dtype] = PARAMETERS,
    beside: Tensor | None = None,
) -> None:
    """Refuse what a kernel cannot read.

    Args:
        kernel: the kernel's name, for the message.
        name: the argument's name.
        tensor: what was passed.
        shape: a number per axis, or a letter for an axis of any length.
        dtypes: the types it may have.
        beside: a tensor on whose device it must be.

    Raises:
        TypeError: no tensor, or not of one of the types.
        ValueError: another shape or device, or not contiguous.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{kernel}: {name} is of type {type(tensor).__name__}; expected a torch.Tensor")
    if tensor.dtype not in dtypes:
        raise TypeError(f"{kernel}: {name} is {_type(tensor.dtype)}; expected {' or '.join(map(_type, dtypes))}")
    if tensor.ndim != len(shape) or any(
        isinstance(want, int | torch.SymInt) and have != want for have, want in zip(tensor.shape, shape, strict=True)
    ):
        expected = ", ".join(f"{want}" for want in shape)
        raise ValueError(f"{kernel}: {name} is {list(tensor.shape)}; expected [{expected}]")
    if beside is not None and tensor.device != beside.device:
        raise ValueError(f"{kernel}: {name} is on {tensor.device}; expected it on {beside.device}, as the first input")
    if not tensor.is_contiguous():
        raise ValueError(
            f"{kernel}: {name} {list(tensor.shape)} has strides {list(tensor.stride())}; expected a contiguous "
            f"tensor (pass {name}.contiguous())"
        )


def check_volume(kernel: str, x: object) -> None:
    """x must be [N, C, D, H, W], with a channel of at most LARGEST_INDEX positions (the tensor may have more)."""
    check_tensor(kernel, "x", x, ("N", "C", "D", "H", "W"), dtypes=INPUTS)
    if isinstance(x, Tensor):
        check_positions(kernel, x.shape[2] * x.shape[3] * x.shape[4])


def check_positions(kernel: str, positions: int) -> None:
    """Offsets within one channel are 32-bit."""
    if positions > LARGEST_INDEX:
        raise ValueError(f"{kernel}: a channel has {positions} positions; expected at most {LARGEST_INDEX}")


def check_index(kernel: str, name: str, tensor: Tensor, largest: int) -> None:
    """`largest` is what 32-bit indexes into a tensor reach, the kernel's last block included."""
    if largest > LARGEST_INDEX:
        raise ValueError(
            f"{kernel}: {name} {list(tensor.shape)} needs indexes up to {largest}; expected at most {LARGEST_INDEX}"
        )


def _type(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
