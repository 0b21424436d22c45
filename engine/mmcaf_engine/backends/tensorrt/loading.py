"""An engine as TensorRT's objects: loaded, launched and let go of; one that does not fit is refused with the reason."""

import mmap
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import BackendError, Remedy, program
from ...manifest import TensorSpec
from ..remedies import BUILD_AGAIN, OTHER_BACKEND, SEE_WHAT_RUNS
from .cuda_errors import out_of_memory
from .flavour import Flavour, captured_log, in_short
from .network import data_type

Plan = bytes | mmap.mmap
"""An engine's bytes."""

_REMEDIES = (BUILD_AGAIN, Remedy("See which are cached", command=program("cache", "list")))

_DIAGNOSES = {
    "VERSION_MISMATCH": "version: it was built by another one than {version}",
    "UNSUPPORTED_CC": "compute capability: it was not built for this GPU's, {capability}",
    "OLD_CUDA_DRIVER": "driver: {driver} is older than the engine needs",
    "OLD_CUDA_RUNTIME": "CUDA runtime: it is older than the engine needs",
    "INSUFFICIENT_GPU_MEMORY": "memory: the GPU has less than the engine needs",
    "MALFORMED_ENGINE": "format: it is damaged or no engine",
    "CUDA_ERROR": "CUDA: driver or runtime is not installed as it should be",
}

_SAID = (
    ("compute capability", re.compile(r"expecting compute ([\d.]+) got compute ([\d.]+)")),
    ("version", re.compile(r"expecting library version ([\d.]+) got ([\d.]+)")),
    ("version tag", re.compile(r"Current Version: ?(\d+), Serialized Engine Version: ?(\d+)")),
)
"""TensorRT's words about what differs: (expected here, found in the engine)."""

_NO_MEMORY = re.compile(r"out ?of ?memory|insufficient memory|cudaErrorMemoryAllocation", re.IGNORECASE)
_DAMAGED = re.compile(r"magic|truncat|corrupt|serializ\w* assertion|checksum|unexpected end", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """What an engine is called and where it runs, for messages: compute capability "8.6", the driver's version."""

    engine: str
    capability: str
    driver: str


class Engine:
    """An engine for one window, ready to be launched on the current GPU.

    Args:
        inputs: as the manifest has them; so `outputs`.
        kernels: what an earlier `compiled_kernels` gave for this engine, or b"".
        free_memory: gives the free bytes on the GPU, for messages.
        longest: tokens of the longest text, where an input is a text; 1 without.

    Raises:
        BackendError: it was built by another version or for another GPU, is damaged, does not fit the driver, or has
            other inputs or outputs, and the message names which; or TensorRT failed.
    """

    def __init__(
        self,
        flavour: Flavour,
        plan: Plan,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        place: Place,
        kernels: bytes,
        free_memory: Callable[[], int],
        longest: int = 1,
    ) -> None:
        self._flavour = flavour
        self._place = place
        self._free_memory = free_memory
        self._log = captured_log(flavour)
        self._runtime: Any = None
        self._engine: Any = None
        self._kernels: Any = None
        self._config: Any = None
        self._context: Any = None
        try:
            self._runtime = flavour.module.Runtime(self._log.logger)
            self._engine = self._load(plan)
            check_tensors(flavour, self._engine, inputs, outputs)
            self._context = self._create_context(kernels)
            self._inputs, self._length = inputs, 0
            self.set_length(longest)
        except BaseException:
            self.close()
            raise

    def can_be_captured(self, stream: int) -> bool:
        """Whether a launch can become part of a CUDA graph, as far as TensorRT says."""
        ask: Callable[[int], bool] | None = getattr(self._context, "is_stream_capturable", None)
        return ask is None or ask(stream)

    def set_length(self, length: int) -> None:
        """Have the next launches read texts of so many tokens.

        Raises:
            BackendError: TensorRT failed.
        """
        if length == self._length:
            return
        with self._log.errors() as said:
            for spec in self._inputs:
                shape = (1, *(length if axis == "L" else axis for axis in spec.shape[1:]))
                if not self._context.set_input_shape(spec.name, shape):
                    raise self._failed(f"setting the shape of {spec.name} of", said)
        self._length = length

    def launch(self, addresses: Mapping[str, int], stream: int) -> None:
        """Have a stream run one window between these addresses on the GPU.

        Raises:
            BackendError: TensorRT failed.
        """
        with self._log.errors() as said:
            for name, address in addresses.items():
                if not self._context.set_tensor_address(name, address):
                    raise self._failed(f"binding {name} of", said)
            if not self._context.execute_async_v3(stream):
                raise self._failed("running", said)

    def report_layers(self, profiler: Any) -> str:
        """Have an IProfiler told of each layer from now on; what the inspector says of the layers, as JSON text."""
        self._context.profiler = profiler
        trt = self._flavour.module
        return str(self._engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))

    def compiled_kernels(self) -> bytes:
        """What TensorRT for RTX compiled for this GPU, for the next start; b"" of TensorRT."""
        return b"" if self._kernels is None else bytes(self._kernels.serialize() or b"")

    def close(self) -> None:
        """Let go of TensorRT's objects, none of which may outlive what it was made from."""
        for name in ("_context", "_config", "_kernels", "_engine", "_runtime"):
            setattr(self, name, None)

    def _load(self, plan: Plan) -> Any:
        flavour, place = self._flavour, self._place
        if reasons := _diagnosed(flavour, self._runtime, plan, place):
            raise _unfit(flavour, place.engine, "; ".join(reasons))
        with self._log.errors() as said:
            engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise _unfit(flavour, place.engine, explain(said))
        return engine

    def _create_context(self, kernels: bytes) -> Any:
        """For TensorRT for RTX with its kernels, each compiled before it is first used: so the bits never change."""
        trt = self._flavour.module
        with self._log.errors() as said:
            if not hasattr(trt, "IRuntimeCache"):
                context = self._engine.create_execution_context()
            else:
                config = self._config = self._engine.create_runtime_config()
                eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
                config.dynamic_shapes_kernel_specialization_strategy = eager
                self._kernels = config.create_runtime_cache()
                if kernels:
                    self._kernels.deserialize(kernels)  # Those of another driver are refused, and compiled again.
                config.set_runtime_cache(self._kernels)
                context = self._engine.create_execution_context(config)
            if context is None:
                raise self._failed("loading", said, self._engine.device_memory_size_v2)
        return context

    def _failed(self, doing: str, said: list[str], needed: int | None = None) -> BackendError:
        what = f"{doing} {self._place.engine}"
        if _NO_MEMORY.search(" ".join(said)):
            return out_of_memory(what, needed, self._free_memory())
        return BackendError(
            f"{self._flavour.name} {self._flavour.version} failed while {what}: {in_short(said)}.",
            OTHER_BACKEND,
            SEE_WHAT_RUNS,
        )


def explain(said: list[str]) -> str:
    """What differs, named first where TensorRT's words tell it, and its words."""
    words = " ".join(said)
    for field, pattern in _SAID:
        if found := pattern.search(words):
            return f"{field}: {found[2]} ({found[1]} is expected)"
    return f"format: it is damaged ({in_short(said)})" if _DAMAGED.search(words) else in_short(said)


def check_tensors(flavour: Flavour, engine: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Compare an engine's inputs and outputs with the manifest's, for one window.

    Raises:
        BackendError: a name, shape or type differs.
    """
    trt = flavour.module
    modes = {trt.TensorIOMode.INPUT: inputs, trt.TensorIOMode.OUTPUT: outputs}
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    for mode, specs in modes.items():
        found = {name for name in names if engine.get_tensor_mode(name) == mode}
        expected = {spec.name for spec in specs}
        if found != expected:
            raise _unfit(flavour, "The engine", f"{mode.name.lower()}s: {sorted(found)} ({sorted(expected)} expected)")
        for spec in specs:
            shape, dtype = tuple(engine.get_tensor_shape(spec.name)), engine.get_tensor_dtype(spec.name)
            wanted = tuple(-1 if axis == "L" else axis for axis in spec.shape[1:])
            fits = len(shape) == len(spec.shape) and shape[0] in (1, -1) and shape[1:] == wanted
            expected_type = data_type(flavour, spec)
            if not fits or dtype != expected_type:
                what = f"{spec.name}: {dtype.name} {list(shape)} ({expected_type.name} {list(spec.shape)} expected)"
                raise _unfit(flavour, "The engine", what)


def _diagnosed(flavour: Flavour, runtime: Any, plan: Plan, place: Place) -> list[str]:
    """What TensorRT for RTX finds wrong from the engine's header; TensorRT has no such check."""
    if not hasattr(runtime, "get_engine_validity"):
        return []
    with captured_log(flavour).errors() as said:
        validity, diagnostics = runtime.get_engine_validity(plan)
    if validity != flavour.module.EngineValidity.INVALID:
        return []
    flags = flavour.module.EngineInvalidityDiagnostics.__members__
    facts = {"version": f"{flavour.name} {flavour.version}", "capability": place.capability, "driver": place.driver}
    found = [
        _DIAGNOSES.get(flag, flag.lower()).format(**facts) for flag, bit in flags.items() if int(diagnostics) & int(bit)
    ]
    return found or [explain(said)]


def _unfit(flavour: Flavour, name: str, reason: str) -> BackendError:
    return BackendError(f"{name} does not fit {flavour.name} {flavour.version} on this machine. {reason}.", *_REMEDIES)
