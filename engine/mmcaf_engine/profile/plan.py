"""Which backends and precisions a profile measures, and why others are left out."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..backends.registry import Backends, unavailable
from ..backends.remedies import SEE_WHAT_RUNS
from ..bundle.bundle import Bundle
from ..errors import BackendError, Remedy, program
from ..manifest import Precision, named_precision
from ..session.choice import choose

ALL = "all"
"""As a backend: every one; as a precision: every one that the bundle holds."""


@dataclass(frozen=True)
class Planned:
    """A backend and a precision; skipped: why it cannot be measured, or None."""

    backend: str
    precision: Precision
    skipped: str | None


def plan(bundle: Bundle, backends: Sequence[str], precisions: Sequence[str], threads: int) -> tuple[Planned, ...]:
    """Every pair of what was asked for, each once, of which at least one can be measured.

    Raises:
        BackendError: a backend that was named is not available, the bundle holds no such precision, or no pair can be
            measured.
        UsageError: a backend or precision that was named is unknown.
    """
    found: dict[tuple[str, Precision], Planned] = {}
    for precision in _precisions(bundle, precisions):
        for backend in _backends(backends):
            try:
                choice = choose(bundle, backend=backend, precision=precision or "auto", threads=threads)
                one = Planned(choice.backend.name, choice.precision, None)
            except BackendError as failure:
                one = Planned(backend, precision or "fp32", failure.problem.rstrip("."))
            found.setdefault((one.backend, one.precision), one)
    planned = tuple(found.values())
    if all(one.skipped is not None for one in planned):
        reasons = "; ".join(str(one.skipped) for one in planned)
        raise BackendError(f"Nothing of {bundle.manifest.name} can be profiled here: {reasons}.", SEE_WHAT_RUNS)
    return planned


def _backends(wanted: Sequence[str]) -> list[str]:
    names: list[str] = []
    backends = Backends()
    for name in wanted or ("auto",):
        if name not in ("auto", ALL):
            kind = backends.named(name)
            if not (answer := backends.availability(kind)).available:
                raise unavailable(kind, answer)
        names += backends.classes if name == ALL else [name]
    return list(dict.fromkeys(names))


def _precisions(bundle: Bundle, wanted: Sequence[str]) -> list[Precision | None]:
    """None for "auto"."""
    held = bundle.manifest.models
    names: list[Precision | None] = []
    for name in wanted or ("auto",):
        if name == ALL:
            names += held
        elif name == "auto":
            names.append(None)
        elif (precision := named_precision(name)) in held:
            names.append(precision)
        else:
            raise BackendError(
                f"{bundle.manifest.name} holds no {name} network; it holds {', '.join(held)}.",
                Remedy("Leave it out, or add it", command=program("quantize", "BUNDLE", "--precision", name)),
            )
    return list(dict.fromkeys(names))
