"""`mmcaf build BUNDLE`: an engine ahead of its first use; `mmcaf trust FOLDER`: one from another machine."""

import json as json_format
from pathlib import Path
from typing import Any

from mmcaf_engine.backends.tensorrt.conv_precision import PRODUCTS, flops_by_precision, share_in
from mmcaf_engine.backends.tensorrt.signature import Package, read_package, trust
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.cache.cache import MAKE_ROOM
from mmcaf_engine.cache.engines import ENGINES, EngineCache, EngineTooLargeError, cache_limit, switched_off
from mmcaf_engine.errors import Remedy, UsageError
from mmcaf_engine.session.build_ahead import Ahead, build_ahead

from .inspect_engine import shares
from .progress import ProgressBar

REPORT_VERSION = 1


def build_command(
    path: Path, targets: list[str], precision: str, flavour: str | None, output: Path | None, json: bool
) -> None:
    """Build, and print what was built, in which types it computes, and where it is."""
    bundle = load_bundle(path)
    with ProgressBar() as progress:
        made = build_ahead(bundle, precision, targets, flavour=flavour, output=output, progress=progress)
    if json:
        print(json_format.dumps(_document(made, bundle.manifest.name, bundle.sha256), indent=2, allow_nan=False))
    else:
        print("\n".join(_lines(made, bundle.manifest.name)))


def trust_command(folder: Path, fingerprint: str | None) -> None:
    """Show a package; with its fingerprint named, check it and put its engine into the cache."""
    package = read_package(folder)
    if fingerprint is None:
        print("\n".join([*_package_lines(package), *_how_to_trust(package)]))
        return
    limit = cache_limit()
    if limit == 0:
        raise UsageError(f"The cache is {switched_off()}.", "Set another limit.")
    cache = EngineCache(ENGINES.folder(), limit)
    try:
        trust(package, fingerprint, cache)
    except EngineTooLargeError as failure:
        raise UsageError(
            f"{folder}: {failure}.", Remedy("Raise the limit", command="export MMCAF_CACHE_LIMIT=MIB")
        ) from None
    except OSError as failure:
        raise UsageError(
            f"{cache.folder}: the engine cannot be kept: {failure.strerror or failure}.",
            MAKE_ROOM,
        ) from None
    print("\n".join([*_package_lines(package), "trusted: every hash matches, and sessions on these GPUs now load it"]))


def _lines(made: Ahead, name: str) -> list[str]:
    engine, flavour = made.engine, made.flavour
    where = ", ".join(map(str, made.targets))
    products = flops_by_precision(engine.products, PRODUCTS)
    lines = [
        f"{name} {engine.precision} for {where}, by {flavour.name} {flavour.version}: {_size(len(engine.plan))} "
        f"in {engine.seconds:.1f} s",
        f"  convolutions  {shares(flops_by_precision(engine.products))}",
        *([f"  products      {shares(products)}"] if engine.precision.upper() in products else []),
        *([f"  changed       for {where}: {engine.edit}"] if engine.edit is not None else []),
        *(f"  kept          {folder}" for folder in made.kept),
    ]
    lines += [f"  not kept      {made.not_kept}"] if made.not_kept else []
    if made.package is not None:
        lines += [
            f"  written       {made.package.folder}",
            f"  fingerprint   {made.package.fingerprint}",
            "  to use it on another machine, copy the folder there and say that you trust this very one:",
            f"    mmcaf trust {made.package.folder.name} --sha256 {made.package.fingerprint}",
        ]
    return lines


def _document(made: Ahead, name: str, sha256: str) -> dict[str, Any]:
    engine = made.engine
    return {
        "schema_version": REPORT_VERSION,
        "model": {"name": name, "bundle_sha256": sha256},
        "runtime": made.flavour.name,
        "version": made.flavour.version,
        "precision": engine.precision,
        "targets": [str(target) for target in made.targets],
        "bytes": len(engine.plan),
        "build_seconds": round(engine.seconds, 3),
        "convolution_flops": flops_by_precision(engine.products),
        "convolution_share": share_in(engine.products, engine.precision),
        "product_flops": flops_by_precision(engine.products, PRODUCTS),
        "product_share": share_in(engine.products, engine.precision, PRODUCTS),
        "changed": None if engine.edit is None else str(engine.edit),
        "kept": [str(folder) for folder in made.kept],
        "not_kept": made.not_kept,
        "package": None
        if made.package is None
        else {"folder": str(made.package.folder), "sha256": made.package.fingerprint},
    }


def _package_lines(package: Package) -> list[str]:
    signature = package.signature
    signed = signature.engines[0]
    return [
        f"{signature.bundle} {signed.precision} for {', '.join(one.compute_capability for one in signature.engines)}, "
        f"an engine of {signed.runtime} {signed.version}, {_size(package.size)}, written by {signature.built_by}",
        f"  of bundle     {signature.bundle_sha256}",
        f"  fingerprint   {package.fingerprint}",
    ]


def _how_to_trust(package: Package) -> list[str]:
    return [
        "Not trusted and not checked yet. An engine is close to a program: compare the fingerprint with what",
        "mmcaf build has printed on the machine that built it. If it is the same:",
        f"    mmcaf trust {package.folder} --sha256 {package.fingerprint}",
    ]


def _size(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
