"""Whether new networks pass the self-test that every session begins with, told before they are sealed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.factory import Network, Parts, make_backend
from mmcaf_engine.backends.registry import Backends
from mmcaf_engine.errors import BackendError, UnsupportedNetworkError
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.manifest import Manifest, Precision, ReportParts
from mmcaf_engine.session.self_test import SelfTest, measure
from mmcaf_engine.volume import Arrays

from ..text_parts import remove_parts, write_parts

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
    manifest: Manifest,
    precision: Precision,
    model: Path,
    cases: Arrays,
    kinds: Iterable[type[Backend]],
    parts: ReportParts | None = None,
) -> dict[str, tuple[str, ...]]:
    """By backend, why a network does not pass in it, as a whole or in its two parts; those that it passes are left out.

    Args:
        parts: of all precisions, which lie beside the model; None where there are none.
    """
    network = replace(Network.whole(manifest, model), parts=Parts.of(parts, model.parent, precision))
    found = {
        kind.name: tuple(
            reason
            for reports in _ways(kind, network)
            for reason in _of(kind, manifest, precision, network, cases, reports)
        )
        for kind in kinds
    }
    return {name: reasons for name, reasons in found.items() if reasons}


def tested_parts(
    manifest: Manifest, models: Mapping[Precision, Path], golden: Arrays, tell: Callable[[str], None]
) -> ReportParts | None:
    """Write the two parts of each network; None, and none written, where those of FP32 would not pass.

    Export has tested those that a bundle has had; a bundle that has had none may be of a version that knew of none.
    """
    parts = None if manifest.text is None else write_parts(models, manifest.inputs)
    if parts is None or manifest.parts is not None:
        return parts
    reasons = here(
        manifest, "fp32", models["fp32"], own_cases(golden, manifest, "fp32"), list(kinds_for("fp32")), parts
    )
    if not reasons:
        return parts
    said = "; ".join(reason for of_backend in reasons.values() for reason in of_backend)
    tell(f"the network is left in one part: {said}")
    for model in models.values():
        remove_parts(model)
    return None


def kinds_for(precision: Precision) -> Iterator[type[Backend]]:
    """The backends of this machine that run a precision."""
    backends = Backends()
    for kind in backends.classes.values():
        if backends.availability(kind).available and backends.can_run(kind, precision).available:
            yield kind


def _ways(kind: type[Backend], network: Network) -> tuple[int, ...]:
    """Reports to keep: none, which runs it as a whole; and one, which runs it in its parts, where a session could."""
    return (0, 1) if network.parts is not None and kind.can_split else (0,)


def _of(
    kind: type[Backend], manifest: Manifest, precision: Precision, network: Network, cases: Arrays, reports: int
) -> tuple[str, ...]:
    what = f"in {kind.name}, in two parts" if reports else f"in {kind.name}"
    try:
        with make_backend(kind, network, usable_cores(), precision, reports=reports) as opened:
            return _reasons(what, measure(manifest, precision, opened.infer, cases))
    except UnsupportedNetworkError:
        return ()  # It says so to whoever asks for it, and never answers.
    except BackendError as failure:
        return (failure.problem.removesuffix("."),)


def _reasons(what: str, outcome: SelfTest) -> tuple[str, ...]:
    return () if outcome.passed else (f"{what}, it fails the self-test: {outcome.fault}",)
