"""`mmcaf serve`: the service beside the scanner, and whether it could run."""

import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcaf_engine.errors import Remedy, UsageError

from .report import Report

if TYPE_CHECKING:
    from mmcaf_engine.service.probe import Finding


def alone_command(config: Path | None, check: bool, report: Report) -> None:
    """Without one of its commands: run the service until it is told to end, or look whether it could.

    Raises:
        UsageError: it is not said how, or a report of a running service was asked for.
    """
    if config is None:
        raise UsageError(
            "A service is run by its configuration.", Remedy("Name it", option="config", value="FILE.toml")
        )
    if check:
        check_command(config, report)
        return
    if report.json or report.output is not None:
        raise UsageError("--json and --output belong to --check.", Remedy("Add it, or leave both out", option="check"))
    serve_command(config)


def before_command(name: str, config: Path | None, check: bool, report: Report) -> dict[str, Any]:
    """What was said before one of its commands counts for that: the configuration, and nothing else.

    Raises:
        UsageError: something else was said there.
    """
    if check or report != Report():
        raise UsageError(f"Before {name}, only --config may stand.", f"Put the other options behind {name}.")
    return {} if config is None else {name: {"config": str(config)}}


def serve_command(config: Path) -> None:
    """Run the service until it is told to end."""
    from mmcaf_engine.service.supervisor import supervise

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    supervise(config)


def check_command(config: Path, report: Report) -> None:
    """Look at all that the service needs, and say what is not in order."""
    from mmcaf_engine.errors import ServiceError
    from mmcaf_engine.service.check import check_service
    from mmcaf_engine.service.config import read_config

    from .console import to_json

    report.check()
    found = list(check_service(read_config(config)))
    report.give(lambda: "\n".join(map(_line, found)), lambda: to_json([asdict(one) for one in found]))
    if wrong := [one.what for one in found if not one.ok]:
        raise ServiceError(f"The service cannot run as it is configured: {', '.join(wrong)}.")


def _line(finding: "Finding") -> str:
    from .run import advice

    said = f"{'ok' if finding.ok else 'NOT OK':8}{finding.what:24}{finding.detail}"
    return said if finding.ok else f"{said} {advice(finding.remedies)}".rstrip()
