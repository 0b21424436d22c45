"""`mmcaf doctor`, and its quick check."""

import json as json_format
from dataclasses import asdict
from pathlib import Path

from mmcaf_engine.checkup.doctor import examine
from mmcaf_engine.errors import BackendError, UsageError

_MARKS = {"ok": "ok  ", "note": "note", "problem": "PROBLEM"}


def doctor_command(json: bool, quick: bool = False, bundle: Path | None = None) -> None:
    """Print the findings; exit code 6 if something stops the main job.

    Args:
        quick: check that the installation is healthy, instead of listing what it can do.
        bundle: check this one.
    """
    if bundle is not None and not quick:
        raise UsageError("--bundle is for the quick check.", "Add --quick-check, or run: mmcaf verify BUNDLE")
    if quick:
        from mmcaf_engine.checkup.quick_check import quick_check

        findings = quick_check(bundle)
    else:
        findings = examine()
    problems = [finding.subject for finding in findings if finding.status == "problem"]
    if json:
        verdict = {"healthy": not problems} if quick else {}
        print(json_format.dumps({**verdict, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        width = 26 if quick else 40
        for finding in findings:
            print(f"{_MARKS[finding.status]:8}{finding.area:16}{finding.subject:{width}}{finding.detail}")
        if quick and not problems:
            print("healthy")
    if problems:
        said = "Not healthy" if quick else f"{len(problems)} problem(s) stop the main job"
        raise BackendError(f"{said}: {', '.join(problems)}.", "See the list above.")
