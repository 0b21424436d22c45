"""`mmcaf quantize`."""

from pathlib import Path

from mmcaf_engine.outputs import Output

from .console import note, to_json
from .export import export_extra
from .progress import ProgressBar
from .report import Report, refuse_stdout


def quantize_command(
    bundle: Path,
    output: Path | None,
    precisions: list[str],
    calibration: str | None,
    cohort: str | None,
    method: str | None,
    logit_budget: float | None,
    processor: str,
    report: Report,
) -> None:
    """Quantise, and report what was written and what it costs on stdout."""
    if output is not None:
        refuse_stdout(Output("output", output))
    with export_extra("quantize"):
        from mmcaf_export.precision.quantize import quantize_bundle
    with ProgressBar() as progress:
        found = quantize_bundle(
            bundle,
            output,
            precisions=precisions,
            calibration=calibration,
            cohort=cohort,
            method=method,
            logit_budget=logit_budget,
            processor=processor,
            force=report.force,
            tell=progress.between(note),
            progress=progress,
        )
    report.give(found.summary, lambda: to_json(found.to_dict()))
