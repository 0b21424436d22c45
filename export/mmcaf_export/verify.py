"""An exported network held against its source, on every runtime that a workstation may use."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmcaf_engine.backends.factory import Network, make_backend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.errors import ExportError, Remedy, program
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.session.self_test import TOLERANCE

RUNTIMES = ("onnxruntime", "openvino")
REQUIRED = "onnxruntime"


@dataclass(frozen=True)
class Case:
    """Inputs and the source network's outputs, by name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    @property
    def batch(self) -> int:
        """Number of cases computed at once."""
        return len(next(iter(self.inputs.values())))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The inputs as numpy arrays that share the tensors' memory."""
        return {name: tensor.numpy() for name, tensor in self.inputs.items()}


@dataclass(frozen=True)
class Verification:
    """Largest |difference| from the source network over all cases and outputs; of scores, in logit units."""

    backend: str
    version: str
    batches: tuple[int, ...]
    max_abs_error: float


def verify(network: Network, cases: Sequence[Case]) -> tuple[tuple[Verification, ...], tuple[str, ...]]:
    """Run the cases on each available runtime and compare with the source network.

    The backends run a batch window by window; ONNX Runtime is also given each batch whole, since the
    network's batch is dynamic and other programs may use it so. Cases may differ in the length of their texts.

    Args:
        network: as a whole; where it has two parts beside it, those must answer as well where the runtime runs them.

    Returns:
        One verification per runtime, and in words which runtimes could not be tried and why.

    Raises:
        ExportError: a difference above the FP32 tolerance or a non-finite value, or ONNX Runtime is missing.
    """
    done: list[Verification] = []
    skipped: list[str] = []
    for name in RUNTIMES:
        runtime = backend_class(name)
        answer = runtime.availability()
        if not answer.available:
            if name == REQUIRED:
                raise ExportError(
                    f"The exported network cannot be verified: {answer.reason}.",
                    *answer.remedies,
                )
            skipped.append(f"{name} was not tried: {answer.reason}")
            continue
        worst = 0.0
        for reports in (0, 1) if network.parts is not None and runtime.can_split else (0,):
            with make_backend(runtime, network, usable_cores(), reports=reports) as backend:
                worst = max(
                    worst, *(_difference(backend.infer(case.arrays(), optional=True), case.outputs) for case in cases)
                )
        if name == REQUIRED:
            worst = max(
                worst, *(_difference(answer, case.outputs) for case, answer in _whole_batches(network.model, cases))
            )
        tolerance = TOLERANCE["fp32"]
        if not worst <= tolerance:
            raise ExportError(
                f"The exported network answers differently from its source on {name} {runtime.version()}: off by "
                f"{worst:.3g} in an output; at most {tolerance:g} is allowed. No bundle was written.",
                Remedy("Report this with the versions that are installed", command=program("doctor")),
            )
        batches = tuple(sorted({case.batch for case in cases}))
        done.append(Verification(name, runtime.version(), batches, worst))
    return tuple(done), tuple(skipped)


def _whole_batches(model: Path, cases: Sequence[Case]) -> Iterator[tuple[Case, dict[str, NDArray[np.float32]]]]:
    onnxruntime = backend_class(REQUIRED).runtime()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for case in cases:
        names = list(case.outputs)
        yield case, dict(zip(names, session.run(names, case.arrays()), strict=True))


def _difference(answers: Mapping[str, np.ndarray], expected: Mapping[str, Tensor]) -> float:
    """Largest |difference|; infinite when anything is not finite."""
    worst = 0.0
    for name, tensor in expected.items():
        difference = np.abs(answers[name].astype(np.float64) - tensor.numpy())
        worst = max(worst, float(difference.max())) if np.isfinite(difference).all() else np.inf
    return worst
