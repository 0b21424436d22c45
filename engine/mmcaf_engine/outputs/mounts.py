"""Mount points, which no rename can replace; those within one file system too, which `os.path.ismount` overlooks."""

import os
import re
from contextlib import suppress
from pathlib import Path

from ..files import real_path

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")


def mounted_within(path: Path) -> Path | None:
    """The first mount point at or below a path, as files and folders bound into a container are; None for none."""
    if os.path.ismount(path):
        return path
    place = real_path(path.parent) / path.name
    return next((point for point in sorted(_mount_points()) if point.is_relative_to(place)), None)


def _mount_points() -> list[Path]:
    """All of this process; none where the system does not list them. Field 5 of each line: proc(5)."""
    with suppress(OSError):
        fields = [line.split(b" ", 5)[4] for line in _MOUNTS.read_bytes().splitlines()]
        return [Path(os.fsdecode(_OCTAL.sub(lambda code: bytes([int(code[1], 8)]), field))) for field in fields]
    return []
