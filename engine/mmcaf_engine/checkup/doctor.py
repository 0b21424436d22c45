"""What this installation can do, and what it lacks."""

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import MmcafError, Remedy, program
from ..machine.installation import install_command, install_package
from .check import Check, Status
from .configured import shown, trusted, values

if TYPE_CHECKING:
    from ..backends.base import Backend
    from ..backends.registry import Backends
    from ..bundle.bundle import Bundle

PACKAGES = ("numpy", "pydantic", "typer", "pydicom", "imagecodecs", "onnxruntime", "openvino")
OPTIONAL = {
    "tokenizers": ("text", "networks that read a report need it"),
    "cryptography": ("sign", "signed bundles need it"),
    "highdicom": ("dicom", "results as DICOM objects need it"),
    "torch": ("export", "export needs it"),
    "onnx": ("export", "export needs it"),
}
"""Package -> the extra that brings it, and what it is for."""

CHOICE = "will run"
"""The area of what `auto` takes."""


def examine(device: str | None = None) -> list[Check]:
    """Look at the machine, packages, GPU, backends and their precisions, DICOM decoders, cache and default bundle.

    Args:
        device: look only at whether OpenVINO runs on this one, and in which precisions.

    Raises:
        UsageError: OpenVINO has no device of that name.
    """
    from ..backends.registry import Backends

    backends = Backends()
    if device is not None:
        kind = backends.named(f"openvino:{device}")
        return [*_backend(backends, kind, "problem"), *_precisions(backends, [kind])]
    settings = values()
    readable = all(one.status != "problem" for one in settings)
    return [
        *_machine(),
        *_packages(),
        *_gpus(),
        *_backends(backends),
        *_precisions(backends, backends.on_devices()),
        *_decoders(),
        *settings,
        *(trusted() if readable else ()),
        *(_cache() if readable else ()),  # What cannot be read is said once.
        *_bundle(backends, readable),
    ]


def _machine() -> list[Check]:
    system = f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}"
    return [
        Check("machine", "system", "ok", f"{system}, {os.cpu_count()} cores, mmcaf-infer {__version__}"),
        _resizing(),
        _c_library(),
    ]


def _resizing() -> Check:
    from ..inputs.resize import native_missing

    if (reason := native_missing()) is None:
        return Check("machine", "resizing", "ok", "slices by processor kernels")
    return Check("machine", "resizing", "note", f"slices by NumPy, to the same bits but slower: {reason}")


def _c_library() -> Check:
    from ..capi.library import fault

    if (reason := fault()) is None:
        return Check("machine", "C library", "ok", "C library for other programs")
    return Check("machine", "C library", "note", reason)


def _packages() -> list[Check]:
    checks = []
    for name in (*PACKAGES, *OPTIONAL):
        try:
            checks.append(Check("package", name, "ok", version(name)))
        except PackageNotFoundError:
            if name in OPTIONAL:
                extra, purpose = OPTIONAL[name]
                install = Remedy("Install it", command=install_command(extra))
                checks.append(Check("package", name, "note", f"not installed; {purpose}", (install,)))
            else:
                install = Remedy("Install it", command=install_package(name))
                checks.append(Check("package", name, "problem", "not installed", (install,)))
    return checks


def _gpus() -> list[Check]:
    """Each GPU with its memory, driver and CUDA version, and which of several is used."""
    from ..machine.gpu import find_gpus, free_memory

    gpus = find_gpus()
    if not gpus.found:
        what = "" if gpus.present else "; the processor answers"
        return [Check("gpu", "NVIDIA GPU", "note", f"{gpus.reason}{what}", gpus.remedies)]
    checks = []
    for gpu in gpus.found:
        free = free_memory(gpu)
        memory = f"{gpu.memory / 2**20:.0f} MiB" + ("" if free is None else f", {free / 2**20:.0f} MiB free")
        facts = f"compute capability {gpu.compute_capability}, {memory}, driver {gpu.driver}, CUDA "
        if gpu.unusable:
            checks.append(Check("gpu", gpu.name, "note", gpu.unusable, gpu.remedies))
        else:
            used = "; not used: the first that $CUDA_VISIBLE_DEVICES leaves visible is" if gpu.index else ""
            checks.append(Check("gpu", gpu.name, "ok", f"{facts}{gpu.cuda[0]}.{gpu.cuda[1]}{used}"))
    return checks


def _backends(backends: "Backends") -> list[Check]:
    """Each backend, what else it says of itself, and those of other packages that cannot be used."""
    listed = {kind.name: kind for kind in backends.on_devices()}
    answers = {name: backends.availability(kind) for name, kind in listed.items()}
    missing: Status = "note" if any(a.available for a in answers.values()) else "problem"
    checks: list[Check] = []
    for kind in listed.values():
        checks += _backend(backends, kind, "note" if kind.optional else missing)
    for broken in backends.broken:
        said = f"of the package {broken.origin}, cannot be used: {broken.reason}"
        checks.append(Check("backend", broken.name, "note", said))
    return checks


def _backend(backends: "Backends", kind: type["Backend"], missing: Status) -> Iterator[Check]:
    """Whether a backend runs, as `missing` where it does not, and what else it says of itself."""
    answer = backends.availability(kind)
    origin = f"; of the package {kind.origin}" if kind.origin and kind.origin not in answer.reason else ""
    yield Check(
        "backend", kind.name, "ok" if answer.available else missing, f"{answer.reason}{origin}", answer.remedies
    )
    for detail in backends.details(kind):
        yield Check("backend", detail.subject, "ok" if detail.present else "note", detail.text, detail.remedies)


def _precisions(backends: "Backends", kinds: Sequence[type["Backend"]]) -> list[Check]:
    from ..manifest import PRECISIONS

    checks = []
    for name, kind in ((kind.name, kind) for kind in kinds):
        for precision in PRECISIONS if backends.availability(kind).available else ():
            answer = backends.can_run(kind, precision)
            status: Status = "ok" if answer.available else "note"
            checks.append(Check("precision", f"{name} {precision}", status, answer.reason, answer.remedies))
    return checks


def _decoders() -> list[Check]:
    from ..study.dicom.transfer_syntaxes import decoders

    return [
        Check("transfer syntax", entry.name, "ok" if entry.plugins else "note", entry.detail, entry.remedies)
        for entry in decoders()
    ]


def _cache() -> list[Check]:
    from ..cache.cache import OTHER_FOLDER
    from ..cache.engines import ENGINES
    from .kept import cached_items

    try:
        folder = ENGINES.folder()
        size = sum(item.size for item in cached_items()) / 2**20
    except MmcafError as failure:
        return [Check.refused("cache", "folder", "note", failure)]
    if not os.access(folder, os.W_OK):
        return [Check("cache", "folder", "note", f"{folder} is not writable", (OTHER_FOLDER,))]
    detail = f"{folder.parent}, {size:.0f} MiB"
    return [Check("cache", "folder", "ok", detail)]


def _bundle(backends: "Backends", readable: bool) -> list[Check]:
    """The bundle that answers when none is named, and what would run it; with the demonstration where it is not sound.

    Args:
        readable: whether the settings, which may name one, can be read.
    """
    from ..bundle.bundle import load_bundle
    from ..bundle.default import default_bundle

    if not readable:
        return _without_bundle("the settings are mended")
    try:
        default = default_bundle()
        bundle = load_bundle(default.path)
        bundle.verify()
    except MmcafError as failure:
        return [
            Check.refused("bundle", "default", "problem", failure),
            *_without_bundle("there is a sound bundle"),
        ]
    origin = f"{shown(default.path)} ({default.source})"
    kind = "demonstration, " if bundle.manifest.demonstration else ""
    return [
        Check("bundle", bundle.manifest.name, "ok", f"{kind}all hashes match, {origin}"),
        *_choice(bundle),
        *_claims(bundle, backends),
    ]


def _without_bundle(condition: str) -> list[Check]:
    """What would run the demonstration, whoever has made it: that is what would run any bundle, unless tuned.

    Args:
        condition: what must be done first.
    """
    from ..bundle.bundle import load_unjudged
    from ..bundle.default import demo_bundle

    try:
        return _choice(load_unjudged(demo_bundle()), condition)
    except MmcafError:  # Nothing more is said of it: what is wrong with a bundle is said above.
        return [Check(CHOICE, "auto", "note", f"not known until {condition}")]


def _choice(bundle: "Bundle", condition: str = "") -> list[Check]:
    """What backend, precision and device a session takes by itself for a bundle, why, and what it passes over.

    Args:
        condition: what must be done first, where something must.
    """
    from ..session.choice import plan

    try:
        choice, backend = plan(bundle, tuned=_is_tuning_kept())
    except MmcafError as failure:
        return [Check.refused(CHOICE, "auto", "note", failure)]
    why = f"once {condition}" if condition else ("the fastest as tuned here" if choice.tuned else "not tuned")
    said = f"; passed over: {choice.fallback}" if choice.fallback else ""
    detail = f"{choice.backend.name} {choice.precision} on {backend.device}, {why}{said}"
    tune = () if choice.tuned or condition else (Remedy("Measure what is fastest", command=program("tune", "BUNDLE")),)
    return [Check(CHOICE, "auto", "note" if choice.fallback or condition else "ok", detail, tune)]


def _is_tuning_kept() -> bool:
    """Whether there are times of any bundle; not where the cache is refused, of which more is said elsewhere."""
    from ..session.timings import TUNING

    try:
        return TUNING.is_made()
    except MmcafError:
        return False


def _claims(bundle: "Bundle", backends: "Backends") -> list[Check]:
    """Whether backends of other packages load the bundle in every precision that they say they run.

    Not where an engine is built first, which takes long: `mmcaf verify` tries those, and the answers of all.
    """
    from ..session.choice import Choice, backend_for
    from ..session.first_opening import first_of

    checks = []
    for name, kind in backends.classes.items():
        for precision in bundle.manifest.models if kind.origin and not kind.keeps_engines else ():
            if not backends.can_run(kind, precision).available:
                continue
            subject = f"{name} {precision}"
            try:
                backend = backend_for(bundle, Choice(kind, precision))
                if (first := first_of(bundle, backend, keep=False)) is not None:
                    first()
                with backend:
                    pass
                checks.append(Check("bundle", subject, "ok", f"loads {bundle.manifest.name}"))
            except MmcafError as failure:
                said = f"says that it runs {precision}, and does not: {failure.problem} Of the package {kind.origin}"
                checks.append(Check("bundle", subject, "note", said, failure.remedies))
    return checks
