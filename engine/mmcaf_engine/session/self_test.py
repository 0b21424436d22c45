"""The golden self-test: a session answers the bundle's stored cases before it may answer a patient's."""

import hashlib
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.base import Backend
from ..backends.remedies import OTHER_BACKEND
from ..bundle.bundle import Bundle
from ..bundle.golden import read_cases
from ..cache.cache import CacheKind, mark_used, open_own, read_own_json
from ..errors import BackendError, Remedy, UsageError, program, with_cause
from ..manifest import Manifest, Precision
from ..outputs import write_file
from ..volume import Arrays

TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 5e-2, "int8": 1e-1, "int8-bf16": 1e-1}
"""Largest |difference| of an output from the stored one, in logit units.

Stored are the source network's answers; for INT8 the quantised network's own ("NAME@int8" in golden.npz), since
the gate has judged how far those may be off, and what is left to find out is whether this machine agrees.
"""
MAP_TOLERANCE = 1e-3
"""The same of heat maps, which have no unit: in parts of the largest stored value."""

_log = logging.getLogger(__name__)


def _describe(stamp: Path) -> str:
    stored = read_own_json(stamp)
    return f"{stored['bundle']}, {stored['backend']} {stored['precision']}"


SELF_TESTS = CacheKind("self-tests", "self-test", r"[0-9a-f]{32}\.json", _describe)


@dataclass(frozen=True)
class SelfTest:
    """Outcome of the golden cases.

    errors: output -> largest |difference| from the stored one, infinite if anything is not finite; max_abs_error: the
    largest of them; remembered: an earlier process ran the cases.
    """

    errors: dict[str, float]
    tolerance: float
    cases: int
    remembered: bool

    @property
    def max_abs_error(self) -> float:
        """The largest error of any output."""
        return max(self.errors.values())

    @property
    def fault(self) -> str:
        """Where it has not passed, what is wrong, in words."""
        worst = max(self.errors, key=lambda name: self.errors[name])
        error = f"its {worst} of a stored case is off by {self.max_abs_error:.2g}"
        return f"{error}; at most {self.tolerance:g} is allowed"

    @property
    def passed(self) -> bool:
        """Whether every output is within the tolerance in every case."""
        within = [0 <= error <= self.tolerance for error in self.errors.values()]
        return self.cases > 0 and bool(within) and all(within)

    def to_dict(self) -> dict[str, Any]:
        """For `Session.describe`."""
        return {
            "passed": self.passed,
            "max_abs_error": self.max_abs_error,
            "errors": self.errors,
            "tolerance": self.tolerance,
            "cases": self.cases,
            "remembered": self.remembered,
        }


NOT_TESTED: dict[str, Any] = {
    "passed": None,
    "max_abs_error": None,
    "errors": {},
    "tolerance": None,
    "cases": 0,
    "remembered": False,
}
"""For `Session.describe` of a session that was opened without a self-test."""


def run_self_test(bundle: Bundle, backend: Backend) -> SelfTest:
    """Run every golden case through an open backend; one with a text also in the shortest bucket that holds it.

    Raises:
        BackendError: an output differs by more than the precision's tolerance, or is not finite.
        BundleError: golden.npz does not hold the manifest's inputs and outputs, in its shapes and types.
    """
    outcome = measure(bundle.manifest, backend.precision, backend.infer, read_cases(bundle, backend.precision))
    if not outcome.passed:
        raise BackendError(
            f"{backend.name} {backend.kind.version()} in {backend.precision} fails the self-test of "
            f"{bundle.manifest.name}: {outcome.fault}. It will not answer.",
            OTHER_BACKEND,
            Remedy("Or another precision", option="precision"),
            Remedy("Report what this machine has", command=program("doctor")),
        )
    return outcome


def measure(manifest: Manifest, precision: Precision, infer: Callable[..., Arrays], cases: Arrays) -> SelfTest:
    """What a precision's network answers to stored cases; one with a text also in the shortest bucket that holds it.

    Args:
        infer: of an open backend, or a session's `run`.
        cases: as `read_cases` gives them.

    Raises:
        BackendError: the runtime failed.
    """
    count = len(cases[manifest.inputs[0].name])
    errors = largest_errors(manifest, infer, cases)
    for at in range(count) if manifest.text is not None else ():
        one = {name: array[at : at + 1] for name, array in cases.items()}
        if (shorter := _unpadded(one, manifest)) is not None:
            for name, error in largest_errors(manifest, infer, shorter).items():
                errors[name] = max(errors[name], error)
    return SelfTest(errors, tolerance_of(manifest, precision), count, remembered=False)


def tolerance_of(manifest: Manifest, precision: Precision) -> float:
    """What `TOLERANCE` allows, or of the graph of heat maps `MAP_TOLERANCE`."""
    return MAP_TOLERANCE if manifest.outputs[0].kind == "map" else TOLERANCE[precision]


def largest_errors(manifest: Manifest, infer: Callable[..., Arrays], cases: Arrays) -> dict[str, float]:
    """Output -> largest |difference| from the stored one, of heat maps in parts of the largest value; infinite if
    anything is not finite."""
    try:
        answers = infer({spec.name: cases[spec.name] for spec in manifest.inputs}, optional=True)
    except BackendError as failure:
        raise with_cause(failure) from failure.__cause__
    found = {}
    for spec in manifest.outputs:
        difference = np.abs(answers[spec.name].astype(np.float64) - cases[spec.name])
        if spec.kind == "map":
            difference /= float(np.abs(cases[spec.name]).max(initial=0.0)) or 1.0
        found[spec.name] = float(difference.max(initial=0.0)) if np.isfinite(difference).all() else math.inf
    return found


def _unpadded(case: Arrays, manifest: Manifest) -> Arrays | None:
    """A case with its text in the smallest bucket that holds it; None if it lies in that one already."""
    tokens, mask = manifest.input("tokens").name, manifest.input("token_mask").name
    needed = int(np.flatnonzero(case[mask][0]).max(initial=0)) + 1
    buckets = () if manifest.text is None else manifest.text.buckets
    length = next((bucket for bucket in buckets if bucket >= needed), needed)
    if length >= case[mask].shape[1]:
        return None
    cut = {tokens, mask, *(spec.name for spec in manifest.outputs if "L" in spec.shape)}
    return {name: array[:, :length] if name in cut else array for name, array in case.items()}


def ensure_self_test(bundle: Bundle, backend: Backend, *, engine: str = "", again: bool = False) -> SelfTest:
    """As `run_self_test`, but a pass is remembered for this bundle, runtime, engine, and processor or GPU and driver.

    Args:
        engine: SHA-256 of the kept engine that the backend runs; "" if it built the network in memory.
        again: run it even if a pass is remembered.
    """
    try:
        stamp = _stamp(bundle, backend, engine)
    except UsageError as failure:
        _log.warning("The self-test cannot be remembered and will run each time. %s", failure.problem)
        return run_self_test(bundle, backend)
    tolerance = tolerance_of(bundle.manifest, backend.precision)
    if not again and (remembered := _remembered(stamp, tolerance)) is not None:
        return remembered
    outcome = run_self_test(bundle, backend)
    _remember(stamp, outcome, bundle, backend)
    return outcome


def has_passed(bundle: Bundle, backend: Backend, *, engine: str = "") -> bool:
    """Whether `ensure_self_test` with these arguments would remember a pass."""
    try:
        stamp = _stamp(bundle, backend, engine)
    except UsageError:
        return False
    return _remembered(stamp, tolerance_of(bundle.manifest, backend.precision)) is not None


def _stamp(bundle: Bundle, backend: Backend, engine: str) -> Path:
    return SELF_TESTS.folder() / f"{_key(bundle, backend, engine)}.json"


def _remembered(stamp: Path, tolerance: float) -> SelfTest | None:
    """The pass that the stamp records; None without a stamp, or with one that is damaged or not this user's."""
    try:
        with open_own(stamp) as stream:
            stored = json.loads(stream.read(4096))
        errors = {str(name): float(error) for name, error in stored["errors"].items()}
        outcome = SelfTest(errors, tolerance, int(stored["cases"]), remembered=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not errors or not outcome.passed:
        return None
    mark_used(stamp)
    return outcome


def _remember(stamp: Path, outcome: SelfTest, bundle: Bundle, backend: Backend) -> None:
    stored = {
        "bundle": bundle.manifest.name,
        "backend": backend.name,
        "precision": backend.precision,
        "errors": outcome.errors,
        "cases": outcome.cases,
    }
    try:
        write_file(stamp, json.dumps(stored))
    except OSError as failure:
        _log.warning("The self-test cannot be remembered and will run each time. %s: %s.", stamp, failure.strerror)


def _key(bundle: Bundle, backend: Backend, engine: str) -> str:
    kind = backend.kind
    facts = [bundle.sha256, backend.name, kind.build(), backend.device, backend.precision, backend.threads, engine]
    facts += [code] if (code := kind.code()) else []
    return hashlib.sha256(json.dumps([*facts, *backend.machine()]).encode()).hexdigest()[:32]
