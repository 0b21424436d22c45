"""Whether new networks pass the self-test that every session begins with, told before they are sealed."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.factory import Network, make_backend
from mmcaf_engine.backends.registry import Backends
from mmcaf_engine.errors import BackendError, UnsupportedNetworkError
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.manifest import Manifest, Precision
from mmcaf_engine.session.self_test import SelfTest, measure
from mmcaf_engine.volume import Arrays

Run = Callable[..., Arrays]
"""`Session.run`."""


def own_cases(golden: Arrays, manifest: Manifest, precision: Precision) -> Arrays:
    """The stored cases that a precision is held to: with its own answers, where those are stored."""
    names = [spec.name for spec in (*manifest.inputs, *manifest.outputs)]
    return {name: golden.get(f"{name}@{precision}", golden[name]) for name in names}


def simulated(manifest: Manifest, precision: Precision, run: Run, cases: Arrays) -> tuple[str, ...]:
    """Why a network that is computed in FP32 with every value rounded through its type would not pass; none if it does.

    It says so of machines that have units for the type, of which this one may have none.
    """
    return _reasons("computed with every value rounded", measure(manifest, precision, run, cases))


def here(
    manifest: Manifest, precision: Precision, model: Path, cases: Arrays, kinds: Iterable[type[Backend]]
) -> tuple[str, ...]:
    """Why a network does not pass in these backends; none if it does."""
    return tuple(reason for kind in kinds for reason in _of(kind, manifest, precision, model, cases))


def kinds_for(precision: Precision) -> Iterator[type[Backend]]:
    """The backends of this machine that run a precision."""
    backends = Backends()
    for kind in backends.classes.values():
        if backends.availability(kind).available and backends.can_run(kind, precision).available:
            yield kind


def _of(kind: type[Backend], manifest: Manifest, precision: Precision, model: Path, cases: Arrays) -> tuple[str, ...]:
    try:
        with make_backend(kind, Network.whole(manifest, model), usable_cores(), precision) as opened:
            return _reasons(f"in {kind.name}", measure(manifest, precision, opened.infer, cases))
    except UnsupportedNetworkError:
        return ()  # It says so to whoever asks for it, and never answers.
    except BackendError as failure:
        return (failure.problem.removesuffix("."),)


def _reasons(what: str, outcome: SelfTest) -> tuple[str, ...]:
    return () if outcome.passed else (f"{what}, it fails the self-test: {outcome.fault}",)
