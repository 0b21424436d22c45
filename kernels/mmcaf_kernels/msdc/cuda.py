"""MSDC by the CUDA C++ kernel of kernels/cuda/msdc.cu, loaded from the fatbin that the native build makes."""

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..launch import ceil_div, new
from .operator import check

STRIP, WEIGHTS = 4, 240  # as in msdc.cu
WHOLE = (2, 3, 6)
STACK = 4
WIDEST_TILE, MOST_THREADS, FEW_THREADS, MOST_SHARED, MOST_BLOCKS = 64, 256, 128, 48 * 1024, 2**20
_NAMES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True)
class Configuration:
    """Which kernel of msdc.cu, and how it is launched."""

    kernel: str
    blocks: int
    threads: int
    shared: int  # bytes
    tile_height: int
    tile_width: int
    slots: int


def configure(x: Tensor) -> Configuration:
    """Tiles that waste little of the map's sides, with at most 256 threads and 48 KiB a block."""
    samples, channels, depth, height, width = x.shape
    piece = 16 // x.element_size()
    slices, planes = (depth, depth) if depth in WHOLE else (STACK, STACK + 4)
    tile_width = ceil_div(ceil_div(width, ceil_div(width, WIDEST_TILE)), piece) * piece
    line = planes * (tile_width + 2 * piece) * x.element_size()
    strips = tile_width // STRIP
    tallest = min(MOST_THREADS // strips, (MOST_SHARED - 4 * WEIGHTS) // line - 4)
    tile_height = ceil_div(height, ceil_div(height, tallest))
    slot = (tile_height + 4) * line + 4 * WEIGHTS
    slots = max(1, min(FEW_THREADS // (strips * tile_height), MOST_SHARED // slot, channels))
    tiles = ceil_div(width, tile_width) * ceil_div(height, tile_height) * ceil_div(depth, slices)
    return Configuration(
        kernel=f"msdc_{_NAMES[x.dtype]}_{f'whole{depth}' if depth in WHOLE else f'stack{STACK}'}",
        blocks=min(MOST_BLOCKS, ceil_div(samples * channels, slots) * tiles),
        threads=max(strips * tile_height * slots, tile_width // piece + 2),  # the pieces of a line too
        shared=slots * slot,
        tile_height=tile_height,
        tile_width=tile_width,
        slots=slots,
    )


def kernel_arguments(
    x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None, out: Tensor, chosen: Configuration
) -> list[Any]:
    """The kernel's arguments as ctypes values, in order; `order` must be int32."""
    samples, channels, depth, height, width = x.shape
    pointers = (part.data_ptr() if part is not None else 0 for part in (x, taps, bias, order, out))
    sizes = (channels, depth, height, width, chosen.tile_height, chosen.tile_width, chosen.slots)
    return [
        *(ctypes.c_void_p(pointer) for pointer in pointers),
        ctypes.c_int64(samples * channels),
        *(ctypes.c_int(size) for size in sizes),
    ]


class MsdcCuda:
    """The kernels of one fatbin on the current CUDA device; call it as `msdc`.

    Raises:
        RuntimeError: there is no CUDA driver, or it refuses the fatbin.
    """

    def __init__(self, fatbin: Path) -> None:
        try:
            self._driver = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise RuntimeError("MSDC in CUDA: libcuda.so.1 was not found; install the NVIDIA driver") from error
        torch.cuda.current_stream()  # makes the context
        self._image = fatbin.read_bytes()
        self._module = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(self._module), self._image)

    def __call__(self, x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None = None) -> Tensor:
        check(x, taps, bias, order)
        if x.device.type != "cuda":
            raise ValueError(f"MSDC in CUDA: x is on {x.device}; expected a CUDA device")
        out = new(x, x.shape)
        if not out.numel():
            return out
        chosen = configure(x)
        function = ctypes.c_void_p()
        self._call("cuModuleGetFunction", ctypes.byref(function), self._module, chosen.kernel.encode())
        order = order.to(torch.int32) if order is not None else None
        arguments = kernel_arguments(x, taps, bias, order, out, chosen)
        addresses = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(value) for value in arguments))
        stream = ctypes.c_void_p(torch.cuda.current_stream(x.device).cuda_stream)
        grid, block = (chosen.blocks, 1, 1), (chosen.threads, 1, 1)
        self._call("cuLaunchKernel", function, *grid, *block, chosen.shared, stream, addresses, None)
        return out

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status:
            raise RuntimeError(f"MSDC in CUDA: {name} failed with status {status}")
