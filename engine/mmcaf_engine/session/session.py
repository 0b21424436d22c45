"""A session: one bundle, opened in one backend at one precision, self-tested."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, NoReturn, Self, get_type_hints

import numpy as np
from numpy.typing import NDArray

from ..arguments import checked, expect
from ..backends.base import Availability, Backend
from ..backends.inputs import Input
from ..backends.node_time import Counting
from ..bundle.bundle import Bundle
from ..bundle.golden import one_window
from ..cancel import CancelToken, Progress, leave_behind, limited, open_timeout, opening_within
from ..errors import BackendError, UsageError
from ..manifest import COTANGENT, Precision
from ..volume import Arrays
from .choice import Choice, choose, plan, splits
from .explaining import open_explaining
from .first_opening import first_of
from .judged import UnjudgedError, expect_judged
from .opening import Opening, open_backend
from .self_test import NOT_TESTED, SelfTest, run_self_test

_log = logging.getLogger(__name__)


class Session:
    """Answers arrays with arrays. A context manager; safe to call from several threads; same input, same bits.

    Args:
        backend: open.
        opening: how it was opened; None where that was without cache and self-test, as for networks that are judged.
    """

    def __init__(self, bundle: Bundle, choice: Choice, backend: Backend, opening: Opening | None = None) -> None:
        self.bundle = bundle
        self.choice = choice
        self._backend = backend
        self._opening = opening
        self._explaining: Backend | None = None
        self._open_timeout = open_timeout()
        self._explaining_lock = threading.Lock()

    @property
    def precision(self) -> Precision:
        """The precision of its network."""
        return self._backend.precision

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self._backend.name

    @property
    def fallback(self) -> str | None:
        """In words, why a preferred backend or precision was passed over, or None."""
        return self.choice.fallback

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

    def run(self, inputs: Mapping[str, Input], *, optional: bool = False) -> Arrays:
        """Run the network.

        Args:
            inputs: name -> float32 array, e.g. image [N, 1, D, H, W] and table [N, F]; for text int64, input_ids and
                attention_mask [N, L] with any L from 1 to text.max_tokens. On a GPU an array of CuPy, PyCUDA, torch or
                others may lie in its memory; it is then not copied to the host, nor searched for NaN.
            optional: also return the outputs that the manifest calls optional.

        Returns:
            name -> float32 array, e.g. logit [N, 1].

        Raises:
            UsageError: an input is missing, unknown, or of the wrong shape or type, or not finite.
            BackendError: the session is closed, or the runtime failed.
        """
        return self._backend.infer(inputs, optional=optional)

    def explain(
        self, inputs: Mapping[str, Input], cotangent: NDArray[np.float32], progress: Progress | None = None
    ) -> Arrays:
        """Run the graph of the heat maps, in FP32 by this session's backend; it is opened when it is first asked for.

        Args:
            inputs: of one case, as of `run`.
            cotangent: float32 [1, scores]: of which combination of the scores the maps are.
            progress: told of an engine that must be built first, as of `open_session`.

        Returns:
            name -> map, float32 [1, *grid], as the manifest's `explain` lists them.

        Raises:
            BundleError: there is no such graph, or it is damaged.
            BackendError: as `open_session`, of that graph; and as `run`.
            UsageError: as `run`.
            CancelledError, DeadlineError: as `cancel.check`.
        """
        with self._explaining_lock:
            if not self._backend.is_open:
                raise BackendError(f"The {self.backend} session is closed.", "Open a new one: open_session(bundle)")
            if self._explaining is None:
                with opening_within(self._open_timeout if open_timeout() is None else None):
                    self._explaining = open_explaining(self.bundle, self.choice, self._backend.threads, progress)
            graph = self._explaining
        return graph.infer({**inputs, COTANGENT: cotangent})

    def describe(self) -> dict[str, Any]:
        """Backend, precision, device, runtime, version, threads, kernels, fallback, tuned, cache, self_test, and so on.

        runtime: the package that computes; version: its version.
        self_test: "passed" is None where the session was opened without one; "errors" are those of each output, where
        they are known.
        cache_hit: whether an engine that an earlier process built was loaded; cache: what became of it, in words.
        tuned: whether "auto" was resolved by what `mmcaf tune` measured here.
        signed_by: name and id of the trusted key that signed the bundle, or None.
        kernels: those of this project that the network runs with -> how many layers each is.
        reports: only of a session that keeps encoded reports: how many are kept, the limit of that, and how often one
        was found or had to be encoded since the session was opened.
        """
        manifest, opening = self.bundle.manifest, self._opening
        return {
            **self._backend.describe(),
            "runtime": self._backend.kind.package(),
            "precision": self.precision,
            "fallback": self.fallback,
            "tuned": self.choice.tuned,
            "cache_hit": opening is not None and opening.cache_hit,
            "cache": "not used" if opening is None else opening.cache,
            "self_test": NOT_TESTED if opening is None else opening.self_test.to_dict(),
            "signed_by": self.bundle.origin.signed_by,
            "inputs": {spec.name: {"shape": list(spec.shape), "dtype": spec.dtype} for spec in manifest.inputs},
            "outputs": {spec.name: {"shape": list(spec.shape), "dtype": spec.dtype} for spec in manifest.outputs},
        }

    def run_self_test(self) -> SelfTest:
        """Run the golden cases now, whatever is remembered of them.

        Raises:
            BackendError: an output differs by more than the precision's tolerance, or is not finite.
            BundleError: golden.npz does not hold the manifest's inputs and outputs.
        """
        return run_self_test(self.bundle, self._backend)

    def warm_up(self) -> None:
        """Run a stored case, unless the self-test did so while it was opened: a network's first window takes longer.

        Not where the runtime cannot be stopped at it, and the answer might have to wait.

        Raises:
            BackendError: as `run`.
            BundleError: golden.npz does not hold the manifest's inputs.
            CancelledError, DeadlineError: as `cancel.check`; the runtime is asked to stop.
        """
        stops = self._backend.can_be_stopped and not self._backend.kind.origin
        if stops and self._opening is not None and self._opening.self_test.remembered:
            self._backend.infer(one_window(self.bundle))

    def layers(self) -> Counting:
        """A second backend like this session's, not open, that also tells the time of every node.

        Raises:
            BackendError: its runtime does not tell.
        """
        return self._backend.layers()

    def close(self) -> None:
        """Release the network, and the graph of its heat maps; closing twice is harmless.

        Raises:
            BackendError: another package's backend fails at it.
        """
        with self._explaining_lock:
            graph, self._explaining = self._explaining, None
        try:
            self._backend.close()
        finally:
            if graph is not None:
                graph.close()

    def discard(self) -> None:
        """As `close`, where something else has failed, or nobody waits any more; a failure is logged."""
        try:
            self.close()
        except BackendError as failure:
            _log.warning("%s", failure.problem)

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
    progress: Progress | None = None,
    reports: int = 0,
    cancel: CancelToken | None = None,
    deadline: float | None = None,
    open_timeout: float | None = None,
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
            engine, or runs a network without end, cannot be stopped from outside: its thread is left behind, ends when
            the runtime does, and releases what it opened.
        open_timeout: seconds, anew from each step of an engine's building. A network of which this machine remembers no
            pass is first opened and self-tested in a process of its own, which can be ended and is after so many
            seconds; only then in this one, with what that one has kept. By default in this one at once, where nothing
            can end the runtime. So also in a program that was frozen into one file.

    Raises:
        BundleError: the model or the golden cases are damaged, or it was not open within `open_timeout`.
        BackendError: backend or precision unavailable, or judged in other configurations only; or the self-test failed.
        CancelledError, DeadlineError: ended by `cancel` or `deadline`.
        UsageError: no backend of that name, threads below 1, reports below 0, reports asked of what cannot keep any,
            or wrong settings (`read_settings`).
    """
    expect("bundle", bundle, (Bundle,), "Load it first, with load_bundle.")
    given: dict[str, Any] = {"backend": backend, "precision": precision, "threads": threads, "reports": reports}
    given |= {"progress": progress, "cancel": cancel, "deadline": deadline, "open_timeout": open_timeout}
    checked(given, get_type_hints(open_session))
    if reports < 0:
        raise UsageError(f"{reports} reports to keep; at least 0 is expected.", "Leave it out to keep none.")

    def planned(precision: str) -> Session:
        choice, made = plan(
            bundle, backend=backend, precision=precision, threads=threads, reports=reports, progress=progress
        )
        session = Session(bundle, choice, made, open_backend(bundle, made, first=first_of(bundle, made, reports)))
        try:
            expect_judged(bundle, made)
        except BaseException:
            session.discard()
            raise
        return session

    def opened() -> Session:
        try:
            return planned(precision)
        except UnjudgedError as failure:
            if precision != "auto":
                raise
            exact = planned("fp32")
            exact.choice = replace(exact.choice, fallback=failure.problem.rstrip("."))
            return exact

    with limited(cancel, deadline), opening_within(open_timeout):
        return leave_behind(opened, name="open", discard=Session.discard)


def opened_and_tested(bundle: Bundle, **given: Any) -> None:
    """What `FirstOpening` has done: a session, which nobody uses; arguments of `open_session`."""
    open_session(bundle, **given)


def keeps_reports(
    bundle: Bundle, *, backend: str = "auto", precision: str = "auto", threads: int | None = None
) -> Availability:
    """Whether `open_session` with these arguments can keep encoded reports, and why or why not.

    Raises:
        BackendError: backend or precision unavailable.
        UsageError: threads below 1, or no backend of that name.
    """
    return splits(bundle, choose(bundle, backend=backend, precision=precision, threads=threads))
