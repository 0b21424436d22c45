"""`mmcaf export`."""

import sys
from pathlib import Path

from mmcaf_engine.errors import ExportError, UsageError


def export_command(checkpoint: Path, output: Path, network: str | None, settings: list[str], force: bool) -> None:
    """Export, and report what was verified on stdout."""
    parsed: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {setting!r} is not KEY=VALUE.", "For example: --set threshold=0.4")
        parsed[key.strip()] = value
    try:
        from mmcaf_export.export import export_bundle
    except ImportError as failure:
        raise ExportError(
            f"mmcaf export needs {failure.name}, which is not installed.",
            "Install it: pip install 'mmcaf-infer[export]'",
        ) from None
    report = export_bundle(
        checkpoint,
        output,
        network=network,
        settings=parsed,
        force=force,
        progress=lambda text: print(text, file=sys.stderr),
    )
    print(report.summary())
