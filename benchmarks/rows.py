"""Rows of results: where and when a figure was measured, written as CSV."""

import csv
import datetime
import io
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import usage


def environment(packages: Sequence[str]) -> dict[str, str]:
    """Commit, date, processor, cores and package versions of this run."""
    return {
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "versions": " ".join(f"{name}={_version(name)}" for name in packages),
    }


def commit() -> str:
    """Of this repository as git tells it, else as $MMCAF_COMMIT does, else "unknown"."""
    git = ["git", "-C", str(usage.ROOT)]
    try:
        top = subprocess.run([*git, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True)
        if Path(top.stdout.strip()) != usage.ROOT:  # a repository that this one was copied into
            return os.environ.get("MMCAF_COMMIT", "unknown")
        short = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("MMCAF_COMMIT", "unknown")
    return short.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def percentiles(milliseconds: Sequence[float], digits: int = 1) -> dict[str, str]:
    """p50, p95 and p99 with the number of runs."""
    import numpy as np  # not above: a session on a GPU says so where it is missing

    values = np.asarray(milliseconds)
    points = {f"p{q}_ms": f"{np.percentile(values, q):.{digits}f}" for q in (50, 95, 99)}
    return {"runs": str(len(values)), **points}


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Replace the file with these rows; columns in order of first appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with usage.writing(path), path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class RowFile:
    """A table that is on the disk after every row, so that a run that is ended loses none; replaces a former file.

    rows: how many it has.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._columns: list[str] = []

    def add(self, row: dict[str, str]) -> None:
        """Append the row; the first one's columns are the table's.

        Raises:
            ValueError: the row has a column that the first had not.
        """
        first = not self._columns
        self._columns = self._columns or list(row)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        if first:
            writer.writeheader()
        writer.writerow(row)
        append(self._path, text.getvalue(), first=first)
        self.rows += 1


def append(path: Path, text: str, *, first: bool) -> None:
    """Text at the end of the file, or in its place, on the disk when this returns."""
    with usage.writing(path), path.open("w" if first else "a", newline="", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


class Budget:
    """Seconds that a run may take; None for any number."""

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    def left(self) -> float | None:
        """Seconds, none below 0."""
        return None if self._end is None else max(self._end - self._clock(), 0.0)

    def spent(self) -> bool:
        """Whether nothing more may begin."""
        return self.left() == 0


def said(what: str, error: Exception) -> int:
    """1, after saying what is left out and why."""
    print(f"left out: {what}: {type(error).__name__}: {error}", file=sys.stderr)
    return 1


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # of a module that was built there, or belongs to another package
        return "unknown"


def _cpu() -> str:
    names = {
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith(("model name", "cpu family", "model\t"))
    }
    return " / ".join(sorted(names)) or platform.processor()
