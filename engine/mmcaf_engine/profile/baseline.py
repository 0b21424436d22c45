"""An earlier report that a new one is compared with, refused before anything is measured if it is of no use."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import Remedy, StrictError, UsageError
from ..files import read_bounded
from .compare import Comparison, check_baseline, compare, judge, parse_limit
from .machine import machine_facts
from .report import MAX_REPORT_BYTES, ProfileReport


@dataclass(frozen=True)
class Baseline:
    """An earlier report.

    name: how messages call it. limit: the fraction by which a median may rise; None where nothing is a failure.
    """

    name: str
    report: ProfileReport
    limit: float | None = None

    def compared_with(self, report: ProfileReport) -> Comparison:
        """What became of each figure, and what of that is a failure; an interrupted report has no failures.

        Raises:
            UsageError: there is a limit, and nothing can be compared.
        """
        comparison = compare(report, self.report)
        return comparison if self.limit is None or report.interrupted else judge(comparison, self.limit)

    def require_no_failure(self, comparison: Comparison) -> None:
        """Refuse what is slower than the limit allows.

        Raises:
            StrictError: there is a failure; the message names each.
        """
        if comparison.failures and self.limit is not None:
            raise StrictError(
                f"More than {100 * self.limit:.6g}% slower than {self.name}: {'; '.join(comparison.failures)}.",
                Remedy("Look at what changed", option="html"),
                "Or measure again on a quiet machine.",
            )


def read_baseline(file: Path, *, runs: int, limit: str | None = None) -> Baseline:
    """Read a report that `ProfileReport.to_json` wrote.

    Args:
        runs: how often the new report will measure each thing.
        limit: by how much a median may rise, such as "5%"; None to fail over nothing.

    Raises:
        UsageError: it is no report, or with a limit one that no verdict could be based on here.
    """
    allowed = None if limit is None else parse_limit(limit)
    data = read_bounded(file, error=UsageError, max_bytes=MAX_REPORT_BYTES, streams=True)
    report = ProfileReport.from_json(data, name=str(file))
    if allowed is not None:
        check_baseline(report, machine_facts(), runs, name=str(file))
    return Baseline(str(file), report, allowed)
