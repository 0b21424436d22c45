"""OpenVINO on the CPU."""

from typing import Any

from .base import Arrays, Backend


class OpenVinoBackend(Backend):
    """Compiled for one window, since fixed shapes make OpenVINO faster."""

    name = "openvino"

    def _open(self) -> None:
        import openvino

        core = openvino.Core()
        network = core.read_model(self.model)
        network.reshape({spec.name: [1, *spec.shape[1:]] for spec in self.inputs})
        compiled = core.compile_model(
            network,
            "CPU",
            {
                # Without the hint a CPU with BF16 units would answer an FP32 network in BF16.
                "INFERENCE_PRECISION_HINT": "f32",
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": self.threads,
                "NUM_STREAMS": 1,
            },
        )
        self._request: Any = compiled.create_infer_request()

    def _infer(self, window: Arrays) -> Arrays:
        self._request.infer(window)
        return {spec.name: self._request.get_tensor(spec.name).data.copy() for spec in self.outputs}

    def _close(self) -> None:
        del self._request
