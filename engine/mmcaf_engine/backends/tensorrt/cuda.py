"""CUDA through NVIDIA's cuda-python: every call checked, every object released when its owner says so.

All work happens in the GPU's primary context, which torch, CuPy and TensorRT use too; `Cuda.current` makes it the
calling thread's and gives the thread back what it had. Nothing here knows of TensorRT.
"""

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cuda_errors import OUT_OF_MEMORY, CudaError

ALIGNMENT = 256
"""Bytes; where TensorRT wants the addresses of its tensors. What CUDA allocates lies so."""


_log = logging.getLogger(__name__)


class Cuda:
    """The CUDA runtime on one GPU, by its index among the visible ones; `close` lets go of its context.

    Raises:
        CudaError: no driver, no such GPU, or no memory for a context.
        ImportError: cuda-python is not installed.
    """

    def __init__(self, device: int = 0, runtime: Any = None, driver: Any = None) -> None:
        self.runtime = runtime or import_module("cuda.bindings.runtime")
        self._driver = driver or import_module("cuda.bindings.driver")
        self.device = device
        self._context: Any = None
        try:
            self._driver_call("cuInit", 0)
            self._context = self._driver_call("cuDevicePrimaryCtxRetain", device)
        except RuntimeError as failure:  # cuda-python's own, if there is no driver library
            raise CudaError("cuInit", "cudaErrorInsufficientDriver", str(failure)) from failure

    def call(self, name: str, *arguments: Any) -> Any:
        """What a function of the CUDA runtime returns, without its error code.

        Raises:
            CudaError: it failed.
        """
        code, *values = getattr(self.runtime, name)(*arguments)
        if int(code) != 0:
            self.runtime.cudaGetLastError()  # Else the next call, perhaps TensorRT's, would find it again.
            raise CudaError(name, code.name, _text(self.runtime.cudaGetErrorString(code)))
        return values[0] if values else None

    def constant(self, name: str) -> Any:
        """A constant of the CUDA runtime: a name, or TYPE.MEMBER."""
        found = self.runtime
        for part in name.split("."):
            found = getattr(found, part)
        return found

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this GPU's primary context the calling thread's for the block."""
        if self._context is None:
            raise CudaError("cuCtxPushCurrent", "CUDA_ERROR_CONTEXT_IS_DESTROYED", "it was closed")
        self._driver_call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            with suppress(CudaError):  # It cannot fail but where the GPU was lost, of which the block knows more.
                self._driver_call("cuCtxPopCurrent")

    def free_memory(self) -> int:
        """Free bytes on the GPU."""
        free, _ = self._pair("cudaMemGetInfo")
        return int(free)

    def memory_of(self, address: int) -> tuple[bool, int]:
        """Whether an address lies in GPU memory, managed memory included, and on which GPU."""
        attributes = self.call("cudaPointerGetAttributes", address)
        kinds = self.constant("cudaMemoryType")
        return attributes.type in (kinds.cudaMemoryTypeDevice, kinds.cudaMemoryTypeManaged), int(attributes.device)

    def is_elsewhere(self, address: int) -> bool:
        """Whether an address in GPU memory belongs to another context than the primary one, and cannot be read here."""
        attribute = self._driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_CONTEXT
        code, *values = self._driver.cuPointerGetAttribute(attribute, address)
        # Memory of a pool belongs to no context.
        return int(code) == 0 and int(values[0] or 0) not in (0, int(self._context))

    def copy(self, target: int, source: int, size: int, stream: "Stream") -> None:
        """Have a stream copy bytes, between host and device or within the device."""
        kind = self.constant("cudaMemcpyKind.cudaMemcpyDefault")
        self.call("cudaMemcpyAsync", target, source, size, kind, stream.handle)

    def release(self, name: str, *arguments: Any) -> None:
        """Call a function that gives something back; after the GPU was lost it fails, which changes nothing more."""
        try:
            self.call(name, *arguments)
        except CudaError as failure:
            _log.debug("Not released: %s", failure)

    def close(self) -> None:
        """Let go of the context; closing twice is harmless."""
        if self._context is not None:
            self._context = None
            try:
                self._driver_call("cuDevicePrimaryCtxRelease", self.device)
            except CudaError as failure:
                _log.debug("Not released: %s", failure)

    def _driver_call(self, name: str, *arguments: Any) -> Any:
        code, *values = getattr(self._driver, name)(*arguments)
        if int(code) != 0:
            raise CudaError(name, code.name, _text(self._driver.cuGetErrorString(code)))
        return values[0] if values else None

    def _pair(self, name: str) -> tuple[Any, Any]:
        code, *values = getattr(self.runtime, name)()
        if int(code) != 0:
            raise CudaError(name, code.name, _text(self.runtime.cudaGetErrorString(code)))
        return values[0], values[1]


class Event:
    """A mark in a stream that another stream, or the host, can wait for; if `timed`, it tells when it was reached."""

    def __init__(self, cuda: Cuda, *, timed: bool = False) -> None:
        self._cuda = cuda
        flags = cuda.constant("cudaEventDefault" if timed else "cudaEventDisableTiming")
        self.handle: Any = cuda.call("cudaEventCreateWithFlags", flags)

    def record(self, stream: Any) -> None:
        """Mark what a stream, given by its handle, has been told so far."""
        self._cuda.call("cudaEventRecord", self.handle, stream)

    def wait(self) -> None:
        """Block the calling thread until the mark is reached."""
        self._cuda.call("cudaEventSynchronize", self.handle)

    def milliseconds_since(self, earlier: "Event") -> float:
        """From another mark to this one, both timed and reached."""
        return float(self._cuda.call("cudaEventElapsedTime", earlier.handle, self.handle))

    def close(self) -> None:
        """Release it."""
        self._cuda.release("cudaEventDestroy", self.handle)


class Stream:
    """Work that the GPU does in order, beside other streams; it does not wait for the default stream."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.handle: Any = cuda.call("cudaStreamCreateWithFlags", cuda.constant("cudaStreamNonBlocking"))

    def wait_for(self, event: Event) -> None:
        """Have this stream wait for a mark; the calling thread goes on."""
        self._cuda.call("cudaStreamWaitEvent", self.handle, event.handle, 0)

    def finish(self) -> None:
        """Block the calling thread until the stream has done all it was told."""
        self._cuda.call("cudaStreamSynchronize", self.handle)

    def close(self) -> None:
        """Release it."""
        self._cuda.release("cudaStreamDestroy", self.handle)


class DeviceBuffer:
    """Bytes on the GPU."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._cuda = cuda
        self.size = size
        self.address = int(_allocated(cuda, "cudaMalloc", size))

    def close(self) -> None:
        """Release it."""
        self._cuda.release("cudaFree", self.address)


class PinnedBuffer:
    """An array in page-locked host memory, which alone the GPU can copy while the processor works on."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: str = "float32") -> None:
        self._cuda = cuda
        self.size = np.dtype(dtype).itemsize * int(np.prod(shape))
        self.address = int(_allocated(cuda, "cudaMallocHost", self.size))
        memory = (ctypes.c_uint8 * self.size).from_address(self.address)
        self.array: NDArray[Any] = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)

    def close(self) -> None:
        """Release it; the array must not be used any more."""
        self._cuda.release("cudaFreeHost", self.address)


class Graph:
    """Work that a stream was told once and repeats in one call; it lies on the GPU before the first.

    Captured per thread, so that other threads may go on using CUDA meanwhile.

    Raises:
        CudaError: something in it cannot be captured; the stream is usable again.
    """

    def __init__(self, cuda: Cuda, stream: Stream, work: Callable[[], None]) -> None:
        self._cuda = cuda
        mode = cuda.constant("cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal")
        cuda.call("cudaStreamBeginCapture", stream.handle, mode)
        try:
            work()
        except BaseException:
            with suppress(CudaError):  # Of a capture that failed, half a graph is left, or nothing.
                cuda.release("cudaGraphDestroy", cuda.call("cudaStreamEndCapture", stream.handle))
            raise
        captured = cuda.call("cudaStreamEndCapture", stream.handle)
        try:
            self.handle: Any = cuda.call("cudaGraphInstantiate", captured, 0)
        finally:
            cuda.release("cudaGraphDestroy", captured)
        try:
            cuda.call("cudaGraphUpload", self.handle, stream.handle)  # Else the first launch would do it.
        except CudaError:
            self.close()
            raise

    def launch(self, stream: Stream) -> None:
        """Have a stream do it once."""
        self._cuda.call("cudaGraphLaunch", self.handle, stream.handle)

    def close(self) -> None:
        """Release it."""
        self._cuda.release("cudaGraphExecDestroy", self.handle)


def _allocated(cuda: Cuda, name: str, size: int) -> Any:
    try:
        return cuda.call(name, size)
    except CudaError as failure:
        if failure.code not in OUT_OF_MEMORY or name == "cudaMallocHost":
            raise
        try:
            free = cuda.free_memory()
        except CudaError:
            raise failure from None
        raise CudaError(failure.call, failure.code, failure.text, size, free) from None


def _text(answer: Any) -> str:
    """CUDA's words from what cudaGetErrorString or cuGetErrorString returned."""
    words = answer[1]
    return words.decode() if isinstance(words, bytes) else str(words)
