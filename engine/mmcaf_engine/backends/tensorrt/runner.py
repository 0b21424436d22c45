"""Runs an engine: copies and inference in streams of their own, so that one window is copied while another is computed.

There are two slots, each with page-locked host memory, GPU memory, events and a CUDA graph. Window by window they
take turns: while the GPU computes in one, the next window is copied into the other.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import BackendError, UsageError
from ...manifest import TensorSpec
from ...timing import current_stopwatch, span, waiting
from ..device_arrays import DeviceArray
from .cuda import ALIGNMENT, Cuda, DeviceBuffer, Event, Graph, PinnedBuffer, Stream
from .cuda_errors import CudaError
from .flavour import Flavour
from .loading import Engine, Place, Plan
from .stage_clock import StageClock, StageEvents

SLOTS = 2
CAPTURED = "captured"
"""What `Runner.graph` says where the engine runs as a CUDA graph."""

Window = Mapping[str, NDArray[Any] | DeviceArray]
Answer = dict[str, NDArray[np.float32]]


class _Closable(Protocol):
    def close(self) -> None: ...


_Resource = TypeVar("_Resource", bound=_Closable)


@dataclass(frozen=True)
class _Tensor:
    """One input or output: its memory on the host and on the GPU, that of a text for the longest."""

    name: str
    pinned: PinnedBuffer
    device: DeviceBuffer
    is_text: bool


@dataclass
class _Slot:
    """All that one window needs.

    copied: whether inputs of the last one were copied from the host. length: of its text.
    """

    inputs: list[_Tensor]
    outputs: list[_Tensor]
    events: StageEvents
    copied: bool = False
    length: int = 0
    graph: Graph | None = None


class Runner:
    """An engine on a GPU. One call at a time; the caller sees to that.

    Released are, in this order: graphs, execution context, engine, buffers, events, streams, the CUDA context.

    Args:
        cuda: closed with the runner, also if this fails.
        plan: the engine's bytes.
        inputs: as the manifest has them; so `outputs`.
        kernels: what an earlier `compiled_kernels` gave for this engine, or b"".
        lengths: that texts are padded to, ascending, where an input is one. Each is run once while opening; texts of
            other lengths up to the last are as good, but their first may have to wait for kernels to be compiled.

    Raises:
        BackendError: the engine does not fit the machine or the manifest, or TensorRT failed.
        CudaError: CUDA failed.
    """

    def __init__(
        self,
        flavour: Flavour,
        cuda: Cuda,
        plan: Plan,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        place: Place,
        kernels: bytes = b"",
        *,
        lengths: Sequence[int] = (),
    ) -> None:
        self._lengths = tuple(lengths)
        self.graph = "not captured yet"
        self._flavour = flavour
        self._cuda = cuda
        self._streams: list[Stream] = []
        self._slots: list[_Slot] = []
        self._resources = ExitStack()
        try:
            with cuda.current():
                self._allocate(inputs, outputs)
                longest = lengths[-1] if lengths else 1
                engine = Engine(flavour, plan, inputs, outputs, place, kernels, cuda.free_memory, longest)
                self._engine = self._own(engine)
                self._warm_up()
                self._capture()
        except BaseException:
            self.close()
            raise

    def run(self, windows: Sequence[Window]) -> list[Answer]:
        """Every window's outputs, [1, ...] each, copied out; host arrays are C-contiguous float32 [1, ...].

        An input in GPU memory is read where it lies if its address suits TensorRT, else copied on the GPU.

        Raises:
            BackendError: TensorRT failed.
            CudaError: CUDA failed.
            UsageError: an input that should be on this GPU is not.
        """
        answers: list[Answer] = []
        watch = current_stopwatch()
        with self._cuda.current():
            try:
                clock = None if watch is None else StageClock(watch, self._origin, self._computing)
                for at, window in enumerate(windows):
                    self._start(self._slots[at % SLOTS], window)
                    if at:
                        answers.append(self._collect(self._slots[(at - 1) % SLOTS], clock))
                answers.append(self._collect(self._slots[(len(windows) - 1) % SLOTS], clock))
            except BaseException:
                self._wait_quietly()  # Nobody may read the caller's memory after this.
                raise
        return answers

    def report_layers(self, profiler: Any) -> str:
        """Have TensorRT tell its profiler of each layer from now on, without graphs; the inspector's report."""
        for slot in self._slots:
            slot.graph = None
        self.graph = "plain launches: each layer is reported"
        return self._engine.report_layers(profiler)

    def compiled_kernels(self) -> bytes:
        """What TensorRT for RTX compiled for this GPU, for the next start; b"" without such a thing."""
        with self._cuda.current():
            return self._engine.compiled_kernels()

    def close(self) -> None:
        """Release everything; closing twice is harmless, and a lost GPU hinders nothing."""
        with ExitStack() as entered:
            try:
                entered.enter_context(self._cuda.current())
            except CudaError:
                pass  # It is lost or already closed; what the process holds is let go of all the same.
            else:
                self._wait_quietly()
            self._streams, self._slots = [], []
            self._resources.close()
        self._cuda.close()

    def _allocate(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._copying, self._computing = self._own(Stream(self._cuda)), self._own(Stream(self._cuda))
        self._streams = [self._copying, self._computing]
        self._elsewhere = self._own(Event(self._cuda))
        self._origin = self._timed_event()
        events = [StageEvents(*(self._timed_event() for _ in range(5))) for _ in range(SLOTS)]
        self._slots = [
            _Slot([self._tensor(spec) for spec in inputs], [self._tensor(spec) for spec in outputs], of_slot)
            for of_slot in events
        ]

    def _timed_event(self) -> Event:
        return self._own(Event(self._cuda, timed=True))

    def _tensor(self, spec: TensorSpec) -> _Tensor:
        shape = (1, *(self._lengths[-1] if size == "L" else int(size) for size in spec.shape[1:]))
        pinned = self._own(PinnedBuffer(self._cuda, shape, spec.dtype))
        return _Tensor(spec.name, pinned, self._own(DeviceBuffer(self._cuda, pinned.size)), "L" in spec.shape)

    def _warm_up(self) -> None:
        """Run each slot once with each length of text, which does what TensorRT leaves until then."""
        for slot in self._slots:
            for length in self._lengths or (0,):
                window = {
                    tensor.name: np.ones((1, length), np.int64)
                    if tensor.is_text
                    else np.zeros_like(tensor.pinned.array)
                    for tensor in slot.inputs
                }
                self._start(slot, window)
                self._collect(slot)

    def _capture(self) -> None:
        """Make a graph of each slot's inference; if that fails, `graph` says why and plain launches stay."""
        stream = self._computing
        if self._lengths:
            self.graph = "plain launches: a graph would hold for texts of one length alone"
            return
        if not self._engine.can_be_captured(int(stream.handle)):
            self.graph = f"plain launches: {self._flavour.name} says that this engine cannot be captured"
            return
        try:
            graphs = []
            with ExitStack() as partly:
                for slot in self._slots:
                    graphs.append(Graph(self._cuda, stream, partial(self._enqueue, slot, {})))
                    partly.callback(graphs[-1].close)
                partly.pop_all()
        except (CudaError, BackendError) as failure:
            reason = failure.problem if isinstance(failure, BackendError) else str(failure)
            self.graph = f"plain launches: capturing failed, {reason.rstrip('.')}"
            stream.finish()  # Raises where not only the capture, but the GPU, was lost.
            return
        for slot, graph in zip(self._slots, graphs, strict=True):
            slot.graph = self._own(graph)
        self.graph = CAPTURED

    def _start(self, slot: _Slot, window: Window) -> None:
        """Tell the streams all that a window needs; the slot's last outputs were collected before."""
        with span("copy_in"):
            in_place = self._stage(slot, window)
        if self._lengths:
            slot.length = next(window[tensor.name].shape[1] for tensor in slot.inputs if tensor.is_text)
            self._engine.set_length(slot.length)
        slot.events.begun.record(self._computing.handle)
        if slot.graph is None or in_place:
            self._enqueue(slot, in_place)
        else:
            slot.graph.launch(self._computing)
        slot.events.computed.record(self._computing.handle)
        for tensor in slot.outputs:  # A few numbers, and a stream of their own would cost more than it gains.
            self._cuda.copy(tensor.pinned.address, tensor.device.address, tensor.device.size, self._computing)
        slot.events.done.record(self._computing.handle)

    def _stage(self, slot: _Slot, window: Window) -> dict[str, int]:
        """Bring the inputs to the GPU; the addresses of those that stay where they are."""
        in_place: dict[str, int] = {}
        awaited: set[int] = set()
        slot.copied = False
        for tensor in slot.inputs:
            given = window[tensor.name]
            if isinstance(given, DeviceArray):
                self._await(given, tensor.name, awaited)
                if given.address % ALIGNMENT == 0:
                    in_place[tensor.name] = given.address
                else:
                    self._cuda.copy(tensor.device.address, given.address, given.nbytes, self._computing)
            else:
                np.copyto(tensor.pinned.array.ravel()[: given.size], given.ravel())
                if not slot.copied:
                    slot.events.sent.record(self._copying.handle)
                self._cuda.copy(tensor.device.address, tensor.pinned.address, given.nbytes, self._copying)
                slot.copied = True
        if slot.copied:
            slot.events.ready.record(self._copying.handle)
            self._computing.wait_for(slot.events.ready)
        return in_place

    def _await(self, given: DeviceArray, name: str, awaited: set[int]) -> None:
        """Have the computing stream wait until an array's owner has written it."""
        on_device, device = self._cuda.memory_of(given.address)
        if not on_device or device != self._cuda.device:
            where = f"on GPU {device}" if on_device else "not in GPU memory"
            raise UsageError(
                f"Input {name} is {where}; this session runs on GPU {self._cuda.device}.",
                "Copy it there, or pass a numpy array.",
            )
        if self._cuda.is_elsewhere(given.address):
            raise UsageError(
                f"Input {name} was made in another CUDA context than the GPU's primary one.",
                "With PyCUDA: import pycuda.autoprimaryctx instead of pycuda.autoinit.",
            )
        if given.ready_on not in awaited:
            self._elsewhere.record(given.ready_on)
            self._computing.wait_for(self._elsewhere)
            awaited.add(given.ready_on)

    def _enqueue(self, slot: _Slot, in_place: Mapping[str, int]) -> None:
        """Have TensorRT launch the inference in the computing stream."""
        addresses = {tensor.name: tensor.device.address for tensor in (*slot.inputs, *slot.outputs)}
        try:
            self._engine.launch({**addresses, **in_place}, int(self._computing.handle))
        except BackendError:
            self._cuda.call("cudaPeekAtLastError")  # A lost GPU says more than TensorRT does.
            raise

    def _collect(self, slot: _Slot, clock: StageClock | None = None) -> Answer:
        with waiting():
            slot.events.done.wait()
        if clock is not None:
            clock.note(slot.events, copied=slot.copied)
        with span("copy_out"):
            return {
                tensor.name: (tensor.pinned.array[:, : slot.length] if tensor.is_text else tensor.pinned.array).copy()
                for tensor in slot.outputs
            }

    def _wait_quietly(self) -> None:
        for stream in self._streams:
            self._cuda.release("cudaStreamSynchronize", stream.handle)

    def _own(self, resource: _Resource) -> _Resource:
        self._resources.callback(resource.close)
        return resource
