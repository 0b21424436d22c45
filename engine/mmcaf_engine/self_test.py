"""The golden self-test: a session answers the bundle's stored cases before it may answer a patient's."""

import hashlib
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .backends.base import Backend
from .bundle import Bundle
from .cache import cache_folder
from .errors import BackendError, BundleError
from .manifest import Precision

TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 5e-2, "int8": 1e-1}
"""Largest |difference| of an output from the source network's, in logit units."""


@dataclass(frozen=True)
class SelfTest:
    """Outcome of the golden cases; `remembered` is True when an earlier process ran them."""

    max_abs_error: float
    tolerance: float
    cases: int
    remembered: bool


def run_self_test(bundle: Bundle, backend: Backend, precision: Precision) -> SelfTest:
    """Run every golden case through an open backend.

    Raises:
        BackendError: an output differs by more than the precision's tolerance, or is not finite.
        BundleError: golden.npz does not hold the manifest's inputs and outputs.
    """
    cases = _golden_cases(bundle)
    tolerance = TOLERANCE[precision]
    count = len(cases[bundle.manifest.inputs[0].name])
    answers = backend.infer({spec.name: cases[spec.name] for spec in bundle.manifest.inputs})
    worst = 0.0
    for spec in bundle.manifest.outputs:
        difference = np.abs(answers[spec.name].astype(np.float64) - cases[spec.name])
        worst = max(worst, float(difference.max(initial=0.0)) if np.isfinite(difference).all() else np.inf)
    if worst > tolerance:
        raise BackendError(
            f"{backend.name} {backend.version()} in {precision} fails the self-test of {bundle.manifest.name}: its "
            f"answer to a stored case is off by {worst:.2g}; at most {tolerance:g} is allowed. It will not answer.",
            "Use another one with --backend or --precision, and report this machine's: mmcaf doctor",
        )
    return SelfTest(worst, tolerance, count, remembered=False)


def ensure_self_test(bundle: Bundle, backend: Backend, precision: Precision) -> SelfTest:
    """As `run_self_test`, but a pass is remembered for this bundle, runtime version and processor."""
    stamp = cache_folder("self-tests") / f"{_key(bundle, backend, precision)}.json"
    try:
        stored = json.loads(stamp.read_text(encoding="utf-8"))
        remembered = SelfTest(float(stored["max_abs_error"]), TOLERANCE[precision], int(stored["cases"]), True)
        if remembered.max_abs_error <= remembered.tolerance:
            return remembered
    except (OSError, ValueError, KeyError, TypeError):
        pass  # No stamp, or a damaged one: test again, which writes it anew.
    outcome = run_self_test(bundle, backend, precision)
    draft = stamp.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps({"max_abs_error": outcome.max_abs_error, "cases": outcome.cases}), encoding="utf-8")
    draft.replace(stamp)
    return outcome


def _golden_cases(bundle: Bundle) -> dict[str, np.ndarray[Any, Any]]:
    needed = [*bundle.manifest.inputs, *bundle.manifest.outputs]
    try:
        with np.load(bundle.file("golden.npz"), allow_pickle=False) as archive:
            cases = {spec.name: archive[spec.name].astype(np.float32) for spec in needed}
    except (KeyError, ValueError, OSError) as failure:
        raise BundleError(
            f"{bundle.folder}: golden.npz cannot be used: {failure}.", "Export the bundle again."
        ) from None
    counts = {len(array) for array in cases.values()}
    if len(counts) != 1 or 0 in counts:
        raise BundleError(f"{bundle.folder}: golden.npz holds no cases, or unequal numbers of them.")
    return cases


def _key(bundle: Bundle, backend: Backend, precision: Precision) -> str:
    facts = [bundle.sha256, backend.name, backend.version(), backend.device, precision, backend.threads]
    machine = [platform.machine(), platform.processor(), platform.system(), platform.release(), _cpu_model()]
    return hashlib.sha256(json.dumps([*facts, *machine]).encode()).hexdigest()[:32]


def _cpu_model() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as stream:
            return next((line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")), "")
    except OSError:
        return ""
