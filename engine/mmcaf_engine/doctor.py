"""What this installation can do, and what it lacks."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

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
    """Look at the machine, packages, backends, DICOM decoders, cache and default bundle."""
    return [*_machine(), *_packages(), *_backends(), *_decoders(), *_cache(), *_bundle()]


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


def _decoders() -> list[Finding]:
    from .study.transfer_syntaxes import decoders

    return [
        Finding("transfer syntax", entry.name, "ok" if entry.plugins else "note", entry.detail) for entry in decoders()
    ]


def _cache() -> list[Finding]:
    from .cache import cache_folder

    try:
        folder = cache_folder("self-tests").parent
    except MmcafError as failure:
        return [Finding("cache", "folder", "problem", str(failure))]
    writable = os.access(folder, os.W_OK)
    detail = str(folder) if writable else f"{folder} is not writable; set MMCAF_CACHE to a folder that is"
    return [Finding("cache", "folder", "ok" if writable else "problem", detail)]


def _bundle() -> list[Finding]:
    from .bundle import load_bundle
    from .default_bundle import default_bundle

    try:
        default = default_bundle()
        bundle = load_bundle(default.path)
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
