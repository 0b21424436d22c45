"""A network's constants on the device: each lies there once, whichever of its programs reads it."""

import torch
from torch import Tensor


class Weights:
    """What programs of one network have placed on a device.

    A constant is shared if its name, layout and bits are those of one that lies there: the model's own, which every
    program reads as the same tensor, and what a fusion has packed anew from them. What depends on a program's shapes
    has other bits, and is placed beside the others.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._kept: dict[tuple[str, bool], list[tuple[Tensor, Tensor]]] = {}

    @property
    def bytes(self) -> int:
        """All that lies on the device."""
        return sum(placed.nbytes for pairs in self._kept.values() for _, placed in pairs)

    def place(self, name: str, tensor: Tensor, *, innermost: bool = False) -> Tensor:
        """The constant on the device; innermost: with the channels of a volume's convolution innermost."""
        pairs = self._kept.setdefault((name, innermost), [])
        for source, placed in pairs:
            if source is tensor or _same_bits(source, tensor):
                return placed
        placed = tensor.to(self._device)
        if innermost:
            placed = placed.contiguous(memory_format=torch.channels_last_3d)
        pairs.append((tensor, placed))
        return placed


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(*(tensor.reshape(-1).contiguous().view(torch.uint8) for tensor in (one, other)))
