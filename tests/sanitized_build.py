"""The C library and programs of the tests, built once more for a compiler's sanitizers."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build(folder: Path, targets: Sequence[str], options: Mapping[str, str], *, jobs: int) -> Path:
    """Build targets of the top CMakeLists.txt; the folder that they lie in.

    Raises:
        SystemExit: that failed; the compiler has said why.
    """
    given = {"Python_EXECUTABLE": sys.executable, "MMCAF_CUDA": "OFF", **options}
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), *(f"-D{name}={value}" for name, value in given.items())]
    for command in (configure, ["cmake", "--build", str(folder), "--parallel", str(jobs), "--target", *targets]):
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode != 0:
            raise SystemExit(f"{' '.join(command)}: failed.")
    return folder / "engine" / "capi"


def usable_cores() -> int:
    """As many as this process may use."""
    return len(os.sched_getaffinity(0))
