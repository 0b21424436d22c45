"""What this installation can do, and what it lacks."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

from . import __version__
from .errors import MmcafError

PACKAGES = ("numpy", "pydantic", "typer", "pydicom", "imagecodecs", "onnxruntime", "openvino", "torch", "onnx")


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, how it stands, and what to do if it is not well.

    status: "ok"; "note" for something optional that is absent; "problem" for what stops the main job.
    """

    area: str
    subject: str
    status: Literal["ok", "note", "problem"]
    detail: str


def examine() -> list[Finding]:
    """Look at the machine, packages, backends and their precisions, DICOM decoders, cache and default bundle."""
    return [*_machine(), *_packages(), *_backends(), *_precisions(), *_decoders(), *_cache(), *_bundle()]


def _machine() -> list[Finding]:
    system = f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}"
    return [Finding("machine", "system", "ok", f"{system}, {os.cpu_count()} cores, mmcaf-infer {__version__}")]


def _packages() -> list[Finding]:
    findings = []
    for name in PACKAGES:
        try:
            findings.append(Finding("package", name, "ok", version(name)))
        except PackageNotFoundError:
            extra = name in ("torch", "onnx")
            remedy = "only export needs it: pip install 'mmcaf-infer[export]'" if extra else f"pip install {name}"
            findings.append(Finding("package", name, "note" if extra else "problem", f"not installed; {remedy}"))
    return findings


def _backends() -> list[Finding]:
    from .backends import availability

    answers = availability()
    missing: Literal["note", "problem"] = "note" if any(a.available for a in answers.values()) else "problem"
    return [
        Finding("backend", name, "ok" if answer.available else missing, answer.reason)
        for name, answer in answers.items()
    ]


def _precisions() -> list[Finding]:
    from .backends import availability, backend_class
    from .manifest import Precision

    findings = []
    for name, backend in availability().items():
        for precision in get_args(Precision) if backend.available else ():
            answer = backend_class(name).can_run(precision)
            status: Literal["ok", "note"] = "ok" if answer.available else "note"
            findings.append(Finding("precision", f"{name} {precision}", status, answer.reason))
    return findings


def _decoders() -> list[Finding]:
    from .study.transfer_syntaxes import decoders

    return [
        Finding("transfer syntax", entry.name, "ok" if entry.plugins else "note", entry.detail) for entry in decoders()
    ]


def _cache() -> list[Finding]:
    from .cache import cache_folder, cached_items
    from .engine_cache import cache_limit

    try:
        folder = cache_folder("engines")
        size = sum(item.size for item in cached_items()) / 2**20
        limit = cache_limit() / 2**20
    except MmcafError as failure:
        return [Finding("cache", "folder", "note", str(failure))]
    if not os.access(folder, os.W_OK):
        detail = f"{folder} is not writable; set MMCAF_CACHE to a folder that is"
        return [Finding("cache", "folder", "note", detail)]
    detail = f"{folder.parent}, {size:.0f} MiB; engines may take {limit:.0f} MiB"
    return [Finding("cache", "folder", "ok", detail)]


def _bundle() -> list[Finding]:
    from .bundle import load_bundle
    from .default_bundle import default_bundle

    try:
        default = default_bundle()
        bundle = load_bundle(default.path)
        bundle.verify()
    except MmcafError as failure:
        return [Finding("bundle", "default", "problem", str(failure))]
    origin = f"{_shown(default.path)} ({default.source})"
    kind = "demonstration, " if bundle.manifest.demonstration else ""
    return [Finding("bundle", bundle.manifest.name, "ok", f"{kind}all hashes match, {origin}")]


def _shown(path: Path) -> str:
    try:
        return f"~/{path.relative_to(Path.home())}"
    except ValueError:
        return str(path)
