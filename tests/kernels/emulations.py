"""How the kernels of each CUDA source are tried on the CPU: shapes, arguments, what is right, and faults to put in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.cases_msdc import Case as MsdcCase
from kernels.cases_msdc import arguments as msdc_arguments
from kernels.emulator import Call
from kernels.nonfinite import Case, Placed, distance
from mmcaf_kernels.msdc.cuda import configure, kernel_arguments
from mmcaf_kernels.msdc.reference import msdc as msdc_reference

Shape = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Setting:
    """One launch: the map's shape and type, values put into it, and how it is given.

    shuffled: with an order of channels. misaligned: every map starts one value past a multiple of 16 bytes. blocks: at
    most so many, so that each makes several parts.
    """

    shape: Shape
    dtype: torch.dtype
    placed: Placed = ()
    shuffled: bool = False
    misaligned: bool = False
    blocks: int = 2**20

    def __str__(self) -> str:
        words = [str(self.dtype).removeprefix("torch."), "x".join(map(str, self.shape)), f"{len(self.placed)}-placed"]
        return "-".join([*words, *(word for word in ("shuffled", "misaligned") if getattr(self, word))])


@dataclass(frozen=True)
class Trial:
    """A call, and how far its result is from the reference, once it has run: at most 1 where it is right."""

    call: Call
    distance: Callable[[], float]


@dataclass(frozen=True)
class Emulation:
    """Of one source.

    depths: that choose its kernels. slips: name -> (part of the source, the same with a fault that a sanitizer finds at
    `slipping`). sharing: where blocks make one part after the other and a missing barrier shows.
    """

    trial: Callable[[Setting], Trial]
    depths: tuple[int, ...]
    slips: Mapping[str, tuple[str, str]]
    slipping: Setting
    sharing: Setting


def _msdc(setting: Setting) -> Trial:
    [x] = Case("msdc", setting.placed).inputs((setting.shape,), setting.dtype)
    _, taps, bias, _ = msdc_arguments(MsdcCase(setting.shape), setting.dtype, "cpu")
    channels = torch.arange(setting.shape[1], dtype=torch.int32)
    order = channels.flip(0).roll(1) if setting.shuffled else None
    given, out = _placed(x, setting.misaligned), _placed(torch.full_like(x, float("nan")), setting.misaligned)
    chosen = configure(given)
    tensors = [given, taps, bias, out, *([] if order is None else [order])]
    values = kernel_arguments(given, taps, bias, order, out, chosen)
    blocks = min(chosen.blocks, setting.blocks)
    call = Call(chosen.kernel, blocks, chosen.threads, chosen.shared, values, tensors)
    return Trial(call, lambda: distance(out, lambda a: msdc_reference(*a, taps, bias, order), [x]))


def _placed(tensor: Tensor, misaligned: bool) -> Tensor:
    """The same values, after one more in memory if they are to be misaligned."""
    if not misaligned:
        return tensor
    longer = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
    return longer[1:].view(tensor.shape).copy_(tensor)


EMULATIONS = {
    "msdc": Emulation(
        _msdc,
        depths=(2, 3, 6, 1, 11),
        slips={
            "a value past the map's end is read": (
                "column + k < shape.width) values[k]",
                "column + k <= shape.width) values[k]",
            ),
            "a value past the map's end is written": (
                "r < STRIP && column + r < shape.width",
                "r < STRIP && column + r <= shape.width",
            ),
            "a weight past the last is read": (
                "* TAPS + tap]",
                "* TAPS + tap + 1]",
            ),
            "a value past the end of shared memory is written": (
                "own[BIAS + tap - TAPS]",
                "own[BIAS + 1 + tap - TAPS]",
            ),
            "sixteen bytes are read from any address": ("(line + column) % 16 == 0", "(line + column) % 1 == 0"),
        },
        slipping=Setting((1, 1, 2, 5, 9), torch.float16),
        sharing=Setting((2, 4, 2, 12, 12), torch.float16, blocks=1),
    ),
}
"""By the name of the source."""
