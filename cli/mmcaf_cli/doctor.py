"""`mmcaf doctor`."""

import json as json_format
from dataclasses import asdict

from mmcaf_engine.doctor import examine
from mmcaf_engine.errors import BackendError

_MARKS = {"ok": "ok  ", "note": "note", "problem": "PROBLEM"}


def doctor_command(json: bool) -> None:
    """Print the findings; exit code 6 if something stops the main job."""
    findings = examine()
    if json:
        print(json_format.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        for finding in findings:
            print(f"{_MARKS[finding.status]:8}{finding.area:16}{finding.subject:40}{finding.detail}")
    problems = [finding.subject for finding in findings if finding.status == "problem"]
    if problems:
        raise BackendError(
            f"{len(problems)} problem(s) stop the main job: {', '.join(problems)}.", "See the list above."
        )
