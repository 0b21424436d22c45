"""Whether a bundle is whole, and whether what this machine runs it with gives the stored answers."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..backends.registry import Backends, unavailable
from ..bundle.bundle import Bundle
from ..cancel import Progress
from ..errors import BackendError, Remedy, UnsupportedNetworkError, program
from ..manifest import Precision
from ..session.choice import Choice, backend_for, splits
from ..session.explaining import check_explaining
from ..session.first_opening import first_of
from ..session.self_test import SelfTest, run_self_test
from .raw_case import PREPARED_TOLERANCE, RawCheck, check_raw_case

REPORT_VERSION = 1


@dataclass(frozen=True)
class Verified:
    """What became of one backend at one precision: exactly one of the last three is set.

    precision: None where the backend runs none here. in_parts: the network was run in two parts, as with kept reports.
    heat_maps: not the network was run, but the graph that draws its heat maps.
    raw_case: how far its answer to the raw case is from the stored one, where the bundle has such a case.
    self_test: it passed. failure: why it may not answer. not_tested: in words, why that is not known.
    """

    backend: str
    precision: Precision | None
    in_parts: bool = False
    heat_maps: bool = False
    raw_case: float | None = None
    self_test: SelfTest | None = None
    failure: BackendError | None = None
    not_tested: str | None = None

    @property
    def title(self) -> str:
        """Backend and precision in words."""
        how = ["in two parts"] * self.in_parts + ["heat maps"] * self.heat_maps
        return " ".join([self.backend, *filter(None, [self.precision]), *how])


@dataclass(frozen=True)
class VerifyReport:
    """A bundle of which every hash matches, and what each backend and precision did with its golden cases.

    raw_case: its raw case, whose windows and features are as stored; None where it has none.
    """

    bundle: Bundle
    raw_case: RawCheck | None
    verified: tuple[Verified, ...]

    def require_passed(self) -> None:
        """Raise the first failure.

        Raises:
            BackendError: a self-test failed, or nothing could be tested here.
        """
        for one in self.verified:
            if one.failure is not None:
                raise one.failure
        if not any(one.self_test for one in self.verified):
            raise BackendError("No backend could be tested here.", Remedy("See why", command=program("doctor")))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists and numbers."""
        manifest = self.bundle.manifest
        return {
            "schema_version": REPORT_VERSION,
            "model": self.bundle.summary.to_dict(),
            "signature": asdict(self.bundle.origin),
            "files": len(manifest.files),
            "raw_case": self.raw_case
            and {
                "windows": self.raw_case.windows,
                "features": self.raw_case.features,
                "tolerance": PREPARED_TOLERANCE,
            },
            "self_tests": [
                {
                    "backend": one.backend,
                    "precision": one.precision,
                    "in_parts": one.in_parts,
                    "heat_maps": one.heat_maps,
                    "passed": None if one.not_tested is not None else one.self_test is not None,
                    "cases": one.self_test and one.self_test.cases,
                    "max_abs_error": one.self_test and one.self_test.max_abs_error,
                    "tolerance": one.self_test and one.self_test.tolerance,
                    "raw_case_error": one.raw_case,
                    "reason": one.not_tested if one.failure is None else str(one.failure),
                }
                for one in self.verified
            ],
        }


def verify_bundle(bundle: Bundle, backend: str | None = None, *, progress: Progress | None = None) -> VerifyReport:
    """Check every hash, prepare the raw case, then answer that and the golden cases at every precision that runs here.

    Nothing is taken from what earlier processes remember. A self-test that fails does not end it: the report has all.

    Args:
        bundle: from `load_bundle`.
        backend: test this one only.
        progress: called with (what is tested, how many were, how many there are).

    Raises:
        BundleError: a file is damaged, the golden cases cannot be used, or the raw case does not become what it did.
        BackendError: the backend that was named cannot run here.
        UsageError: there is none of that name.
    """
    bundle.verify()
    raw = check_raw_case(bundle)
    planned = list(_planned(bundle, backend))
    verified = []
    for done, (one, choice) in enumerate(planned):
        if progress is not None:
            progress(one.title, done, len(planned))
        verified.append(one if choice is None else _tested(bundle, raw, one, choice))
    return VerifyReport(bundle, raw, tuple(verified))


def _planned(bundle: Bundle, only: str | None) -> Iterator[tuple[Verified, Choice | None]]:
    """What is to be tested and what runs it, or None where the reason is known already."""
    backends = Backends()
    for kind in backends.classes.values() if only is None else [backends.named(only)]:
        name = kind.name
        answer = backends.availability(kind)
        if not answer.available:
            if only is not None:
                raise unavailable(kind, answer)
            yield Verified(name, None, not_tested=answer.reason), None
            continue
        for precision in bundle.manifest.models:
            answer = backends.can_run(kind, precision)
            if not answer.available:
                yield Verified(name, precision, not_tested=answer.reason), None
                continue
            choice = Choice(kind, precision)
            yield Verified(name, precision), choice
            if splits(bundle, choice).available:
                yield Verified(name, precision, in_parts=True), choice
            if precision == "fp32" and bundle.manifest.explain is not None:
                yield Verified(name, precision, heat_maps=True), choice


def _tested(bundle: Bundle, raw: RawCheck | None, planned: Verified, choice: Choice) -> Verified:
    try:
        if planned.heat_maps:
            return replace(planned, self_test=check_explaining(bundle, choice))
        reports = int(planned.in_parts)
        backend = backend_for(bundle, choice, reports=reports)
        if (first := first_of(bundle, backend, reports, keep=False)) is not None:
            first()
        with backend as opened:
            passed = run_self_test(bundle, opened)
            error = None if raw is None else raw.answer_error(opened.infer, choice.precision)
            return replace(planned, self_test=passed, raw_case=error)
    except UnsupportedNetworkError as failure:
        return replace(planned, not_tested=failure.problem.removesuffix("."))
    except BackendError as failure:
        return replace(planned, failure=failure)
