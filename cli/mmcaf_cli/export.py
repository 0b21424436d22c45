"""`mmcaf export`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmcaf_engine.errors import BackendError, Remedy, UsageError
from mmcaf_engine.machine.installation import install_command
from mmcaf_engine.outputs import Output

from .console import note, to_json
from .report import Report, refuse_stdout


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
    checkpoints: list[Path], output: Path, network: str | None, settings: list[str], explain: bool, report: Report
) -> None:
    """Export, and report what was verified on stdout."""
    parsed: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {setting!r} is not KEY=VALUE.", "For example: --set threshold=0.4")
        parsed[key.strip()] = value
    refuse_stdout(Output("output", output))
    with export_extra("export"):
        from mmcaf_export.export import export_bundle
    found = export_bundle(
        checkpoints, output, network=network, settings=parsed, force=report.force, explain=explain, tell=note
    )
    report.give(found.summary, lambda: to_json(found.to_dict()))
