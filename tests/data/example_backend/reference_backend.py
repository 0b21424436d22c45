"""A backend for mmcaf-infer on the reference evaluator of the package onnx: plain numpy, exact and slow."""

import time
from typing import Any

from mmcaf_engine.backends.base import Availability, Backend
from mmcaf_engine.backends.node_time import NodeTime
from mmcaf_engine.manifest import Precision
from mmcaf_engine.volume import Arrays


class ReferenceBackend(Backend):
    """The network node by node, as the ONNX operators' reference implementations compute it."""

    name = "reference"  # as people write it: --backend reference; the entry point has the same name
    packages = ("onnx",)

    @classmethod
    def runtime(cls) -> Any:
        """Imported here and not on top, so that nothing is loaded before somebody asks for this backend."""
        import onnx.reference

        return onnx

    @classmethod
    def _can_run(cls, precision: Precision) -> Availability:
        if precision != "fp32":
            return Availability(False, "it computes in the type of each tensor, without any gain from lower ones")
        return Availability(True, "it runs fp32")

    def _open(self) -> None:
        self._evaluator = self.runtime().reference.ReferenceEvaluator(str(self.model))

    def _infer(self, window: Arrays) -> Arrays:
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, self._evaluator.run(names, dict(window)), strict=True))

    def _close(self) -> None:
        del self._evaluator

    def layers(self) -> "CountingReference":
        """One that tells the time of every node, for mmcaf profile."""
        return self._like(CountingReference)


class CountingReference(ReferenceBackend):
    """Notes what each node takes."""

    source = "the clock around each node's implementation"

    def _open(self) -> None:
        super()._open()
        self._spent: dict[int, float] = {}
        self._windows = 0
        for at, node in enumerate(self._evaluator.rt_nodes_):
            node.run = self._timed(at, node.run)

    def _timed(self, at: int, run: Any) -> Any:
        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            outputs = run(*arguments, **options)
            self._spent[at] = self._spent.get(at, 0.0) + (time.perf_counter() - started) * 1e3
            return outputs

        return timed

    def _infer(self, window: Arrays) -> Arrays:
        self._windows += 1
        return super()._infer(window)

    def start_counting(self) -> None:
        """Leave out all windows until now."""
        self._spent, self._windows = {}, 0

    def counted(self, extra_ms: float) -> list[NodeTime]:
        """Every node, on the mean of the windows since; no shapes are known, so no operations either."""
        nodes = [(node.onnx_node, self._spent[at]) for at, node in enumerate(self._evaluator.rt_nodes_)]
        return [NodeTime(node.name, node.op_type, (node.name,), ms / self._windows, None, None) for node, ms in nodes]
