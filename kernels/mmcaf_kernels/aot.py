"""Compile every Triton kernel at the published networks' shapes, for GPUs this machine need not have.

python -m mmcaf_kernels.aot --out DIR [--target sm_89]... [--precision fp16]...
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from .targets import PRECISIONS, TARGETS

WRONG, UNAVAILABLE = 2, 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile; 1 when a kernel spills or asks for too much shared memory, 2 where DIR is refused, 6 without Triton."""
    parser = argparse.ArgumentParser(prog="python -m mmcaf_kernels.aot", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=_path, required=True, metavar="DIR", help="for the binaries: a new or empty folder"
    )
    parser.add_argument("--target", action="append", choices=TARGETS, help="may be repeated; default: all")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="may be repeated; default: all")
    parser.add_argument("--force", action="store_true", help="write to DIR also if it is not empty")
    chosen = parser.parse_args(arguments)
    if absent := [name for name in ("torch", "triton") if find_spec(name) is None]:
        how = "the extra `kernels` brings it: pip install '.[kernels]', in this project's folder"
        return _said(f"{' and '.join(absent)} cannot be imported; {how}.", UNAVAILABLE)
    if refused := _refused(chosen.out, chosen.force):
        return _said(f"--out {chosen.out}: {refused}.", WRONG)
    from .ahead import compile_all

    if wrong := compile_all(chosen.out, chosen.target or TARGETS, chosen.precision or PRECISIONS):
        return _said(f"Registers spilt or shared memory beyond the target's: {'; '.join(wrong)}.", 1)
    return 0


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got ''")
    return Path(text)


def _refused(folder: Path, force: bool) -> str | None:
    """Why nothing can be written to the folder, which is made if it is not there."""
    try:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            return "a folder is expected, not a file or link"
        if folder.exists() and any(folder.iterdir()) and not force:
            return "the folder is not empty; choose another, or give --force"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except (OSError, ValueError) as failure:
        return f"cannot be written, {getattr(failure, 'strerror', None) or failure}"


def _said(what: str, status: int) -> int:
    """The exit status, after saying why."""
    sys.stderr.write(f"{what}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
