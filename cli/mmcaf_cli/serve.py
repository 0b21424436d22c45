"""`mmcaf serve`: the service beside the scanner, and whether it could run."""

import logging
import sys
from dataclasses import asdict
from pathlib import Path

from mmcaf_engine.errors import Remedy, ServiceError, UsageError
from mmcaf_engine.service.check import Finding, check_service
from mmcaf_engine.service.config import read_config
from mmcaf_engine.service.supervisor import supervise

from .console import to_json
from .report import Report
from .run import advice


def refuse_report(json: bool, output: Path | None) -> None:
    """A running service prints no report.

    Raises:
        UsageError: one was asked for.
    """
    if json or output is not None:
        raise UsageError("--json and --output belong to --check.", Remedy("Add it, or leave both out", option="check"))


def serve_command(config: Path) -> None:
    """Run the service until it is told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    supervise(config)


def check_command(config: Path, report: Report) -> None:
    """Look at all that the service needs, and say what is not in order."""
    report.check()
    found = list(check_service(read_config(config)))
    report.give(lambda: "\n".join(map(_line, found)), lambda: to_json([asdict(one) for one in found]))
    if wrong := [one.what for one in found if not one.ok]:
        raise ServiceError(f"The service cannot run as it is configured: {', '.join(wrong)}.")


def _line(finding: Finding) -> str:
    said = f"{'ok' if finding.ok else 'NOT OK':8}{finding.what:24}{finding.detail}"
    return said if finding.ok else f"{said} {advice(finding.remedies)}".rstrip()
