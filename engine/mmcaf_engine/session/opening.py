"""Opening a backend: with the engine that an earlier process built, else from the bundle's model."""

import logging
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import astuple, dataclass

from ..backends.base import Backend
from ..bundle.bundle import Bundle
from ..bundle.models import model_hashes
from ..cache.engines import (
    ENGINES,
    Draft,
    EngineCache,
    EngineTooLargeError,
    Facts,
    KeptEngine,
    cache_limit,
    switched_off,
)
from ..errors import BackendError, UsageError
from ..machine.cpu import processor
from ..machine.plugins import attributing_errors
from .first_opening import tell_of_loading
from .self_test import SelfTest, ensure_self_test, has_passed, run_self_test

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opening:
    """How a backend was opened: whether from a kept engine, what the cache did in words, and the self-test."""

    cache_hit: bool
    cache: str
    self_test: SelfTest


def open_backend(bundle: Bundle, backend: Backend, *, first: Callable[[], None] | None = None) -> Opening:
    """Open a backend for the model of its precision, and let it pass the self-test.

    A kept engine is used without reading the model. Otherwise the model's hash is checked, the engine built,
    self-tested and kept. A kept engine that is damaged or refused is removed, built again, and logged as a warning.

    Args:
        first: called before a runtime of this process is given a network of which no pass is remembered here, such as
            to try that where it does no harm; what it raises ends the opening, and the engine that it keeps is used.

    Raises:
        BundleError: the model or the golden cases are damaged.
        BackendError: the runtime refuses the model, or it fails the self-test.
        UsageError: as `read_settings`.
    """
    try:
        with attributing_errors(backend.kind, "while being opened"):
            opening = _open(bundle, backend, first or (lambda: None))
    except BaseException:
        with suppress(BackendError):  # Of another package's backend: what it failed at first is what counts.
            backend.close()
        raise
    backend.forget()  # what the self-test has read
    _log.info(
        "%s: %s %s on %s, %d threads; engine: %s; self-test: within %.1e",
        *(bundle.manifest.name, backend.name, backend.precision, backend.device, backend.threads),
        *(opening.cache, opening.self_test.max_abs_error),
    )
    return opening


def engine_facts(bundle: Bundle, backend: Backend) -> Facts:
    """All that an engine depends on; see `engine_cache`. On the CPU, that is also the processor and the system."""
    model = backend.model.relative_to(bundle.folder).as_posix()
    facts = {**backend.engine_facts(), "model": model_hashes(bundle.manifest, backend.precision, model)}
    if code := backend.kind.code():
        facts["code"] = code
    if backend.device != "CPU":
        return facts
    name, instructions = astuple(processor())
    return {
        **facts,
        "system": [platform.system(), platform.machine()],
        "processor": name,
        "instructions": list(instructions),
    }


def _open(bundle: Bundle, backend: Backend, first: Callable[[], None]) -> Opening:
    limit = cache_limit()  # First, so that wrong settings are refused by every backend alike.
    if not backend.keeps_engines:
        if not has_passed(bundle, backend, engine=_models(backend)):
            first()
        tell_of_loading()
        self_test = _build(bundle, backend)
        return Opening(False, f"not kept: {backend.name} keeps no engines", self_test)
    if limit == 0:
        first()
        return Opening(False, switched_off(), _build(bundle, backend))
    try:
        cache = EngineCache(ENGINES.folder(), limit)
    except UsageError as failure:
        first()
        _log.warning("The engine cannot be kept and will be built each time. %s", failure.problem)
        return Opening(False, f"built, not kept: {failure.problem}", _build(bundle, backend))
    kept = _Kept(cache, [engine_facts(bundle, part) for part in backend.parts])
    kept.load()
    if not (kept.engines and has_passed(bundle, backend, engine=_together(kept.engines))):
        kept.engines = []  # so that they take no memory meanwhile
        first()
        kept.load()
    try:
        if kept.engines:
            tell_of_loading()
            for part, engine in zip(backend.parts, kept.engines, strict=True):
                part.kernels_in_engine = engine.kernels
                part.open_engine(engine.blob)
            backend.open()
            return Opening(True, "loaded", ensure_self_test(bundle, backend, engine=_together(kept.engines)))
    except BackendError as failure:
        backend.close()
        for part in backend.parts:
            part.kernels_in_engine = None
        kept.give_up(failure)
    if kept.in_the_way:
        return Opening(False, f"{kept.said}, not kept: the old one is in the way", _build(bundle, backend))
    return _build_and_keep(bundle, backend, kept)


class _Kept:
    """The kept engines of a backend's parts: all, or none.

    said: what is done where there are none, in words. in_the_way: whether one can neither be used nor removed.
    """

    def __init__(self, cache: EngineCache, facts: list[Facts]) -> None:
        self.cache, self.facts = cache, facts
        self.engines: list[KeptEngine] = []
        self.said, self.in_the_way = "built", False

    def load(self) -> None:
        """Find them; what is damaged is removed."""
        try:
            found = [engine for each in self.facts if (engine := self.cache.load(each)) is not None]
        except BackendError as failure:
            self.give_up(failure)
            found = []
        self.engines = found if len(found) == len(self.facts) else []

    def give_up(self, failure: BackendError) -> None:
        """Remove them, since they cannot be used."""
        self.engines = []
        self.said = f"built again ({failure.problem})"
        _log.warning("%s It is built again.", failure.problem)
        removed = [self.cache.remove(each) for each in self.facts]
        self.in_the_way = not all(removed)
        if self.in_the_way:
            _log.warning("The unusable engine cannot be removed from %s.", self.cache.folder)


def _build(bundle: Bundle, backend: Backend) -> SelfTest:
    """Open the model and self-test it; where building an engine is work, nothing is remembered of it."""
    backend.open()
    if backend.keeps_engines:
        return run_self_test(bundle, backend)
    return ensure_self_test(bundle, backend, engine=_models(backend))


def _models(backend: Backend) -> str:
    """What tells the parts of a network from the network, where no engine is kept."""
    models = [part.model.name for part in backend.parts]
    return "" if len(models) == 1 else "+".join(models)


def _build_and_keep(bundle: Bundle, backend: Backend, kept: _Kept) -> Opening:
    cache, said = kept.cache, kept.said
    backend.open()
    with ExitStack() as undo:
        drafts = []
        try:
            # Before the first window is run, which is when a process needs the least memory.
            for part, each in zip(backend.parts, kept.facts, strict=True):
                kernels = part.describe()["kernels"]
                drafts.append(cache.draft(each, bundle.manifest.name, part.export_engine, kernels=kernels))
                undo.callback(cache.discard, drafts[-1])
        except EngineTooLargeError as failure:
            return Opening(False, f"{said}, not kept: {failure}", run_self_test(bundle, backend))
        except (OSError, BackendError) as failure:
            reason = f"{cache.folder}: {getattr(failure, 'strerror', None) or failure}"
            _log.warning("The engine cannot be kept and will be built each time. %s.", reason)
            return Opening(False, f"{said}, not kept: {reason}", run_self_test(bundle, backend))
        self_test = ensure_self_test(bundle, backend, engine=_together(drafts), again=True)
        undo.pop_all()
    for draft in drafts:
        cache.keep(draft)
    return Opening(False, f"{said}, kept", self_test)


def _together(engines: Sequence[KeptEngine | Draft]) -> str:
    """What tells these engines from others: their SHA-256."""
    return "+".join(engine.sha256 for engine in engines)
