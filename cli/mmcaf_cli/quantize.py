"""`mmcaf quantize`."""

import sys
from pathlib import Path
from typing import get_args

from mmcaf_engine.errors import UsageError
from mmcaf_engine.manifest import Precision

from .export import export_extra


def quantize_command(
    bundle: Path,
    output: Path | None,
    precisions: list[str],
    calibration: str | None,
    cohort: str | None,
    method: str | None,
    logit_budget: float | None,
    processor: str,
    force: bool,
) -> None:
    """Quantise, and report what was written and what it costs on stdout."""
    lower = [name for name in get_args(Precision) if name != "fp32"]
    chosen: list[Precision] = [name for name in lower if name in precisions]
    if unknown := set(precisions) - set(lower):
        raise UsageError(
            f"No lower precision is called {', '.join(sorted(unknown))}.", f"Choose of: {', '.join(lower)}."
        )
    with export_extra("quantize"):
        from mmcaf_export.precision.calibration import METHODS
        from mmcaf_export.precision.int8 import PROCESSORS
        from mmcaf_export.precision.quantize import quantize_bundle
    picked = next((known for known in METHODS if known == method), None)
    if method is not None and picked is None:
        raise UsageError(f"No calibration method is called {method!r}.", f"Choose one of: {', '.join(METHODS)}.")
    chosen_for = next((known for known in PROCESSORS if known == processor), None)
    if chosen_for is None:
        raise UsageError(f"--for {processor}: no such processor.", f"Choose one of: {', '.join(PROCESSORS)}.")
    report = quantize_bundle(
        bundle,
        output,
        precisions=chosen,
        calibration=calibration,
        cohort=cohort,
        method=picked,
        logit_budget=logit_budget,
        processor=chosen_for,
        force=force,
        progress=lambda text: print(text, file=sys.stderr),
    )
    print(report.summary())
