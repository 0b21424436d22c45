"""`mmcaf doctor`, and its quick check."""

from collections.abc import Sequence
from pathlib import Path

from mmcaf_engine.checkup.check import Check
from mmcaf_engine.checkup.doctor import examine
from mmcaf_engine.errors import BackendError, Remedy, UsageError, paragraph

from .console import to_json
from .report import Report
from .run import advice

_MARKS = {"ok": "ok  ", "note": "note", "problem": "PROBLEM"}


def doctor_command(quick: bool, bundle: Path | None, report: Report) -> None:
    """Print the findings; exit code 6 if something stops the main job.

    Args:
        quick: check that the installation is healthy, instead of listing what it can do.
        bundle: check this one.
    """
    if bundle is not None and not quick:
        raise UsageError("--bundle is for the quick check.", Remedy("Add it", option="quick_check"))
    report.check(inputs=[bundle])
    if quick:
        from mmcaf_engine.checkup.quick_check import quick_check

        findings = quick_check(bundle)
    else:
        findings = examine()
    problems = [finding.subject for finding in findings if finding.status == "problem"]
    verdict = {"healthy": not problems} if quick else {}
    report.give(
        lambda: "\n".join(_lines(findings, quick)),
        lambda: to_json({**verdict, "findings": [finding.to_dict() for finding in findings]}),
    )
    if problems:
        said = "Not healthy" if quick else f"{len(problems)} problem(s) stop the main job"
        raise BackendError(f"{said}: {', '.join(problems)}.", "See the list above.")


def _lines(findings: Sequence[Check], quick: bool) -> list[str]:
    width = 26 if quick else 40
    lines = [
        f"{_MARKS[one.status]:8}{one.area:16}{one.subject:{width}}{paragraph(one.detail, advice(one.remedies))}"
        for one in findings
    ]
    healthy = quick and all(one.status != "problem" for one in findings)
    return [*lines, "healthy"] if healthy else lines
