"""`mmcaf export`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from mmcaf_engine.errors import BackendError, Remedy, UsageError
from mmcaf_engine.machine.installation import install_command
from mmcaf_engine.outputs import Output

from .console import note, to_json
from .report import Report, refuse_stdout

Weights = Literal["ema", "raw"]


@contextmanager
def export_extra(command: str) -> Iterator[None]:
    """Say how to install what an import within the block lacks."""
    try:
        yield
    except ImportError as failure:
        raise BackendError(
            f"mmcaf {command} needs {failure.name}, which is not installed.",
            Remedy("Install it", command=install_command("export")),
        ) from None


def export_command(
    checkpoints: list[Path],
    output: Path,
    network: str | None,
    settings: list[str],
    explain: bool,
    report: Report,
    *,
    key: str | None = None,
    prefix: str | None = None,
    weights: Weights | None = None,
    allow_extra: Sequence[str] = (),
) -> None:
    """Export, and report what was verified on stdout."""
    parsed: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {setting!r} is not KEY=VALUE.", "For example: --set threshold=0.4")
        parsed[name.strip()] = value
    refuse_stdout(Output("output", output))
    with export_extra("export"):
        from mmcaf_export.checkpoint import Reading
        from mmcaf_export.export import export_bundle
    found = export_bundle(
        checkpoints,
        output,
        network=network,
        reading=Reading(key, prefix, weights, tuple(allow_extra)),
        settings=parsed,
        force=report.force,
        explain=explain,
        tell=note,
    )
    report.give(found.summary, lambda: to_json(found.to_dict()))
