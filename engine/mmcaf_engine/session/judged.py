"""In which configurations a precision may answer: in those that the bundle's gate has judged, and FP32 in every one."""

from collections.abc import Iterable

from ..backends.base import Availability, Backend
from ..backends.remedies import SEE_WHAT_RUNS
from ..bundle.accuracy import Configuration, read_accuracy
from ..bundle.bundle import Bundle
from ..errors import BackendError, Remedy, program
from ..manifest import Precision, between


class UnjudgedError(BackendError):
    """The precision would be computed in another way than those that the bundle's gate has judged."""


def configuration(kind: type[Backend], precision: Precision, kernels: Iterable[str] = ()) -> Configuration:
    """How a backend computes a precision.

    Args:
        kernels: of this project, that the open network runs with.
    """
    return Configuration(
        backend=kind.name, hint=kind.hint(precision), between=between(precision), kernels=tuple(sorted(kernels))
    )


def as_written(precision: Precision) -> Configuration:
    """Of whatever computes each value in the type that the file gives it."""
    return Configuration(backend=None, hint=None, between=between(precision), kernels=())


def offered(bundle: Bundle, kind: type[Backend], precision: Precision) -> Availability:
    """Whether a backend may answer in a precision, as far as that can be told before it is open, and why or why not.

    Raises:
        BundleError: the bundle's accuracy.json is invalid.
    """
    return _answer(bundle, kind, precision, None)


def expect_judged(bundle: Bundle, backend: Backend) -> None:
    """Refuse an open backend that computes in another configuration than those that were judged.

    Raises:
        UnjudgedError: it does.
        BundleError: the bundle's accuracy.json is invalid.
    """
    if backend.precision == "fp32":
        return
    kernels = backend.describe()["kernels"]
    if not (answer := _answer(bundle, backend.kind, backend.precision, kernels)).available:
        raise unjudged(backend.kind, backend.precision, answer)


def unjudged(kind: type[Backend], precision: Precision, answer: Availability) -> UnjudgedError:
    """The refusal of a precision that was judged in other configurations only."""
    return UnjudgedError(
        f"{kind.title()} does not answer in {precision} here: {answer.reason}.",
        Remedy("Answer in FP32", option="precision", value="fp32"),
        Remedy("Or have it judged as it runs here", command=program("quantize", "BUNDLE", "--precision", precision)),
        SEE_WHAT_RUNS,
    )


def _cover(judged: list[set[str]], own: set[str]) -> bool:
    """Whether kernels were judged: these, or others beside them too, and none at all.

    A processor with fewer instructions places fewer kernels; each is held to the same answer by the self-test.
    """
    return own in judged or (set() in judged and any(own <= one for one in judged))


def _answer(bundle: Bundle, kind: type[Backend], precision: Precision, kernels: Iterable[str] | None) -> Availability:
    accuracy = None if precision == "fp32" else read_accuracy(bundle)
    facts = None if accuracy is None else accuracy.precisions.get(precision)
    if facts is None or facts.judged is None:  # A bundle from before configurations were recorded.
        return Availability(True, f"{bundle.manifest.name} does not say in which configurations {precision} was judged")
    if reasons := (facts.excluded or {}).get(kind.name):
        return Availability(False, f"{bundle.manifest.name} did not pass there when it was made: {'; '.join(reasons)}")
    own = configuration(kind, precision, kernels or ())
    configurations = [one.configuration for one in facts.judged]
    if as_written(precision) in configurations and kind.follows_types(precision):
        return Availability(True, "judged in the types of the file")
    with_kernels = [{*one.kernels} for one in configurations if one.model_copy(update={"kernels": own.kernels}) == own]
    if with_kernels and (kernels is None or _cover(with_kernels, {*own.kernels})):
        return Availability(True, f"judged as {own.in_words()}")
    known = " and ".join(one.configuration.in_words() for one in facts.judged)
    reason = f"it would be computed by {own.in_words()}, but {bundle.manifest.name} was judged as computed by {known}"
    return Availability(False, reason)
