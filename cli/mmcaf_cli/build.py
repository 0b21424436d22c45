"""`mmcaf build BUNDLE`: an engine ahead of its first use; and what `mmcaf trust` says of one from another machine."""

from pathlib import Path
from typing import Any

from mmcaf_engine.backends.tensorrt.conv_precision import PRODUCTS, flops_by_precision
from mmcaf_engine.backends.tensorrt.signature import Package, package_output, read_package
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import printable, program
from mmcaf_engine.session.build_ahead import Ahead, build_ahead
from mmcaf_engine.session.trusting import trust_package

from .console import to_json
from .inspect_engine import shares
from .progress import ProgressBar
from .report import Report


def build_command(
    path: Path, targets: list[str], precision: str, flavour: str | None, output: Path | None, report: Report
) -> None:
    """Build, and print what was built, in which types it computes, and where it is."""
    if output is not None:
        report.check(package_output(output), inputs=[path])
    with ProgressBar() as progress:
        made = build_ahead(
            load_bundle(path),
            precision,
            targets,
            flavour=flavour,
            output=output,
            force=report.force,
            progress=progress,
        )
    report.give(lambda: "\n".join(_lines(made, made.bundle.manifest.name)), lambda: to_json(made.to_dict()))


def trust_engine(folder: Path, fingerprint: str | None, report: Report) -> None:
    """Show a package; with its fingerprint named, check it and put its engine into the cache."""
    package = read_package(folder) if fingerprint is None else trust_package(folder, fingerprint, force=report.force)
    more = _how_to_trust(package) if fingerprint is None else [_TRUSTED]
    report.give(
        lambda: "\n".join([*_package_lines(package), *more]),
        lambda: to_json(_document(package, trusted=fingerprint is not None)),
    )


_TRUSTED = "trusted: every hash matches, and sessions on these GPUs now load it"


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
            f"    {_trusting(made.package.folder.name, made.package)}",
        ]
    return lines


def _document(package: Package, *, trusted: bool) -> dict[str, Any]:
    signature = package.signature
    return {
        "model": {"name": signature.bundle, "bundle_sha256": signature.bundle_sha256},
        "runtime": signature.engines[0].runtime,
        "version": signature.engines[0].version,
        "precision": signature.engines[0].precision,
        "targets": [one.compute_capability for one in signature.engines],
        "bytes": package.size,
        "built_by": signature.built_by,
        "created": signature.created,
        "package": {"folder": str(package.folder), "sha256": package.fingerprint},
        "trusted": trusted,
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
        f"    {_trusting(str(package.folder), package)}",
    ]


def _trusting(folder: str, package: Package) -> str:
    """The command that trusts a package; a name of several lines would forge what stands around it."""
    return program("trust", printable(folder, 4096), "--sha256", package.fingerprint)


def _size(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
