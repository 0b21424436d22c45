"""explain.onnx of a bundle: written, held against torch's own gradients, and what manifest and golden.npz say of it."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmcaf_engine.backends.factory import Network, make_backend
from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.errors import BackendError, ExportError, Remedy, program, with_cause
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.machine.plugins import place, raised_whole
from mmcaf_engine.manifest import COTANGENT, ExplainedMap, ExplainSpec, PointingStudy, TensorSpec

from ..golden import CASES, on_one_thread
from ..networks.ensemble import Ensemble
from ..networks.entry import NetworkEntry
from ..networks.feature_map import FeatureMap
from ..onnx_faults import SHOW_TRACE
from ..rewrites.general import generally_rewritten
from ..rewrites.rewrite import rewritten
from ..verify import RUNTIMES
from .gradcam import GradCam
from .graph import export_explain

TOLERANCE = 1e-4
"""Largest difference from torch's map, as a share of the largest value of the map before what is below 0 is cut off."""
_LEAVE_OUT = Remedy("Leave heat maps out", option="no_explain")
TRIED_SCORES = 4
"""Of a network with more scores, maps of so many are compared, each for and against it."""


@dataclass(frozen=True)
class MapVerification:
    """Largest difference of any map from torch's own gradients, as a share of the map's largest value."""

    backend: str
    version: str
    max_relative_error: float


@dataclass(frozen=True)
class Explained:
    """What a bundle says of its explain.onnx: in the manifest, in golden.npz, and how far it was checked."""

    spec: ExplainSpec
    golden: dict[str, NDArray[Any]]
    verifications: tuple[MapVerification, ...]


@dataclass(frozen=True)
class _Map:
    """A map of one case: before what is below 0 is cut off [*grid], of which combination of the scores."""

    case: int
    cotangent: NDArray[np.float32]
    signed: tuple[NDArray[np.float32], ...]

    @property
    def shown(self) -> float:
        """The largest value that is left of any of its maps, as a share of what there was."""
        return min(float(one.max() / max(np.abs(one).max(), 1e-30)) for one in self.signed)


def write_explain(
    entry: NetworkEntry[Any],
    config: Any,
    source: nn.Module,
    cases: Mapping[str, Tensor],
    folder: Path,
    *,
    lengths: Sequence[int] = (),
    judged: PointingStudy | None = None,
) -> Explained | None:
    """Write explain.onnx into the bundle's folder; None where the network names no feature map.

    Args:
        source: the network as built, with its weights.
        cases: inputs of the stored cases, of which the first `CASES` count.
        lengths: that texts are padded to.
        judged: how far the maps localise.

    Raises:
        ExportError: the graph cannot be written, or a runtime draws another map than torch.
    """
    maps = entry.explained(config)
    if not maps:
        return None
    inputs, outputs = entry.tensors(config)
    scores = [int(size) for size in outputs[0].shape[1:]]
    example = entry.example_inputs(config, 1, seed=0)
    rewrites = entry.rewrites if entry.explained_rewrites is None else entry.explained_rewrites
    spec_file = ExplainSpec.model_fields["file"].default
    if rewrites is None:
        lean, _, _ = generally_rewritten(source, example, watched=_modules(source, maps))
    else:
        lean = rewritten(source, rewrites, example)
    with _or_without():
        export_explain(lean, example, scores, maps, folder / spec_file, longest=max(lengths, default=None))
        del lean
        gc.collect()  # Two copies of the weights go, before runtimes hold some of their own.
        drawn = _drawn(source, maps, cases, scores)
    grids = [one.shape for one in drawn[0].signed]
    spec = ExplainSpec(
        file=spec_file,
        maps=tuple(
            ExplainedMap.model_validate(
                {"output": of.output, "title": of.title, "module": of.module, "input": of.input, "grid": grid}
            )
            for of, grid in zip(maps, grids, strict=True)
        ),
        judged=judged,
    )
    network = Network(
        folder / spec_file,
        (*inputs, TensorSpec(name=COTANGENT, kind="cotangent", shape=("N", *scores))),
        tuple(TensorSpec(name=of.output, kind="map", shape=("N", *grid)) for of, grid in zip(maps, grids, strict=True)),
        tuple(lengths),
    )
    return Explained(spec, _golden(maps, drawn), _verify(network, cases, drawn))


@contextmanager
def _or_without() -> Iterator[None]:
    """Say of a map that cannot be made, whosever the reason, that a bundle can do without.

    Raises:
        ExportError: in its place.
    """
    try:
        yield
    except ExportError as failure:
        raise ExportError(f"The graph of heat maps: {failure.problem}", *failure.remedies, _LEAVE_OUT) from failure
    except (RuntimeError, NotImplementedError) as failure:  # As torch has it of an operator without a gradient.
        where = place(failure)
        raise ExportError(
            f"The graph of heat maps: PyTorch {torch.__version__} cannot trace the network's gradients"
            f"{where and f', at {where}'}: {raised_whole(failure)}.",
            "Name a feature map behind that in the entry's `explained`.",
            SHOW_TRACE,
            _LEAVE_OUT,
        ) from failure


def _modules(source: nn.Module, maps: Sequence[FeatureMap]) -> list[str]:
    """Paths of the feature maps' modules; of an ensemble, those of every member."""
    if not isinstance(source, Ensemble):
        return [of.module for of in maps]
    return [f"members.{at}.{of.module}" for at in range(len(source.members)) for of in maps]


def _only(of: FeatureMap, drawn: Tensor) -> Tensor:
    """The map of one case [*grid], of what was drawn of it [1, *grid]."""
    if len(drawn) != 1:
        raise ExportError(
            f"{of.module} gives {len(drawn)} maps {list(drawn.shape[1:])} of one case, as where slices or patches are "
            f"computed as a batch; the feature map {of.output} must be one.",
            "Name in the entry's `explained` a module behind the place where they come together again.",
        )
    return drawn[0]


def _drawn(
    source: nn.Module, maps: Sequence[FeatureMap], cases: Mapping[str, Tensor], scores: Sequence[int]
) -> list[_Map]:
    """Maps by torch itself, for and against each score, case by case; of an ensemble of the mean of its members'."""
    module, found = GradCam(source, maps), []
    with on_one_thread():
        for case in range(min(CASES, len(next(iter(cases.values()))))):
            given = [tensor[case : case + 1] for tensor in cases.values()]
            for score in range(min(scores[-1], TRIED_SCORES)):
                cotangent = torch.zeros(1, *scores)
                cotangent[..., score] = 1 / prod(scores[:-1])
                drawn = zip(maps, module.signed(given, cotangent), strict=True)
                signed = [_only(of, one).numpy() for of, one in drawn]
                found.append(_Map(case, cotangent[0].numpy(), tuple(signed)))
                found.append(_Map(case, -cotangent[0].numpy(), tuple(-one for one in signed)))
    return found


def _golden(maps: Sequence[FeatureMap], drawn: Sequence[_Map]) -> dict[str, NDArray[Any]]:
    """Of each stored case the map that shows most."""
    best = [
        max((one for one in drawn if one.case == case), key=lambda one: one.shown)
        for case in sorted({one.case for one in drawn})
    ]
    shown = {of.output: np.stack([np.maximum(one.signed[at], 0) for one in best]) for at, of in enumerate(maps)}
    return {COTANGENT: np.stack([one.cotangent for one in best]), **shown}


def _verify(network: Network, cases: Mapping[str, Tensor], drawn: Sequence[_Map]) -> tuple[MapVerification, ...]:
    """Draw every map on each runtime that there is.

    Raises:
        ExportError: one differs by more than `TOLERANCE`, or a runtime cannot run the graph.
    """
    feed = {name: np.stack([tensor[one.case].numpy() for one in drawn]) for name, tensor in cases.items()}
    feed[COTANGENT] = np.stack([one.cotangent for one in drawn])
    done = []
    for name in RUNTIMES:
        runtime = backend_class(name)
        if not runtime.availability().available:
            continue  # As the verification of the network itself says.
        try:
            with make_backend(runtime, network, usable_cores()) as backend:
                answers = backend.infer(feed)
        except BackendError as refusal:
            raise ExportError(
                f"The graph of heat maps cannot be run: {with_cause(refusal).problem} No bundle was written.",
                _LEAVE_OUT,
            ) from refusal
        worst = 0.0
        for at, spec in enumerate(network.outputs):
            for one, answer in zip(drawn, answers[spec.name], strict=True):
                signed = one.signed[at]
                off = np.abs(answer - np.maximum(signed, 0)).max() / max(float(np.abs(signed).max()), 1e-30)
                worst = max(worst, float(off) if np.isfinite(off) else np.inf)
        if not worst <= TOLERANCE:
            raise ExportError(
                f"The graph of heat maps draws another map than its source on {name} {runtime.version()}: off by "
                f"{worst:.3g} of its largest value; at most {TOLERANCE:g} is allowed. No bundle was written.",
                Remedy("Report this with the versions that are installed", command=program("doctor")),
                _LEAVE_OUT,
            )
        done.append(MapVerification(name, runtime.version(), worst))
    return tuple(done)
