"""`mmcaf verify`."""

from pathlib import Path

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.cancel import CancelToken, limited
from mmcaf_engine.checkup.verify import Verified, VerifyReport, verify_bundle

from .console import to_json
from .options import on_device
from .progress import ProgressBar
from .report import Report


def verify_command(path: Path, backend: str | None, device: str | None, report: Report) -> None:
    """Print the report, as text or JSON; a failure ends with its exit code after that."""
    report.check(inputs=[path])
    only = on_device(backend or "auto", device) if device is not None else backend
    with limited(CancelToken()), ProgressBar() as progress:  # So that Ctrl-C ends what a runtime does not.
        found = verify_bundle(load_bundle(path), only, progress=progress)
    report.give(lambda: "\n".join(_lines(found)), lambda: to_json(found.to_dict()))
    found.require_passed()


def _lines(report: VerifyReport) -> list[str]:
    manifest = report.bundle.manifest
    raw = "no raw case" if report.raw_case is None else f"raw case: {report.raw_case.in_words()}"
    return [
        f"{manifest.name}: {len(manifest.files)} files, every hash matches, {report.bundle.origin.in_words}",
        raw,
        *map(_line, report.verified),
    ]


def _line(one: Verified) -> str:
    if one.self_test is not None:
        test = one.self_test
        raw = "" if one.raw_case is None else f", the raw case's probability within {one.raw_case:.1e}"
        return (
            f"{one.title}: {test.cases} golden cases within {test.max_abs_error:.1e}{raw} (at most {test.tolerance:g})"
        )
    return f"{one.title}: not tested, {one.not_tested}" if one.failure is None else f"{one.title}: FAILED"
