"""Building an engine of a bundle ahead of its first use: for GPUs that need not be there, or for the one at hand."""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..backends.tensorrt.builder import BuiltEngine
from ..backends.tensorrt.conv_precision import PRODUCTS, Product, flops_by_precision, share_in
from ..backends.tensorrt.engine_key import Facts, engine_facts
from ..backends.tensorrt.fitting import fitting_flavour
from ..backends.tensorrt.flavour import BUILD_AHEAD, Flavour, find_flavour
from ..backends.tensorrt.signature import LAYERS_NAME, PRODUCTS_NAME, Package, check_output, write_package
from ..backends.tensorrt.targets import choose_targets
from ..backends.tensorrt.timing_cache import timing_cache_file
from ..bundle.bundle import Bundle
from ..bundle.models import model_hashes
from ..cache.engines import ENGINES, EngineCache, EngineTooLargeError, cache_limit, switched_off
from ..cancel import Progress
from ..errors import BackendError, Remedy, UsageError, program
from ..machine.compute_capability import BF16_FROM, WHICH_TARGET, Target
from ..machine.gpu import Gpu, find_gpus, first_gpu
from ..manifest import Precision, named_precision, types_in
from ..manifest.text import text_lengths
from .building import build

REPORT_VERSION = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ahead:
    """What was built ahead and where it is.

    bundle: what it is of; flavour: what built it; targets: what it can be loaded on; kept: folders of the cache, one
    for each target; not_kept: why the cache does not hold it, in words, or None; package: what was written to `output`,
    or None.
    """

    bundle: Bundle
    flavour: Flavour
    engine: BuiltEngine
    targets: tuple[Target, ...]
    kept: tuple[Path, ...]
    not_kept: str | None
    package: Package | None

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts, lists and numbers."""
        engine, package = self.engine, self.package
        return {
            "schema_version": REPORT_VERSION,
            "model": self.bundle.summary.to_dict(),
            "runtime": self.flavour.name,
            "version": self.flavour.version,
            "precision": engine.precision,
            "targets": [str(target) for target in self.targets],
            "bytes": len(engine.plan),
            "build_seconds": round(engine.seconds, 3),
            "convolution_flops": flops_by_precision(engine.products),
            "convolution_share": share_in(engine.products, engine.precision),
            "product_flops": flops_by_precision(engine.products, PRODUCTS),
            "product_share": share_in(engine.products, engine.precision, PRODUCTS),
            "changed": None if engine.edit is None else str(engine.edit),
            "kept": [str(folder) for folder in self.kept],
            "not_kept": self.not_kept,
            "package": None if package is None else {"folder": str(package.folder), "sha256": package.fingerprint},
        }


def build_ahead(
    bundle: Bundle,
    precision: str,
    targets: Iterable[str],
    *,
    flavour: str | None = None,
    output: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Ahead:
    """Build an engine and keep it where a session on such a GPU finds it.

    An engine for several targets is one file, kept once for each, so that each is found, counted and removed alone;
    sm_75 has one of its own, of a network that is changed for it: `turing`.
    No engine answers before it has passed the golden self-test, which a session runs when it first loads it.

    Args:
        precision: one that the bundle holds.
        targets: "sm_86"; none for the GPU at hand.
        flavour: "tensorrt_rtx" or "tensorrt"; by default what is installed, and for the GPU at hand what runs on it.
        output: a folder to write the engine and its signature to, for `trust_package` on another machine.
        force: replace such a folder that stands there.

    Raises:
        BackendError: no TensorRT, no GPU where one is needed, the bundle lacks the precision, or the build failed.
        UsageError: a target that the flavour does not know, sm_75 among others, or nowhere to put the engine.
        BundleError: the model is damaged; or it took longer than the caller's `cancel.opening_within` allows.
        KeyboardInterrupt: interrupted; nothing is left behind.
    """
    held = held_precision(bundle, precision)
    names = tuple(targets)
    # For the GPU at hand, the one that runs on it.
    found = find_flavour(flavour) if flavour or names else fitting_flavour()
    gpu = first_gpu()
    reached = choose_targets(found, names)
    if not reached:
        if gpu is None:
            raise _no_gpu(found)
        reached = choose_targets(found, [str(gpu.target)]) if found.builds_ahead else (gpu.target,)
    _check_units(held, reached)
    if output is not None:
        check_output(output, inputs=[bundle.shown], force=force)
    cache, not_kept = _cache()
    if cache is None and output is None:
        raise UsageError(f"The engine would be lost: {not_kept}.", Remedy("Name a folder for it", option="output"))
    manifest = bundle.manifest
    made = build(
        bundle,
        found,
        held,
        reached if found.builds_ahead else None,
        timing_cache=_times(found, gpu),
        report=gpu is not None and gpu.target in reached,
        progress=progress,
    )
    engine = made.engine
    facts = [key_facts(bundle, found, held, target, gpu) for target in reached]
    notes = {PRODUCTS_NAME: products_as_json(engine.products)}
    if made.layers is not None:
        notes[LAYERS_NAME] = made.layers
    if made.not_reported is not None:
        _log.warning("The engine's layers are not reported. %s", made.not_reported)
    kept: tuple[Path, ...] = ()
    if cache is not None:
        kept, not_kept = _keep(cache, facts, manifest.name, engine.plan, notes)
    package = None
    if output is not None:
        package = write_package(
            output,
            engine.plan,
            facts,
            bundle=manifest.name,
            manifest=bundle.sealed(),
            built_by=f"mmcaf-infer {__version__}",
            notes=notes,
            force=force,
        )
    elif not_kept is not None:
        raise UsageError(
            f"The engine was built and is lost: {not_kept}.", Remedy("Name a folder for it", option="output")
        )
    return Ahead(bundle, found, engine, reached, kept, not_kept, package)


def held_precision(bundle: Bundle, wanted: str) -> Precision:
    """The precision, if the bundle holds it.

    Raises:
        BackendError: it does not.
        UsageError: there is no such precision.
    """
    if (held := named_precision(wanted)) in bundle.manifest.models:
        return held
    raise BackendError(
        f"{bundle.manifest.name} holds no {wanted} network; it holds {', '.join(bundle.manifest.models)}.",
        Remedy("Add it", command=program("quantize", "BUNDLE", "--precision", wanted)),
        Remedy("Or name another one", option="precision"),
    )


def key_facts(bundle: Bundle, flavour: Flavour, precision: Precision, target: Target, gpu: Gpu | None) -> Facts:
    """What the cache finds an engine of a bundle by; a session on such a GPU asks for exactly these."""
    manifest = bundle.manifest
    facts = engine_facts(
        flavour,
        precision,
        target,
        manifest.inputs,
        manifest.outputs,
        gpu=None if gpu is None else gpu.name,
        driver=None if gpu is None else gpu.driver,
        lengths=text_lengths(manifest.text),
    )
    return {**facts, "model": model_hashes(manifest, precision)}


def products_as_json(found: Iterable[Product]) -> str:
    """The products as a JSON array of objects, in order."""
    return json.dumps([asdict(product) for product in found], indent=1) + "\n"


def _check_units(precision: Precision, targets: Iterable[Target]) -> None:
    """BF16 products exist from compute capability 8.0 on (NVIDIA, CUDA C++ Programming Guide, "Arithmetic Types")."""
    for target in targets:
        if "bf16" in types_in(precision) and target < BF16_FROM:
            raise UsageError(
                f"{target} has no BF16 units; {BF16_FROM} is the first that does.",
                Remedy("Build FP16 for it", option="precision", value="fp16"),
            )


def _cache() -> tuple[EngineCache | None, str | None]:
    """The cache, or in words why there is none."""
    limit = cache_limit()
    if limit == 0:
        return None, f"the cache is {switched_off()}"
    try:
        return EngineCache(ENGINES.folder(), limit), None
    except UsageError as failure:
        return None, failure.problem.rstrip(".")


def _times(flavour: Flavour, gpu: Gpu | None) -> Path | None:
    if flavour.builds_ahead or gpu is None:
        return None
    try:
        return timing_cache_file(flavour, gpu.name, gpu.driver)
    except UsageError as failure:
        _log.warning("The kernel times cannot be kept. %s", failure.problem)
        return None


def _keep(
    cache: EngineCache, facts: list[Facts], bundle: str, plan: bytes, notes: dict[str, str]
) -> tuple[tuple[Path, ...], str | None]:
    kept: list[Path] = []
    for one in facts:
        try:
            draft = cache.draft(one, bundle, lambda output: output.write(plan), notes=notes)
            cache.replace(draft)
        except EngineTooLargeError as failure:
            return tuple(kept), str(failure)
        except OSError as failure:
            return tuple(kept), f"{cache.folder}: {failure.strerror or failure}"
        kept.append(cache.folder / draft.key)
    return tuple(kept), None


def _no_gpu(flavour: Flavour) -> BackendError:
    ahead = Remedy("Name what to build for", option="target", value="sm_86") if flavour.builds_ahead else BUILD_AHEAD
    return BackendError(
        f"{flavour.name} {flavour.version} is to build for the GPU at hand, and there is none: {find_gpus().reason}.",
        ahead,
        WHICH_TARGET,
    )
