"""OpenVINO on the CPU."""

import io
import mmap
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO, ClassVar

import numpy as np

from ...cancel import are_limits
from ...errors import BackendError
from ...manifest import Precision, types_in
from ...settings import read_settings
from ...timing import span
from ...volume import Arrays
from ..base import Availability, Backend, Detail
from ..declared import Tensor, expect_inputs, expect_outputs
from ..node_time import NodeTime
from .devices import on_device, other_devices
from .importing import import_openvino
from .layers import SOURCE, Counters, node_times
from .operators import (
    add_operators,
    kernels_detail,
    kernels_fingerprint,
    kernels_in,
    kernels_missing,
    place_kernels,
)

_MADV_PAGEOUT = 21  # Linux 5.4; not among the constants of Python's mmap.


class OpenVinoBackend(Backend):
    """Compiled for one window, since fixed shapes make OpenVINO faster; for texts of every length up to the longest.

    One network compiled for each length that texts are padded to would answer 5 to 10 % sooner (BERT of 6 layers, 384
    wide) and hold its weights as many times.
    """

    name = "openvino"
    packages = ("openvino",)
    optional = False
    rank = 20
    can_split = True
    keeps_engines = True
    target: ClassVar[str] = "CPU"
    """The device, as OpenVINO names it."""
    _held: tuple[Any, ...] = ()

    @classmethod
    def auto_rank(cls) -> int | None:
        """Before ONNX Runtime on x86-64, whose vector units it uses best; after it elsewhere."""
        return 2 if platform.machine().lower() in ("x86_64", "amd64") else 4

    @classmethod
    def on(cls, device: str) -> type[Backend]:
        """cpu is this class; gpu, gpu.N, npu: `devices.on_device`."""
        return on_device(cls, device)

    @classmethod
    def other_devices(cls) -> Sequence[type[Backend]]:
        """Those that OpenVINO finds."""
        return other_devices(cls)

    @classmethod
    def details(cls) -> Sequence[Detail]:
        """Whether this project's kernels run in the place of OpenVINO's own operators."""
        return (kernels_detail(),)

    @classmethod
    def runtime(cls) -> Any:
        """OpenVINO, as `import_openvino` has it."""
        return import_openvino()

    @classmethod
    def _can_run(cls, precision: Precision) -> Availability:
        for units in sorted(one.upper() for one in types_in(precision) - {"int8"}):
            if units not in cls._capabilities():
                return Availability(False, f"this processor has no {units} units, so {units} would be slower than FP32")
        return super()._can_run(precision)

    @classmethod
    def hint(cls, precision: Precision) -> str:
        """FP32, but for FP16, which OpenVINO takes from the hint alone.

        Left alone, a processor with BF16 units would answer an FP32 network in BF16. A BF16 file says itself which
        layers are in BF16, and these stay so; with the hint bf16, OpenVINO would compute everything else in BF16 too,
        such as the sums and gates that the file keeps in FP32.
        """
        return "f16" if precision == "fp16" else "f32"

    @classmethod
    def follows_types(cls, precision: Precision) -> bool:
        """FP32 and BF16; of INT8 it moves scales through the graph, and with another hint it changes the types."""
        return precision in ("fp32", "bf16")

    @classmethod
    def _capabilities(cls) -> list[str]:
        found: list[str] = cls.runtime().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return found

    def engine_facts(self) -> dict[str, Any]:
        """As every backend, with the kernels that an engine may hold."""
        return super().engine_facts() | {"kernels": kernels_fingerprint() if self._has_kernels() else "none"}

    def layers(self) -> "CountingOpenVino":
        """With its counters on."""
        return self._like(CountingOpenVino)

    def _kernels(self) -> dict[str, int]:
        return kernels_in(self._compiled)

    def _configuration(self) -> dict[str, Any]:
        return {
            "INFERENCE_PRECISION_HINT": self.hint(self.precision),
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
        }

    def _open(self) -> None:
        core = self._core()
        network = self._network(core)
        if self._has_kernels():
            place_kernels(core, network)
        self._start(core.compile_model(network, self.target, self._configuration()))

    def placement(self) -> Any:
        """How this project's kernels are put into the network, an `Editor` of theirs; nothing is opened.

        Raises:
            BackendError: there are none here, or the runtime refuses the model.
            BundleError: the model is damaged or altered.
        """
        if (missing := kernels_missing()) is not None:
            raise BackendError(f"This project's kernels for OpenVINO are needed: {missing}.")
        with self._mapped("reading"), self.reading():
            core = self.runtime().Core()
            add_operators(core)  # Whether or not they are to answer here.
            return place_kernels(core, self._network(core))

    def _network(self, core: Any) -> Any:
        """The model with the shapes that it is compiled for."""
        openvino = self.runtime()
        network = core.read_model(self.model)
        expect_inputs(self.model.name, _declared(network.inputs), self.inputs)
        expect_outputs(self.model.name, _declared(network.outputs), self.outputs)
        free: dict[Any, Any] = {"N": 1}
        if self.lengths:
            free["L"] = openvino.Dimension(1, self.lengths[-1])
        network.reshape(
            {spec.name: openvino.PartialShape([free.get(axis, axis) for axis in spec.shape]) for spec in self.inputs}
        )
        return network

    def _core(self) -> Any:
        core = self.runtime().Core()
        if self._has_kernels():
            add_operators(core)
        return core

    def _has_kernels(self) -> bool:
        """Whether this project's kernels, which are of the processor, run in it."""
        settled = self.own_kernels and self.target == "CPU" and read_settings().kernels
        return settled and not kernels_missing()

    def _export(self, output: BinaryIO) -> None:
        stream = _ToFile(output)
        self._compiled.export_model(stream)
        if stream.failure is not None:
            raise stream.failure

    def _import(self, engine: mmap.mmap) -> None:
        openvino = self.runtime()
        memory = np.frombuffer(engine, np.uint8)
        tensor = openvino.Tensor(memory, shared_memory=True)
        self._start(self._core().import_model(tensor, self.target, self._configuration()))
        # OpenVINO goes on using weights where they lie, without holding on to that memory.
        self._held = (memory, tensor)
        if sys.platform == "linux":
            # Most weights were copied into the order that the processor prefers. An older kernel keeps both.
            with suppress(OSError):
                engine.madvise(_MADV_PAGEOUT)

    def _start(self, compiled: Any) -> None:
        self._compiled = compiled
        self._request: Any = compiled.create_infer_request()

    def _infer(self, window: Arrays) -> Arrays:
        if are_limits():  # Only a request that runs beside this thread can be cancelled.
            self._request.start_async(window)
            self._request.wait()
        else:
            self._request.infer(window)
        with span("copy_out"):
            return {spec.name: self._request.get_tensor(spec.name).data.copy() for spec in self.outputs}

    def _interrupt(self) -> None:
        self._request.cancel()

    def _close(self) -> None:
        del self._request, self._compiled
        self._held = ()


class CountingOpenVino(OpenVinoBackend):
    """The backend with its counters on."""

    source = SOURCE

    def start_counting(self) -> None:
        """Leave out all windows until now."""
        self._counters.start()

    def counted(self, extra_ms: float = 0.0) -> list[NodeTime]:
        """Every node that was executed, on the mean of the windows since."""
        return node_times(self._compiled, self._counters)

    def _configuration(self) -> dict[str, Any]:
        return {**super()._configuration(), "PERF_COUNT": True}

    def _start(self, compiled: Any) -> None:
        super()._start(compiled)
        self._counters = Counters(self._request)

    def _infer(self, window: Arrays) -> Arrays:
        answer = super()._infer(window)
        self._counters.windows += 1
        return answer


class _ToFile(io.BytesIO):
    """What OpenVINO takes for memory and is a file, so that an engine is never in memory as a whole."""

    def __init__(self, output: BinaryIO) -> None:
        super().__init__()
        self._output = output
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Errors are kept, since OpenVINO swallows what is raised here."""
        if self.failure is None:
            try:
                return self._output.write(data)
            except OSError as failure:
                self.failure = failure
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._output.seek(offset, whence)

    def tell(self) -> int:
        return self._output.tell()


_TYPES = {"f32": "float32", "i64": "int64"}


def _declared(ports: Sequence[Any]) -> dict[str, Tensor]:
    """By each of the names that a tensor has."""
    found: dict[str, Tensor] = {}
    for port in ports:
        kind, shape = port.get_element_type().to_string(), port.get_partial_shape()
        axes = None if shape.rank.is_dynamic else [None if axis.is_dynamic else axis.get_length() for axis in shape]
        found |= dict.fromkeys(port.get_names(), Tensor(_TYPES.get(kind, kind), axes))
    return found


BACKEND = OpenVinoBackend
