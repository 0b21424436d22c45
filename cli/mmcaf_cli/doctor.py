"""`mmcaf doctor`, and its quick check."""

import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from mmcaf_engine.checkup.check import Check
from mmcaf_engine.checkup.doctor import CHOICE, examine
from mmcaf_engine.errors import BackendError, Remedy, UsageError, paragraph

from .console import to_json
from .report import Report
from .run import advice

_MARKS = {"ok": "ok  ", "note": "note", "problem": "PROBLEM"}
_INDENT = 18
"""Columns of mark and area on the screen."""
_WIDTHS = (80, 100)
"""Columns of a screen, the least and the most that lines are broken for."""


def doctor_command(quick: bool, bundle: Path | None, every: bool, report: Report) -> None:
    """Print the findings; exit code 6 if something stops the main job.

    Args:
        quick: check that the installation is healthy, instead of listing what it can do.
        bundle: check this one.
        every: a line for each finding, instead of one screen.
    """
    if bundle is not None and not quick:
        raise UsageError("--bundle is for the quick check.", Remedy("Add it", option="quick_check"))
    if every and quick:
        raise UsageError("--all is not for the quick check, which shows all.", Remedy("Leave it out", option="all"))
    report.check(inputs=[bundle])
    if quick:
        from mmcaf_engine.checkup.quick_check import quick_check

        findings = quick_check(bundle)
    else:
        findings = examine()
    problems = [finding.subject for finding in findings if finding.status == "problem"]
    verdict = {"healthy": not problems} if quick else {}
    columns = min(max(shutil.get_terminal_size((_WIDTHS[1], 24)).columns, _WIDTHS[0]), _WIDTHS[1])
    report.give(
        lambda: "\n".join(lines(findings, quick) if quick or every else screen(findings, columns)),
        lambda: to_json({**verdict, "findings": [finding.to_dict() for finding in findings]}),
    )
    if problems:
        said = "Not healthy" if quick else f"{len(problems)} problem(s) stop the main job"
        raise BackendError(f"{said}: {', '.join(problems)}.", "See the list above.")


def lines(findings: Sequence[Check], quick: bool = False) -> list[str]:
    """One line for each finding."""
    width = 26 if quick else 40
    shown = [
        f"{_MARKS[one.status]:8}{one.area:16}{one.subject:{width}}{paragraph(one.detail, advice(one.remedies))}"
        for one in findings
    ]
    healthy = quick and all(one.status != "problem" for one in findings)
    return [*shown, "healthy"] if healthy else shown


def screen(findings: Sequence[Check], columns: int) -> list[str]:
    """What is well in few lines, all else with its commands, each on one line; no other line is longer than `columns`.

    What was said before is not said again: neither a remedy, nor why something was passed over.
    """
    shown: list[str] = []
    reasons: set[str] = set()
    advised: set[Remedy] = set()
    for one in _folded(findings):
        text = f"{one.subject}: {one.detail}" if one.subject else one.detail
        if one.area == CHOICE:
            for reason in sorted(reasons, key=len, reverse=True):
                text = text.replace(f": {reason}", " (above)")
        shown += _wrapped(text, columns, f"{_MARKS[one.status]:8}{one.area} ")
        shown += [line for remedy in one.remedies if remedy not in advised for line in _remedy(remedy, columns)]
        reasons.add(one.detail)
        advised |= {*one.remedies}
    return shown


def _folded(findings: Sequence[Check]) -> Iterator[Check]:
    """The findings, of which those of an area that are well are one without a subject, where that can be said so."""
    for area, found in groupby(findings, lambda one: one.area):
        group, fold = list(found), _FOLDS.get(area)
        well = [one for one in group if fold and _is_well(one)]
        if fold and well:
            yield Check(area, "", "ok", fold(well))
        yield from (one for one in group if one not in well)


def _is_well(one: Check) -> bool:
    """Also a precision that does not run here, where nothing can be done about that."""
    return not one.remedies and (one.status == "ok" or (one.status == "note" and one.area == "precision"))


def _named(one: Check) -> str:
    return one.detail if one.detail.startswith(one.subject) else f"{one.subject} {one.detail}"


def _precisions(group: Sequence[Check]) -> str:
    """Of each backend those that run."""
    by_backend: dict[str, list[str]] = {}
    for one in group:
        backend, _, precision = one.subject.partition(" ")
        by_backend.setdefault(backend, []).extend([precision] if one.status == "ok" else [])
    return "; ".join(f"{backend} {', '.join(runs) or 'none'}" for backend, runs in by_backend.items())


_FOLDS: dict[str, Callable[[Sequence[Check]], str]] = {
    "package": lambda group: ", ".join(f"{one.subject} {one.detail}" for one in group),
    "precision": _precisions,
    "transfer syntax": lambda group: f"{len(group)} are read",
    "machine": lambda group: "; ".join(one.detail for one in group),
    "cache": lambda group: "; ".join(one.detail for one in group),
    "backend": lambda group: "; ".join(map(_named, group)),
    "settings": lambda group: "; ".join(map(_named, group)),
}
"""Area -> what is well in it, in short."""


def _remedy(remedy: Remedy, columns: int) -> list[str]:
    """Below what it mends; a command that is long stands on a line of its own."""
    said = advice([remedy])
    if len(said) <= columns - _INDENT or remedy.command is None:
        return _wrapped(said, columns)
    return [*_wrapped(f"{remedy.text.rstrip('.:')}:", columns), f"    {remedy.command}"]


def _wrapped(text: str, columns: int, before: str = "") -> list[str]:
    """Lines of at most `columns`, of which the first has `before` in place of the indent."""
    return textwrap.wrap(
        text,
        columns,
        initial_indent=f"{before:{_INDENT}}",
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
