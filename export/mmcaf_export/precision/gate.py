"""The gate: sessions for every precision, also those that this processor has no units for."""

from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.inputs import Input
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_engine.cancel import Progress
from mmcaf_engine.errors import BackendError
from mmcaf_engine.manifest import Precision
from mmcaf_engine.session.choice import Choice, backend_for
from mmcaf_engine.session.first_opening import done_apart, first_of
from mmcaf_engine.session.session import Session, open_session
from mmcaf_engine.volume import Arrays

from ..onnx_files import load_model, save_model
from .course import Course, arrays_sha256, model_sha256
from .self_tests import kinds_for
from .typed import simulate_precision


@contextmanager
def sessions(
    bundle: Bundle,
    models: Mapping[Precision, Path],
    kept: Mapping[Precision, Collection[str]],
    processor: type[Backend],
    scratch: Path,
    course: Course,
) -> Iterator[dict[Precision, Session]]:
    """A session for every model, by precision; what an interrupted run has had it answer is not computed again.

    FP32 and INT8 run on `processor`, a backend of the CPU. FP16 and BF16 run in ONNX Runtime as FP32 with every value
    rounded through the type, which judges the network alike on every machine; the units of a processor
    that has them are held to the golden cases when a session is opened there.
    """
    with ExitStack() as stack:
        opened: dict[Precision, Session] = {}
        for precision, model in models.items():
            if precision == "fp16" or precision == "bf16":
                network = load_model(models["fp32"])
                simulate_precision(network, precision, kept.get(precision, ()))
                model = scratch / f"simulated.{precision}.onnx"
                save_model(network, model)
                kind = backend_class("onnxruntime")
            else:
                kind = processor
            choice = Choice(kind, precision)
            backend = stack.enter_context(backend_for(bundle, choice, model=model))
            opened[precision] = _Measured(bundle, choice, backend, course, model)
        yield opened


def try_first(bundle: Bundle, judge: type[Backend]) -> None:
    """Where a caller wants that, have all that the bundle holds opened in a process that can be ended, by what runs it.

    Raises:
        BundleError, BackendError: as `FirstOpening.run`; of a lower precision, only what ends that process.
    """
    for kind in {backend_class("onnxruntime"), judge}:
        backend = backend_for(bundle, Choice(kind, "fp32"))
        if (first := first_of(bundle, backend, keep=False)) is not None:
            first()
    for precision in bundle.manifest.models:
        for kind in () if precision == "fp32" else kinds_for(precision):
            given = {"backend": kind.name, "precision": precision}
            called = f"{bundle.manifest.name} in {kind.name} {precision}"
            done_apart(bundle, f"{__name__}:open_once", given, called=called, done="open and self-tested")


def open_once(bundle: Bundle, *, backend: str, precision: Precision, progress: Progress) -> None:
    """Open a network and self-test it; what it does not pass, the judging finds again."""
    with suppress(BackendError), open_session(bundle, backend=backend, precision=precision, progress=progress):
        pass


class _Measured(Session):
    """A session whose answers are kept in the journal."""

    def __init__(self, bundle: Bundle, choice: Choice, backend: Backend, course: Course, model: Path) -> None:
        super().__init__(bundle, choice, backend)
        self._course = course
        self._facts = ["answer", backend.name, backend.kind.build(), backend.precision, model_sha256(model)]

    def run(self, inputs: Mapping[str, Input], *, optional: bool = False) -> Arrays:
        """As every session."""
        given = {name: np.asarray(array) for name, array in inputs.items()}
        found = self._course.measured(
            [*self._facts, arrays_sha256([given]), optional],
            lambda: {
                name: _as_json(array) for name, array in super(_Measured, self).run(inputs, optional=optional).items()
            },
        )
        return {
            name: np.frombuffer(b64decode(data), np.float32).reshape(shape).copy()
            for name, (shape, data) in found.items()
        }


def _as_json(array: Any) -> list[Any]:
    """Shape and values of float32, bit by bit."""
    return [list(array.shape), b64encode(np.ascontiguousarray(array, np.float32).tobytes()).decode()]
