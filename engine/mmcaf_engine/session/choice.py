"""Which backend runs a bundle, and in which precision: by name, by what `mmcaf tune` measured, or the usual one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..backends.base import Availability, Backend
from ..backends.factory import Network, make_backend
from ..backends.registry import Backends, unavailable
from ..backends.remedies import ANY_PRECISION, SEE_WHAT_RUNS
from ..bundle.bundle import Bundle
from ..cancel import Progress
from ..errors import BackendError, Remedy, UsageError
from ..machine.cpu import usable_cores
from ..machine.installation import install_package
from ..manifest import Precision, named_precision
from .copies import hold
from .judged import offered, unjudged
from .timings import read_tuning


@dataclass(frozen=True)
class Choice:
    """A backend, and a precision that it runs here.

    fallback: in words, why a preferred one was passed over, or None. tuned: whether "auto" was settled by what
    `mmcaf tune` measured here.
    """

    backend: type[Backend]
    precision: Precision
    fallback: str | None = None
    tuned: bool = False


def plan(
    bundle: Bundle,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    tuned: bool = True,
    reports: int = 0,
    progress: Progress | None = None,
) -> tuple[Choice, Backend]:
    """What a session of a bundle runs in, and that, not yet open: for those who open it, and who say what they would.

    Args:
        threads, reports, progress: as of `open_session`. tuned: as of `choose`.

    Raises:
        BackendError, UsageError: as `choose` and `backend_for`.
    """
    choice = choose(bundle, backend=backend, precision=precision, threads=threads, tuned=tuned)
    return choice, backend_for(bundle, choice, threads=threads, reports=reports, progress=progress)


def choose(
    bundle: Bundle,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    tuned: bool = True,
) -> Choice:
    """What to run a bundle with.

    What is named is taken, or refused. What is "auto" is chosen by the times kept for this bundle, machine and number
    of threads, among those that fit what is named: the fastest, but FP32 unless a lower precision takes at least 5 %
    less time. Without times that fit, an "auto" precision is FP32, and an "auto" backend the first that runs it:
    where the NVIDIA driver shows a GPU, TensorRT, then torch with its kernels; else OpenVINO on x86-64 and ONNX Runtime
    elsewhere. So also if what the times favour is no longer available, which is then said. Every backend is asked once
    what it can run.

    Args:
        threads: as of `open_session`. tuned: whether to look for times.

    Raises:
        BackendError: the bundle does not hold the precision, or no backend that was asked for can run it here, or runs
            it in a configuration that the bundle's gate has judged.
        BundleError: the bundle's accuracy.json is invalid.
        UsageError: no backend or precision of that name, or threads below 1.
    """
    cores = core_count(threads)
    backends = Backends()
    tuning = read_tuning(bundle, cores) if tuned and "auto" in (backend, precision) else None
    pick = tuning.pick(backend, precision) if tuning is not None else None
    passed_over: list[str] = []
    if pick is not None:
        try:
            held = _held(bundle, pick.precision)
            return Choice(_named(backends, bundle, pick.backend, held), held, tuned=True)
        except (BackendError, UsageError) as failure:
            passed_over.append(
                f"{pick.backend} {pick.precision}, the fastest as measured here: {failure.problem.rstrip('.')}"
            )
    held = _held(bundle, "fp32" if precision == "auto" else precision)
    if backend == "auto":
        chosen, reasons = _first_of(backends, backends.in_auto_order(), held, bundle)
        passed_over += reasons
    else:
        chosen = _named(backends, bundle, backend, held)
    return Choice(chosen, held, "; ".join(passed_over) or None)


def processor_backend(precision: Precision) -> type[Backend]:
    """What "auto" takes on a machine without a GPU.

    Raises:
        BackendError: no backend runs the precision on this processor; the message lists why.
    """
    backends = Backends()
    return _first_of(backends, _on_processor(backends), precision)[0]


def processor_backends(precision: Precision) -> list[type[Backend]]:
    """All that "auto" may take for a precision on a machine without a GPU, in order; then their further devices."""
    backends = Backends()
    ordered = _on_processor(backends)
    names = [kind.name for kind in ordered]
    further = [kind for kind in backends.on_devices() if kind.name not in names and kind.name.split(":")[0] in names]
    return [
        kind
        for kind in (*ordered, *further)
        if backends.can_run(kind, precision).available and not backends.excluded_from_auto(kind)
    ]


def _on_processor(backends: Backends) -> list[type[Backend]]:
    return [kind for kind in backends.in_auto_order() if not (kind.needs_gpu or kind.auto_needs_gpu)]


def backend_for(
    bundle: Bundle,
    choice: Choice,
    *,
    threads: int | None = None,
    reports: int = 0,
    model: Path | None = None,
    progress: Progress | None = None,
) -> Backend:
    """A backend, not yet open, that runs a bundle's network as chosen; nothing of the bundle is read or checked yet.

    Args:
        threads: as of `open_session`.
        reports: encoded reports to keep; with 0 the network runs as a whole.
        model: another file with the same inputs and outputs, in place of the bundle's; it runs as a whole.
        progress: told of an engine that must be built first, from any thread.

    Raises:
        UsageError: threads below 1, or reports are to be kept and `splits` says that none can be.
        BackendError: another package's class cannot be made.
    """
    if reports and not (answer := splits(bundle, choice)).available:
        able = [name for name, kind in Backends().classes.items() if kind.can_split]
        raise UsageError(
            answer.reason,
            *(() if choice.backend.can_split else [Remedy(f"Choose one of {', '.join(able)}", option="backend")]),
            Remedy("Export the bundle again if its network reads a report, or leave this out", option="reports"),
        )
    manifest = bundle.manifest
    if model is None:
        network = Network.of(manifest, bundle.folder, choice.precision, hold(bundle, choice.precision))
    else:
        network = Network.whole(manifest, model)
    return make_backend(
        choice.backend, network, core_count(threads), choice.precision, reports=reports, progress=progress
    )


def splits(bundle: Bundle, choice: Choice) -> Availability:
    """Whether a choice can run in two parts, with which encoded reports can be kept, and why or why not."""
    name, manifest, held = choice.backend.name, bundle.manifest, choice.precision
    if manifest.parts is None or held not in manifest.parts.models:
        reason = f"{manifest.name} has no {held} network in parts, with which encoded reports could be kept."
        return Availability(False, reason)
    if not choice.backend.can_split:
        return Availability(False, f"{name} does not run a network in parts, with which encoded reports could be kept.")
    return Availability(True, f"{name} runs {held} in two parts")


def core_count(threads: int | None) -> int:
    """So many cores; all that this process may use for None.

    Raises:
        UsageError: below 1.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads; at least 1 is needed.")
    return threads or usable_cores()


def _named(backends: Backends, bundle: Bundle, name: str, precision: Precision) -> type[Backend]:
    kind = backends.named(name)
    if not (answer := backends.availability(kind)).available:
        raise unavailable(kind, answer)
    if not (answer := backends.can_run(kind, precision)).available:
        raise BackendError(
            f"{kind.title()} does not run {precision} here: {answer.reason}.", ANY_PRECISION, SEE_WHAT_RUNS
        )
    if not (answer := offered(bundle, kind, precision)).available:
        raise unjudged(kind, precision, answer)
    return kind


def _first_of(
    backends: Backends, candidates: Iterable[type[Backend]], precision: Precision, bundle: Bundle | None = None
) -> tuple[type[Backend], list[str]]:
    """The first that runs the precision here, of a bundle as it was judged, and why those before were passed over."""
    passed_over: list[str] = []
    none_available = True
    for kind in candidates:
        answer = backends.can_run(kind, precision)
        if answer.available and bundle is not None:
            answer = offered(bundle, kind, precision)
        excluded = backends.excluded_from_auto(kind) if answer.available else None
        if answer.available and excluded is None:
            return kind, passed_over
        passed_over.append(f"{kind.name}: {excluded or answer.reason}")
        none_available = none_available and not backends.availability(kind).available
    if none_available:
        install = Remedy("Install one", command=install_package("onnxruntime"))
        raise BackendError(f"No backend can run here: {'; '.join(passed_over)}.", install)
    raise BackendError(f"No backend runs {precision} here: {'; '.join(passed_over)}.", ANY_PRECISION, SEE_WHAT_RUNS)


def _held(bundle: Bundle, wanted: str) -> Precision:
    if (held := named_precision(wanted)) in bundle.manifest.models:
        return held
    raise BackendError(
        f"{bundle.manifest.name} holds no {wanted} network; it holds {', '.join(bundle.manifest.models)}.",
        ANY_PRECISION,
    )
