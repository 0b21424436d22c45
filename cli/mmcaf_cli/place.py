"""`mmcaf place`."""

from pathlib import Path

from mmcaf_engine.errors import printable
from mmcaf_engine.outputs import Output

from .console import to_json
from .export import export_extra
from .report import Report, refuse_stdout


def place_command(bundle: Path, output: Path | None, report: Report) -> None:
    """Write into a bundle where the kernels go, and say which files hold it."""
    if output is not None:
        refuse_stdout(Output("output", output))
    with export_extra("place"):
        from mmcaf_export.placement import place_bundle, placements
    placed = place_bundle(bundle, output, force=report.force)
    held = placements(placed)
    lines = [
        f"{printable(str(placed.shown), 4096)}: {placed.manifest.name} says where the kernels go in its networks",
        *(f"  {name}  {size / 1024:.0f} KiB" for name, size in held.items()),
    ]
    document = {"model": {"name": placed.manifest.name, "bundle_sha256": placed.sha256}, "files": held}
    report.give(lambda: "\n".join(lines), lambda: to_json(document))
