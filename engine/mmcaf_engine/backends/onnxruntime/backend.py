"""ONNX Runtime on the CPU."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...manifest import Precision, TensorSpec, types_in
from ...outputs import new_temporary_folder
from ...volume import Arrays
from ..base import Availability, Backend, Window
from ..declared import Tensor, expect_inputs, expect_outputs
from ..node_time import NodeTime
from .layers import SOURCE, read_profile


class OnnxRuntimeBackend(Backend):
    """The network as ONNX Runtime's CPU provider optimises it.

    What it optimised is not kept: it opens a model within a few tenths of a second, with or without that.
    """

    name = "onnxruntime"
    packages = ("onnxruntime", "onnxruntime-gpu")
    optional = False
    rank = 30
    can_split = True

    @classmethod
    def auto_rank(cls) -> int | None:
        """Between the places that OpenVINO has on x86-64 and elsewhere."""
        return 3

    @classmethod
    def runtime(cls) -> Any:
        """ONNX Runtime with its telemetry off, which writes to the temporary folder and is built to use the network."""
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        return super().runtime()

    @classmethod
    def _can_run(cls, precision: Precision) -> Availability:
        if lacking := types_in(precision) - {"int8"}:
            return Availability(False, f"its CPU provider has no {min(lacking).upper()} convolutions")
        return super()._can_run(precision)

    def layers(self) -> "CountingOnnxRuntime":
        """With its profiler on."""
        return self._like(CountingOnnxRuntime)

    def _open(self) -> None:
        session = self.runtime().InferenceSession
        self._run: Any = None
        self._session: Any = session(self.model, self._options(), providers=["CPUExecutionProvider"])
        expect_inputs(self.model.name, _declared(self._session.get_inputs()), self.inputs)
        expect_outputs(self.model.name, _declared(self._session.get_outputs()), self.outputs)

    def _options(self) -> Any:
        onnxruntime = self.runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        # Without the arena, memory is given back between nodes: a sixth less at the peak, and no slower.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        # Threads that still look for work after an answer are in the way of the next session's: of a network in two
        # parts, the second's.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 4  # What it would print holds names from the model; its exceptions say the same.
        return options

    def _infer(self, window: Arrays) -> Arrays:
        return self._answer(window, self.outputs)

    def _infer_some(self, windows: Sequence[Window], outputs: Sequence[TensorSpec]) -> list[Arrays]:
        return [self._in_turn(lambda given: self._answer(given, outputs), window) for window in windows]

    def _answer(self, window: Window, outputs: Sequence[TensorSpec]) -> Arrays:
        names = [spec.name for spec in outputs]
        self._run = self.runtime().RunOptions()
        return dict(zip(names, self._session.run(names, window, self._run), strict=True))

    def _interrupt(self) -> None:
        if self._run is not None:
            self._run.terminate = True

    def _close(self) -> None:
        del self._session


class CountingOnnxRuntime(OnnxRuntimeBackend):
    """The backend with its profiler on, which writes to a folder of its own that is removed with the session."""

    source = SOURCE
    _windows = 0
    _left_out = 0

    def start_counting(self) -> None:
        """Leave out all windows until now."""
        self._left_out = self._windows

    def counted(self, extra_ms: float = 0.0) -> list[NodeTime]:
        """Every node, on the mean of the windows since; ends the profile."""
        file = Path(self._session.end_profiling())
        return read_profile(file.read_bytes(), self._left_out, self._windows, extra_ms)

    def _options(self) -> Any:
        self._folder = new_temporary_folder()
        options = super()._options()
        options.enable_profiling = True
        options.profile_file_prefix = str(self._folder / "layers")
        return options

    def _answer(self, window: Window, outputs: Sequence[TensorSpec]) -> Arrays:
        self._windows += 1
        return super()._answer(window, outputs)

    def _close(self) -> None:
        super()._close()
        shutil.rmtree(self._folder, ignore_errors=True)


_TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}


def _declared(tensors: Sequence[Any]) -> dict[str, Tensor]:
    """An axis that is free has a name, or none; a tensor of free rank has no axes, as a scalar has."""
    return {
        tensor.name: Tensor(
            _TYPES.get(tensor.type, tensor.type),
            [axis if isinstance(axis, int) else None for axis in tensor.shape] or None,
        )
        for tensor in tensors
    }


BACKEND = OnnxRuntimeBackend
