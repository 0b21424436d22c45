"""MSDC by the CUDA C++ kernel of kernels/cuda/msdc.cu, loaded from the fatbin that the native build makes."""

import ctypes
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import __path__ as folders
from ..launch import ceil_div, new
from .checks import check

FATBIN = "msdc.fatbin"

STRIP, WEIGHTS = 4, 240  # as in msdc.cu
WHOLE = (2, 3, 6)
STACK = 4
WIDEST_TILE, MOST_THREADS, FEW_THREADS, MOST_SHARED, MOST_BLOCKS = 64, 256, 128, 48 * 1024, 2**20
_log = logging.getLogger(__name__)
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
    """The kernels of one fatbin on one CUDA device; call it as `msdc`, with an `order` of int32 or none.

    Args:
        fatbin: its file.
        device: index of the device.
        driver: the driver's functions by name, as ctypes has them; None for those of libcuda.

    Raises:
        RuntimeError: there is no CUDA driver, or it refuses the fatbin, as where it holds nothing for this GPU.
        OSError: the file cannot be read.
    """

    def __init__(self, fatbin: Path, device: int = 0, *, driver: Any = None) -> None:
        try:
            self._driver = ctypes.CDLL("libcuda.so.1") if driver is None else driver
        except OSError as error:
            raise RuntimeError("MSDC in CUDA: libcuda.so.1 was not found; install the NVIDIA driver") from error
        self._device = device
        self._image = fatbin.read_bytes()
        self._module = ctypes.c_void_p()
        self._functions: dict[str, ctypes.c_void_p] = {}
        self._context = ctypes.c_void_p()
        with torch.cuda.device(device):
            torch.cuda.synchronize(device)  # makes the context, and this thread's
            self._call("cuCtxGetCurrent", ctypes.byref(self._context))
            self._call("cuModuleLoadData", ctypes.byref(self._module), self._image)

    def __call__(self, x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None = None) -> Tensor:
        check(x, taps, bias, order)
        if x.device != torch.device("cuda", self._device):
            raise ValueError(f"MSDC in CUDA: x is on {x.device}; expected it on cuda:{self._device}")
        if order is not None and order.dtype != torch.int32:
            raise TypeError(f"MSDC in CUDA: order is {order.dtype}; expected torch.int32")
        out = new(x, x.shape)
        if out.numel():
            self.launch(x, taps, bias, order, out)
        return out

    def launch(self, x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None, out: Tensor) -> None:
        """Start the kernel that fills `out` on the current stream; the arguments are checked."""
        chosen = configure(x)
        arguments = kernel_arguments(x, taps, bias, order, out, chosen)
        addresses = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(value) for value in arguments))
        grid, block = (chosen.blocks, 1, 1), (chosen.threads, 1, 1)
        with torch.cuda.device(self._device):
            stream = ctypes.c_void_p(torch.cuda.current_stream(self._device).cuda_stream)
            self._call("cuCtxSetCurrent", self._context)  # a new thread has none before its first call of the runtime
            function = self._function(chosen.kernel)
            self._call("cuLaunchKernel", function, *grid, *block, chosen.shared, stream, addresses, None)

    def _function(self, kernel: str) -> ctypes.c_void_p:
        if kernel not in self._functions:
            function = ctypes.c_void_p()
            self._call("cuModuleGetFunction", ctypes.byref(function), self._module, kernel.encode())
            self._functions[kernel] = function
        return self._functions[kernel]

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status:
            raise RuntimeError(f"MSDC in CUDA: {name} failed with status {status}")


class Twin(NamedTuple):
    """The kernel in CUDA C++, where it computes msdc on a device, and why it does or does not."""

    kernel: MsdcCuda | None
    reason: str


@cache
def twin(device: int) -> Twin:
    """Whether the fatbin built with this package computes msdc on a CUDA device: decided once, and logged."""
    file = built()
    if file is None:
        return Twin(None, "Triton, as no fatbin was built with this package")
    try:
        made = Twin(MsdcCuda(file, device), f"CUDA C++ ({file.name})")
    except (RuntimeError, OSError) as failure:
        made = Twin(None, f"Triton, as {file.name} does not load ({failure})")
        _log.warning("msdc on cuda:%s: %s", device, made.reason)
        return made
    _log.info("msdc on cuda:%s: %s", device, made.reason)
    return made


def built() -> Path | None:
    """The fatbin's file; an editable installation has the package in two folders."""
    return next((file for folder in folders if (file := Path(folder, "msdc", FATBIN)).exists()), None)
