"""ONNX Runtime on the CPU."""

from typing import Any

from .base import Arrays, Backend


class OnnxRuntimeBackend(Backend):
    """The network as ONNX Runtime's CPU provider optimises it."""

    name = "onnxruntime"

    def _open(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        # Without the arena, memory is given back between nodes: a sixth less at the peak, and no slower.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])

    def _infer(self, window: Arrays) -> Arrays:
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, self._session.run(names, window), strict=True))

    def _close(self) -> None:
        del self._session
