"""What this installation can do, and what it lacks."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from .. import __version__
from ..errors import BackendError, MmcafError

if TYPE_CHECKING:
    from ..bundle.bundle import Bundle

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
    """Look at the machine, packages, GPU, backends and their precisions, DICOM decoders, cache and default bundle."""
    return [
        *_machine(),
        *_packages(),
        *_gpus(),
        *_tensorrt(),
        *_backends(),
        _processor_kernels(),
        *_precisions(),
        *_decoders(),
        *_cache(),
        *_bundle(),
    ]


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
            remedy = "export needs it: pip install 'mmcaf-infer[export]'" if extra else f"pip install {name}"
            findings.append(Finding("package", name, "note" if extra else "problem", f"not installed; {remedy}"))
    return findings


def _gpus() -> list[Finding]:
    """Each GPU with its memory, driver and CUDA version; the first is the one that is used."""
    from ..machine.gpu import find_gpus, free_memory

    gpus = find_gpus()
    if not gpus.found:
        what = "" if gpus.present else "; the processor answers"
        return [Finding("gpu", "NVIDIA GPU", "note", f"{gpus.reason}{what}")]
    findings = []
    for gpu in gpus.found:
        free = free_memory(gpu)
        memory = f"{gpu.memory / 2**20:.0f} MiB" + ("" if free is None else f", {free / 2**20:.0f} MiB free")
        facts = f"compute capability {gpu.compute_capability}, {memory}, driver {gpu.driver}, CUDA "
        detail = gpu.too_old or f"{facts}{gpu.cuda[0]}.{gpu.cuda[1]}"
        findings.append(Finding("gpu", gpu.name, "note" if gpu.too_old else "ok", detail))
    return findings


def _tensorrt() -> list[Finding]:
    """Which TensorRT, and cuda-python, with the command that installs what is missing."""
    from ..backends.registry import installed_version
    from ..backends.tensorrt.backend import INSTALL
    from ..backends.tensorrt.flavour import find_flavour
    from ..backends.tensorrt.targets import supported_targets
    from ..machine.gpu import find_gpus

    use = "" if find_gpus().found else "of use with an NVIDIA GPU, or to build engines for one: "
    try:
        flavour = find_flavour()
    except BackendError as failure:
        tensorrt = Finding("gpu", "TensorRT", "note", f"{failure.problem} {use}{INSTALL}")
    else:
        targets = ", ".join(map(str, supported_targets(flavour))) or "the GPU at hand"
        detail = f"{flavour.name} {flavour.version}, builds engines for {targets}"
        tensorrt = Finding("gpu", "TensorRT", "ok", detail)
    python = installed_version("cuda-python") or installed_version("cuda-bindings")
    detail = python or f"not installed; {use}{INSTALL}"
    return [tensorrt, Finding("gpu", "cuda-python", "ok" if python else "note", detail)]


def _backends() -> list[Finding]:
    from ..backends.registry import OPTIONAL, availability

    answers = availability()
    missing: Literal["note", "problem"] = "note" if any(a.available for a in answers.values()) else "problem"
    return [
        Finding("backend", name, "ok" if answer.available else "note" if name in OPTIONAL else missing, answer.reason)
        for name, answer in answers.items()
    ]


def _processor_kernels() -> Finding:
    """Whether a gated LSTM runs as one kernel in OpenVINO, or operator by operator."""
    from ..backends.openvino.loops import kernels_missing

    reason = kernels_missing()
    detail = f"{reason}; CMASG-Bi-LSTM's recurrent part takes longer" if reason else "gated_lstm, for openvino"
    return Finding("backend", "processor kernels", "note" if reason else "ok", detail)


def _precisions() -> list[Finding]:
    from ..backends.registry import availability, backend_class
    from ..manifest import Precision

    findings = []
    for name, backend in availability().items():
        for precision in get_args(Precision) if backend.available else ():
            answer = backend_class(name).can_run(precision)
            status: Literal["ok", "note"] = "ok" if answer.available else "note"
            findings.append(Finding("precision", f"{name} {precision}", status, answer.reason))
    return findings


def _decoders() -> list[Finding]:
    from ..study.dicom.transfer_syntaxes import decoders

    return [
        Finding("transfer syntax", entry.name, "ok" if entry.plugins else "note", entry.detail) for entry in decoders()
    ]


def _cache() -> list[Finding]:
    from ..cache.cache import cache_folder, cached_items
    from ..cache.engines import cache_limit

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
    from ..bundle.bundle import load_bundle
    from ..bundle.default import default_bundle

    try:
        default = default_bundle()
        bundle = load_bundle(default.path)
        bundle.verify()
    except MmcafError as failure:
        return [Finding("bundle", "default", "problem", str(failure))]
    origin = f"{_shown(default.path)} ({default.source})"
    kind = "demonstration, " if bundle.manifest.demonstration else ""
    return [Finding("bundle", bundle.manifest.name, "ok", f"{kind}all hashes match, {origin}"), *_choice(bundle)]


def _choice(bundle: "Bundle") -> list[Finding]:
    """What backend and precision `auto` takes for a bundle, and what it passed over."""
    from ..machine.cpu import usable_cores
    from ..session.session import choose
    from ..session.timings import read_tuning

    tuning = read_tuning(bundle, usable_cores())
    try:
        backend, precision, passed_over = choose(bundle, "auto", "auto", tuning)
    except MmcafError as failure:
        return [Finding("bundle", "auto", "note", str(failure))]
    why = "by mmcaf tune" if tuning is not None and passed_over is None else "not tuned; to measure: mmcaf tune BUNDLE"
    said = f"; passed over: {passed_over}" if passed_over else ""
    return [Finding("bundle", "auto", "note" if passed_over else "ok", f"{backend.name} {precision}, {why}{said}")]


def _shown(path: Path) -> str:
    try:
        return f"~/{path.relative_to(Path.home())}"
    except ValueError:
        return str(path)
