"""A session: one bundle, opened in one backend at one precision, self-tested."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NoReturn, Self

from ..backends.base import Availability, Backend
from ..backends.inputs import Input
from ..backends.registry import choose_backend
from ..backends.remedies import ANY_PRECISION
from ..backends.split import IN_PARTS, InParts
from ..bundle.bundle import Bundle
from ..cancel import CancelToken, leave_behind, limited
from ..errors import BackendError, Remedy, UsageError
from ..machine.cpu import usable_cores
from ..manifest import Manifest, Precision
from ..volume import Arrays
from .opening import Opening, open_backend
from .timings import Tuning, read_tuning


class Session:
    """Answers arrays with arrays. A context manager; safe to call from several threads; same input, same bits."""

    def __init__(
        self, bundle: Bundle, backend: Backend, fallback: str | None, opening: Opening, *, tuned: bool = False
    ) -> None:
        self.bundle = bundle
        self.fallback = fallback
        self.tuned = tuned
        self._backend = backend
        self._opening = opening

    @property
    def precision(self) -> Precision:
        """The precision of its network."""
        return self._backend.precision

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self._backend.name

    @property
    def windows_per_call(self) -> int:
        """Windows that one call of `run` should be given where there are several."""
        return self._backend.windows_per_call

    @property
    def device(self) -> str:
        """The device that runs it."""
        return self._backend.device

    @property
    def degraded(self) -> str | None:
        """In words, why it is slower than it should be on its device, or None."""
        return self._backend.degraded

    def run(self, inputs: Mapping[str, Input]) -> Arrays:
        """Run the network.

        Args:
            inputs: name -> float32 array, e.g. image [N, 1, D, H, W] and table [N, F]; for text int64, input_ids and
                attention_mask [N, L] with any L from 1 to text.max_tokens. On a GPU an array of CuPy, PyCUDA, torch or
                others may lie in its memory; it is then not copied to the host, nor searched for NaN.

        Returns:
            name -> float32 array, e.g. logit [N, 1].

        Raises:
            UsageError: an input is missing, unknown, or of the wrong shape or type, or not finite.
            BackendError: the session is closed, or the runtime failed.
        """
        return self._backend.infer(inputs)

    def describe(self) -> dict[str, Any]:
        """Backend, precision, device, version, threads, kernels, fallback, tuned, cache, self_test, inputs and outputs.

        cache_hit: whether an engine that an earlier process built was loaded; cache: what became of it, in words.
        tuned: whether "auto" was resolved by what `mmcaf tune` measured here.
        kernels: those of this project that the network runs with -> how many layers each is.
        reports: only of a session that keeps encoded reports: how many are kept, the limit of that, and how often one
        was found or had to be encoded since the session was opened.
        """
        manifest = self.bundle.manifest
        self_test = self._opening.self_test
        return {
            **self._backend.describe(),
            "precision": self.precision,
            "fallback": self.fallback,
            "tuned": self.tuned,
            "cache_hit": self._opening.cache_hit,
            "cache": self._opening.cache,
            "self_test": {
                "passed": True,
                "max_abs_error": self_test.max_abs_error,
                "tolerance": self_test.tolerance,
                "cases": self_test.cases,
                "remembered": self_test.remembered,
            },
            "inputs": {spec.name: {"shape": list(spec.shape), "dtype": spec.dtype} for spec in manifest.inputs},
            "outputs": {spec.name: {"shape": list(spec.shape), "dtype": spec.dtype} for spec in manifest.outputs},
        }

    def close(self) -> None:
        """Release the network; closing twice is harmless."""
        self._backend.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A session cannot be pickled or copied: it holds a network that is loaded in a runtime of this process. "
            "Hand over its bundle, and call open_session(bundle) in each process."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_session(
    bundle: Bundle,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    reports: int = 0,
    cancel: CancelToken | None = None,
    deadline: float | None = None,
) -> Session:
    """Load a bundle's network and self-test it.

    Args:
        bundle: from `load_bundle`.
        backend: "auto", or a backend's name.
        precision: "auto", or one that the bundle holds. What "auto" means, `choose` says.
        threads: cores to use; by default all that this process may.
        progress: told where an engine must be built first, which takes long: (phase, steps done, steps in all), from
            another thread. What it raises ends the building.
        reports: encoded reports to keep, so that a further image of one is answered without encoding it again; the
            least recently used goes first. They lie in memory, and go when the session is closed. With 0, the network
            runs as a whole. `keeps_reports` tells whether a bundle and a backend can.
        cancel: ends the opening from another thread. deadline: ends it after so many seconds. A runtime that builds an
            engine cannot be stopped from outside: its thread is left behind, ends when the runtime does, and releases
            what it opened.

    Raises:
        BundleError: the model or the golden cases are damaged.
        BackendError: backend or precision unavailable, or the self-test failed.
        CancelledError, DeadlineError: ended by `cancel` or `deadline`.
        UsageError: threads below 1, reports below 0, reports asked of what cannot keep any, or wrong settings
            (`read_settings`).
    """
    if reports < 0:
        raise UsageError(f"{reports} reports to keep; at least 0 is expected.", "Leave it out to keep none.")
    cores = _cores(threads)
    (chosen, held, fallback), tuned = _resolve(bundle, backend, precision, cores)
    manifest = bundle.manifest
    runtime = (_in_parts(manifest, chosen, held) if reports else chosen).of(
        manifest, bundle.folder / manifest.models[held], cores, held
    )
    runtime.progress = progress
    if isinstance(runtime, InParts):
        runtime.reports = reports

    def opened() -> Session:
        opening = open_backend(bundle, runtime)
        if isinstance(runtime, InParts):
            runtime.forget()  # what the self-test has read
        return Session(bundle, runtime, fallback, opening, tuned=tuned)

    with limited(cancel, deadline):
        return leave_behind(opened, name="open", discard=Session.close)


def keeps_reports(
    bundle: Bundle, *, backend: str = "auto", precision: str = "auto", threads: int | None = None
) -> Availability:
    """Whether `open_session` with these arguments can keep encoded reports, and why or why not.

    Raises:
        BackendError: backend or precision unavailable.
        UsageError: threads below 1.
    """
    (chosen, held, _), _ = _resolve(bundle, backend, precision, _cores(threads))
    try:
        _in_parts(bundle.manifest, chosen, held)
    except UsageError as failure:
        return Availability(False, failure.problem)
    return Availability(True, f"{chosen.name} runs {held} in two parts")


def choose(
    bundle: Bundle, backend: str, precision: str, tuning: Tuning | None = None
) -> tuple[type[Backend], Precision, str | None]:
    """The backend and the precision to run a bundle with, and why a preferred one was passed over, if it was.

    What is named is taken, or refused. What is "auto" is chosen from `tuning`, the times kept for this bundle, machine
    and number of threads, among those that fit what is named: the fastest, but FP32 unless a lower precision takes at
    least 5 % less time. Without times that fit, an "auto" precision is FP32 and an "auto" backend the first that runs
    it in the order of `choose_backend`; so also if what the times favour is no longer available, which is then said.

    Raises:
        BackendError: the bundle does not hold the precision, or no backend that was asked for can run it here.
    """
    pick = tuning.pick(backend, precision) if tuning is not None else None
    passed_over: list[str] = []
    if pick is not None:
        try:
            held = _held(bundle, pick.precision)
            return choose_backend(pick.backend, held).backend, held, None
        except BackendError as failure:
            passed_over.append(
                f"{pick.backend} {pick.precision}, the fastest as measured here: {failure.problem.rstrip('.')}"
            )
    held = _held(bundle, "fp32" if precision == "auto" else precision)
    choice = choose_backend(backend, held)
    passed_over += [choice.fallback] if choice.fallback else []
    return choice.backend, held, "; ".join(passed_over) or None


def _resolve(
    bundle: Bundle, backend: str, precision: str, cores: int
) -> tuple[tuple[type[Backend], Precision, str | None], bool]:
    """As `choose` with the times kept for so many cores; and whether the outcome is what they favour."""
    tuning = read_tuning(bundle, cores) if "auto" in (backend, precision) else None
    chosen, held, fallback = choose(bundle, backend, precision, tuning)
    pick = tuning.pick(backend, precision) if tuning is not None else None
    return (chosen, held, fallback), pick is not None and (pick.backend, pick.precision) == (chosen.name, held)


def _in_parts(manifest: Manifest, chosen: type[Backend], held: Precision) -> type[InParts]:
    """What runs a network in two parts and keeps encoded reports.

    Raises:
        UsageError: the bundle or the backend cannot.
    """
    if manifest.parts is None or held not in manifest.parts.models:
        raise UsageError(
            f"{manifest.name} has no {held} network in parts, with which encoded reports could be kept.",
            Remedy("Export the bundle again if its network reads a report, or leave this out", option="reports"),
        )
    found = IN_PARTS.get(chosen.name)
    if found is None:
        raise UsageError(
            f"{chosen.name} does not run a network in parts, with which encoded reports could be kept.",
            Remedy(f"Choose one that does: {', '.join(IN_PARTS)}", option="backend"),
            Remedy("Or leave this out", option="reports"),
        )
    return found


def _cores(threads: int | None) -> int:
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads; at least 1 is needed.")
    return threads or usable_cores()


def _held(bundle: Bundle, wanted: str) -> Precision:
    for held in bundle.manifest.models:
        if held == wanted:
            return held
    raise BackendError(
        f"{bundle.manifest.name} holds no {wanted} network; it holds {', '.join(bundle.manifest.models)}.",
        ANY_PRECISION,
    )
