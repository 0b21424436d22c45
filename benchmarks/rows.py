"""Rows of results: where and when a figure was measured, written as CSV."""

import csv
import datetime
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np


def environment(packages: Sequence[str]) -> dict[str, str]:
    """Commit, date, processor, cores and package versions of this run."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True).stdout.strip()
    return {
        "commit": commit + ("+changes" if changed else ""),
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "versions": " ".join(f"{name}={version(name)}" for name in packages),
    }


def percentiles(milliseconds: Sequence[float]) -> dict[str, str]:
    """p50, p95 and p99 with the number of runs."""
    values = np.asarray(milliseconds)
    points = {f"p{q}_ms": f"{np.percentile(values, q):.1f}" for q in (50, 95, 99)}
    return {"runs": str(len(values)), **points}


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Replace the file with these rows; columns in order of first appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _cpu() -> str:
    names = {
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith(("model name", "cpu family", "model\t"))
    }
    return " / ".join(sorted(names)) or platform.processor()
