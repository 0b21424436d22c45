"""The cohort that a command line names."""

import re
from collections.abc import Collection
from pathlib import Path

from ..errors import UsageError
from ..manifest import Manifest
from ..result.decisions import decision_for
from .cases import Cohort
from .cohort_table import read_cohort
from .synthetic import Kind, demo_cohort, reads_chest, reads_liver


def open_cohort(source: str, manifest: Manifest, further: Collection[str] = (), *, others: bool = False) -> Cohort:
    """The cohort that a command line names: a table's path, or demo:FIRST-LAST.

    Args:
        further, others: columns of the table beside those that are read, as `read_cohort`.

    Raises:
        UsageError: no such table, the table is not usable, or no such range.
        BundleError: nothing here provides the manifest's output decision.
    """
    if not source.startswith("demo:"):
        return read_cohort(Path(source), manifest, further, others=others)
    if further:
        raise UsageError(
            f"{source}: synthetic patients have no column {' or '.join(further)}.", "Name a table that has."
        )
    span = re.fullmatch(r"demo:([0-9]{1,9})-([0-9]{1,9})", source)
    first, last = (int(seed) for seed in span.groups()) if span else (0, -1)
    if last < first:
        raise UsageError(
            f"{source!r} names no synthetic patients; two seeds were expected, the second not below the first.",
            "For example: demo:40000-40599",
        )
    kind: Kind = "liver" if reads_liver(manifest) else "chest" if reads_chest(manifest) else "lung"
    return demo_cohort(first, last - first + 1, decision_for(manifest), kind=kind)
