"""ONNX Runtime on the CPU."""

import os
from typing import Any

from ...manifest import Precision
from ...volume import Arrays
from ..base import Availability, Backend


class OnnxRuntimeBackend(Backend):
    """The network as ONNX Runtime's CPU provider optimises it.

    What it optimised is not kept: it opens a model within a few tenths of a second, with or without that.
    """

    name = "onnxruntime"

    @classmethod
    def runtime(cls) -> Any:
        """ONNX Runtime with its telemetry off, which writes to the temporary folder and is built to use the network."""
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        return super().runtime()

    @classmethod
    def _can_run(cls, precision: Precision) -> Availability:
        if precision in ("fp16", "bf16"):
            return Availability(False, f"its CPU provider has no {precision.upper()} convolutions")
        return super()._can_run(precision)

    def _open(self) -> None:
        session = self.runtime().InferenceSession
        self._run: Any = None
        self._session: Any = session(self.model, self._options(), providers=["CPUExecutionProvider"])

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
        options.log_severity_level = 3
        return options

    def _infer(self, window: Arrays) -> Arrays:
        names = [spec.name for spec in self.outputs]
        self._run = self.runtime().RunOptions()
        return dict(zip(names, self._session.run(names, window, self._run), strict=True))

    def _interrupt(self) -> None:
        if self._run is not None:
            self._run.terminate = True

    def _close(self) -> None:
        del self._session
