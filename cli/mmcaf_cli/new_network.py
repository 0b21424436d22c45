"""`mmcaf new-network`."""

from pathlib import Path
from typing import Literal

from mmcaf_engine.outputs import Output

from .console import to_json
from .export import export_extra
from .report import Report, refuse_stdout


def new_network_command(
    name: str, kind: Literal["volume", "image", "table"], folder: Path | None, report: Report
) -> None:
    """Write the package, and say how to go on."""
    if folder is not None:
        refuse_stdout(Output("output", folder))
    with export_extra("new-network"):
        from mmcaf_export.new_network.write import write_network
    written = write_network(name, kind, folder, force=report.force)
    report.give(
        lambda: "\n".join(
            [
                f"{written.folder}: the package {written.name.name} with a network to begin with; {len(written.files)} "
                "files. Try:",
                *(f"  {command}" for command in written.commands),
            ]
        ),
        lambda: to_json(
            {
                "name": written.name.name,
                "module": written.name.module,
                "folder": str(written.folder),
                "files": list(written.files),
                "commands": list(written.commands),
            }
        ),
    )
