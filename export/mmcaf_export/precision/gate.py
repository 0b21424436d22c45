"""The gate: sessions for every precision, also those that this processor has no units for."""

from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.inputs import Input
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.bundle.accuracy import Accuracy, Judged, PrecisionAccuracy
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_engine.cancel import Progress
from mmcaf_engine.errors import BackendError
from mmcaf_engine.evaluation.compare import CohortScores, agreement
from mmcaf_engine.manifest import Precision, types_in
from mmcaf_engine.result.decisions import decision_for
from mmcaf_engine.session.choice import Choice, backend_for, processor_backends
from mmcaf_engine.session.first_opening import done_apart, first_of
from mmcaf_engine.session.judged import as_written, configuration
from mmcaf_engine.session.session import Session, open_session
from mmcaf_engine.volume import Arrays

from ..onnx_files import load_model, save_model
from .course import Course, arrays_sha256, model_sha256
from .maps import simulate_bf16
from .self_tests import kinds_for
from .typed import simulate_precision


@dataclass
class Verdict:
    """What the gate finds of one precision.

    backend: the one that judges. facts: compared with FP32, in every way that it runs here. others: by backend, why it
    does not pass the self-test there.
    """

    precision: Precision
    backend: str
    facts: PrecisionAccuracy
    others: dict[str, list[str]] = field(default_factory=dict)

    def fail(self, backend: str, *reasons: str) -> None:
        """Take down why it does not pass the self-test in a backend, in words that name it."""
        if backend == self.backend:
            self.facts = self.facts.failing(*reasons)
        elif reasons:
            self.others.setdefault(backend, []).extend(reasons)

    def everywhere(self) -> PrecisionAccuracy:
        """As it is if it is to pass in every backend."""
        return self.facts.failing(*(reason for reasons in self.others.values() for reason in reasons))

    def where_it_passed(self) -> PrecisionAccuracy:
        """It passes where it keeps its bounds everywhere; where it fails the self-test alone, it does not answer.

        That is of INT8 alone, whose stored answers are those of the backend that judges: rounded values add up
        otherwise in each. Other types are what the file says they are, in whatever computes them.
        """
        if self.facts.passed and "int8" in types_in(self.precision):
            return self.facts.excluding(self.others)
        return self.everywhere()


@dataclass(frozen=True)
class Panel:
    """Open sessions of every precision, in each way that it is judged in.

    first: by precision; each one's figures are those that the bundle tells. further: of the other ways. written: those
    whose verdict holds for every backend that computes each value in the type that the file gives it.
    """

    first: dict[Precision, Session]
    further: list[Session]
    written: list[Session]

    def add(self, session: Session, *, written: bool = False) -> None:
        """One more way of its precision."""
        if self.first.setdefault(session.precision, session) is not session:
            self.further.append(session)
        if written:
            self.written.append(session)

    def judged(self, accuracy: Accuracy, outcome: CohortScores, bundle: Bundle) -> dict[Precision, Verdict]:
        """Each precision's verdict, of every way that it was judged in.

        Args:
            accuracy, outcome: as `evaluate` gives them of `first` and `further`.
        """
        found: dict[Precision, Verdict] = {}
        for precision, facts in accuracy.precisions.items():
            verdicts = [(self.first[precision], facts)]
            for session, scores in zip(self.further, outcome.others, strict=True):
                if session.precision == precision:
                    given = outcome.scores["fp32"], scores, outcome.labels, decision_for(bundle.manifest), facts.bound
                    verdicts.append((session, agreement(*given)))
            reasons = [f"in {one.backend}, {reason}" for one, verdict in verdicts[1:] for reason in verdict.reasons]
            judged = tuple(self._judged(one, verdict) for one, verdict in verdicts)
            facts = facts.failing(*reasons).model_copy(update={"judged": judged})
            found[precision] = Verdict(precision, self.first[precision].backend, facts)
        return found

    def _judged(self, session: Session, verdict: PrecisionAccuracy) -> Judged:
        own = configuration(session.choice.backend, session.precision, session.describe()["kernels"])
        return Judged(
            configuration=as_written(session.precision) if session in self.written else own,
            runtime=verdict.runtime,
            max_probability_difference=verdict.max_probability_difference,
            max_logit_difference=verdict.max_logit_difference,
            flips=verdict.flips.fraction,
        )


@contextmanager
def sessions(
    bundle: Bundle,
    models: Mapping[Precision, Path],
    kept: Mapping[Precision, Collection[str]],
    processor: type[Backend],
    on_gpu: Collection[Precision],
    scratch: Path,
    course: Course,
) -> Iterator[Panel]:
    """Sessions of every model, as it will run; what an interrupted run has had them answer is not computed again.

    FP32 runs on `processor`, a backend of the CPU. Every other precision runs in each backend that "auto" may take on
    this processor; where kernels of this project take part, also without them. What has convolutions in FP16 or BF16
    also runs in ONNX Runtime with these in FP32 and every value rounded through the type, which judges the file alike
    on every machine, also one without units for it.

    Args:
        kept: layers that FP16 and BF16 leave in FP32.
        on_gpu: precisions that were made for a GPU, which are judged in ONNX Runtime alone.
    """
    panel = Panel({}, [], [])
    with ExitStack() as stack:
        for precision, model in models.items():
            simulated = _simulated(precision, models, kept.get(precision, ()), scratch)
            for kind, file, written in _ways(precision, model, simulated, processor, precision in on_gpu):
                session = _opened(bundle, Choice(kind, precision), file, course, stack)
                panel.add(session, written=written)
                if precision != "fp32" and not written and session.describe()["kernels"]:
                    panel.add(_opened(bundle, Choice(kind, precision), file, course, stack, own_kernels=False))
        yield panel


def _opened(
    bundle: Bundle, choice: Choice, model: Path, course: Course, stack: ExitStack, *, own_kernels: bool = True
) -> Session:
    backend = backend_for(bundle, choice, model=model)
    backend.own_kernels = own_kernels
    return _Measured(bundle, choice, stack.enter_context(backend), course, model)


def _simulated(
    precision: Precision, models: Mapping[Precision, Path], kept: Collection[str], scratch: Path
) -> Path | None:
    """The network with its convolutions in FP16 or BF16 in FP32 and rounded; None where it has none."""
    if precision == "fp16" or precision == "bf16":
        network = load_model(models["fp32"])
        simulate_precision(network, precision, kept)
    elif precision == "int8-bf16":
        network = load_model(models[precision])
        simulate_bf16(network)
    else:
        return None
    simulated = scratch / f"simulated.{precision}.onnx"
    save_model(network, simulated)
    return simulated


def _ways(
    precision: Precision, model: Path, simulated: Path | None, processor: type[Backend], on_gpu: bool
) -> Iterator[tuple[type[Backend], Path, bool]]:
    """What runs which file; and whether its verdict holds for all that compute in the types of the file."""
    if precision == "fp32":
        yield processor, model, False
        return
    reference = backend_class("onnxruntime")
    quantised = "int8" in types_in(precision)
    kinds = [] if on_gpu else processor_backends(precision)
    if simulated is not None and not quantised:
        yield reference, simulated, True
    elif simulated is not None and not on_gpu and not kinds and processor is not reference:
        yield processor, simulated, False  # INT8 as it runs there, on a processor without units for the rest.
    for kind in kinds:
        yield kind, model, kind is reference
    if quantised and (simulated is not None or on_gpu):
        yield reference, simulated or model, True


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
        self._facts = ["answer", backend.engine_facts(), model_sha256(model)]

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
