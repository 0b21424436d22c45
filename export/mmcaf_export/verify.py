"""An exported network held against its source, on every runtime that a workstation may use."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmcaf_engine.backends.factory import Network, make_backend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.errors import BackendError, ExportError, Remedy, program, with_cause
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.machine.memory import lacks_memory
from mmcaf_engine.session.self_test import TOLERANCE

from .onnx_faults import ONE_CASE

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


def verify(
    network: Network, cases: Sequence[Case], batch: int | None = None
) -> tuple[tuple[Verification, ...], tuple[str, ...]]:
    """Run the cases on each available runtime and compare with the source network.

    The backends run a batch window by window; ONNX Runtime is also given each batch whole, since the
    network's batch is dynamic and other programs may use it so. Cases may differ in the length of their texts.

    Args:
        network: as a whole; where it has two parts beside it, those must answer as well where the runtime runs them.
        batch: the model's, where it is not dynamic: only cases of this batch are then given whole.

    Returns:
        One verification per runtime, and in words which runtimes could not be tried and why.

    Raises:
        ExportError: a difference above the FP32 tolerance or a non-finite value, a runtime that fails, or ONNX Runtime
            is missing.
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
            with (
                translating_runtime_errors(name),
                make_backend(runtime, network, usable_cores(), reports=reports) as backend,
            ):
                worst = max(
                    worst, *(_difference(backend.infer(case.arrays(), optional=True), case.outputs) for case in cases)
                )
        tolerance = TOLERANCE["fp32"]
        if name == REQUIRED:
            whole = max(_of_whole_batches(network.model, cases, batch), default=0.0)
            if worst <= tolerance < whole:
                raise ExportError(
                    "The exported network answers right for one case at a time, but not for several: off by "
                    f"{whole:.3g} in an output of a batch of {max(case.batch for case in cases)} on {name} "
                    f"{runtime.version()}; at most {tolerance:g} is allowed. No bundle was written.",
                    *ONE_CASE,
                )
            worst = max(worst, whole)
        if not worst <= tolerance:
            raise ExportError(
                f"The exported network answers differently from its source on {name} {runtime.version()}: off by "
                f"{worst:.3g} in an output; at most {tolerance:g} is allowed. No bundle was written.",
                Remedy("Report this with the versions that are installed", command=program("doctor")),
            )
        batches = tuple(sorted({case.batch for case in cases}))
        done.append(Verification(name, runtime.version(), batches, worst))
    return tuple(done), tuple(skipped)


@contextmanager
def translating_runtime_errors(name: str) -> Iterator[None]:
    """Say of a runtime that cannot run the exported network why, whole: no study is in hand.

    Raises:
        ExportError: in place of the backend's error.
    """
    try:
        yield
    except BackendError as refusal:
        found = with_cause(refusal)
        kept = [remedy for remedy in found.remedies if remedy.option not in ("backend", "precision")]
        raise ExportError(
            f"The exported network cannot be run by {name}: {found.problem} No bundle was written.", *kept
        ) from refusal


def _of_whole_batches(model: Path, cases: Sequence[Case], batch: int | None) -> Iterator[float]:
    """The difference of each case that is given whole; infinite where a batch of several cannot be run."""
    onnxruntime = backend_class(REQUIRED).runtime()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for case in cases:
        if batch not in (None, case.batch):
            continue
        names = list(case.outputs)
        try:
            found = dict(zip(names, session.run(names, case.arrays()), strict=True))
        except Exception as failure:
            if case.batch == 1 or lacks_memory(failure):
                raise
            yield np.inf  # Its nodes were traced for another batch.
        else:
            yield _difference(found, case.outputs)


def _difference(answers: Mapping[str, np.ndarray], expected: Mapping[str, Tensor]) -> float:
    """Largest |difference|; infinite when anything is not finite."""
    worst = 0.0
    for name, tensor in expected.items():
        if answers[name].shape != tensor.shape:
            return np.inf
        difference = np.abs(answers[name].astype(np.float64) - tensor.numpy())
        worst = max(worst, float(difference.max())) if np.isfinite(difference).all() else np.inf
    return worst
