"""`mmcaf doctor`, and its quick check."""

import os
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from mmcaf_engine.checkup.check import Check
from mmcaf_engine.checkup.doctor import CHOICE, examine
from mmcaf_engine.errors import BackendError, Remedy, UsageError

from .console import is_verbose, to_json
from .report import Report
from .run import advice

_MARKS = {"ok": "ok  ", "note": "note", "problem": "PROBLEM"}
_INDENT = 8
"""Columns of the mark on the screen."""
_WIDEST, _NARROWEST = 100, 20
"""Lines are broken for as many columns as the terminal has, within these bounds."""
_ROWS = 24
"""Lines of one screen of 80 columns or more; of a narrower one, as many as hold the same text."""


def doctor_command(quick: bool, bundle: Path | None, device: str | None, every: bool, report: Report) -> None:
    """Print the findings; exit code 6 if something stops the main job.

    Args:
        quick: check that the installation is healthy, instead of listing what it can do.
        bundle: check this one.
        device: look only at OpenVINO on this one.
        every: every finding in full, in the order of what is looked at, instead of one screen.
    """
    if bundle is not None and not quick:
        raise UsageError("--bundle is for the quick check.", Remedy("Add it", option="quick_check"))
    if every and quick:
        raise UsageError("--all is not for the quick check, which shows all.", Remedy("Leave it out", option="all"))
    if device is not None and quick:
        raise UsageError("--device is not for the quick check.", Remedy("Leave it out", option="device"))
    report.check(inputs=[bundle])
    if quick:
        from mmcaf_engine.checkup.quick_check import quick_check

        findings = quick_check(bundle)
    else:
        findings = examine(None if device is None else device.lower())
    problems = [_label(one) for one in findings if one.status == "problem"]
    verdict = {"healthy": not problems} if quick else {}
    columns = shutil.get_terminal_size((_WIDEST, _ROWS)).columns
    report.give(
        lambda: "\n".join(
            lines(findings, columns, quick)
            if quick or every or device is not None
            else screen(findings, columns, full=is_verbose())
        ),
        lambda: to_json({**verdict, "findings": [finding.to_dict() for finding in findings]}),
    )
    if problems:
        said = "Not healthy" if quick else f"{len(problems)} problem(s) stop the main job"
        raise BackendError(f"{said}: {', '.join(problems)}.", "See the list above.")


def lines(findings: Sequence[Check], columns: int, quick: bool = False) -> list[str]:
    """Every finding with its remedies, broken between words as those of `screen`."""
    columns = _bounded(columns)
    shown = [line for one in findings for line in _finding(one, one.detail, one.remedies, columns)]
    healthy = quick and all(one.status != "problem" for one in findings)
    return [*shown, "healthy"] if healthy else shown


def screen(findings: Sequence[Check], columns: int, *, full: bool = False) -> list[str]:
    """One screen: what stops the main job, what will run and why, and what mends the rest; then what there is room for.

    Lines are broken between words; a line is longer than `columns` only where a single word is. What was said before is
    not said again: neither a remedy, nor why something was passed over.

    Args:
        full: leave nothing out, neither for want of room nor because it was said before, but remedies.
    """
    columns = _bounded(columns)
    blocks = list(_blocks(findings, columns, full=full))
    room = max(_ROWS, -(-_ROWS * 80 // columns))
    all_fit = sum(_rows(block.lines, columns) for block in blocks) <= room
    shown: list[str] = []
    left_out = taken = 0
    for block in blocks:
        rows = _rows(block.lines, columns)
        if full or all_fit or block.needed or taken + rows < room:  # And a line for what is left out.
            shown += block.lines
            taken += rows
        else:
            left_out += block.findings
    return [*shown, f"and {left_out} more, with -v"] if left_out else shown


def _bounded(columns: int) -> int:
    return min(max(columns, _NARROWEST), _WIDEST)


def _rows(lines: Sequence[str], columns: int) -> int:
    """Of the terminal, which breaks a line that a single word, such as a path, makes longer."""
    return sum(max(1, -(-len(line) // columns)) for line in lines)


@dataclass(frozen=True)
class _Block:
    """Lines about some findings; needed: they are shown whatever room there is."""

    lines: list[str]
    needed: bool
    findings: int = 1


def _blocks(findings: Sequence[Check], columns: int, *, full: bool) -> Iterator[_Block]:
    """What is found, the most urgent first; of what was said already the rest, unless it is to be full."""
    said = ""
    advised: set[Remedy] = set()
    in_order = sorted(_folded(findings), key=lambda found: (_urgency(found[0]), found[0].area == "package"))
    for one, count in in_order:
        detail = "" if one.status == "note" and one.detail in said and not full else one.detail
        remedies = [remedy for remedy in dict.fromkeys(one.remedies) if remedy not in advised]
        if detail or remedies:
            yield _Block(_finding(one, detail, remedies, columns), _urgency(one) <= _MENDS, count)
        said += f" {one.detail}"
        advised |= {*remedies}


_MENDS = 2


def _urgency(one: Check) -> int:
    """Problems; what will run; what mends the rest; other notes; what is well."""
    if one.status == "problem":
        return 0
    if one.area == CHOICE:
        return 1
    if one.status == "note":
        return _MENDS if one.remedies else _MENDS + 1
    return _MENDS + 2


def _folded(findings: Sequence[Check]) -> Iterator[tuple[Check, int]]:
    """The findings, of which those of an area that are well are one without a subject; and of how many each is made."""
    for area, found in groupby(findings, lambda one: one.area):
        group, fold = list(found), _FOLDS.get(area)
        well = [one for one in group if fold and _is_well(one)]
        if fold and well:
            yield Check(area, "", "ok", fold(well)), len(well)
        yield from ((one, 1) for one in group if one not in well)


def _is_well(one: Check) -> bool:
    """Also a precision that does not run here, where nothing can be done about that."""
    return not one.remedies and (one.status == "ok" or (one.status == "note" and one.area == "precision"))


def _label(one: Check) -> str:
    return one.area if one.subject in ("", one.area) else f"{one.area} {one.subject}"


def _finding(one: Check, detail: str, remedies: Iterable[Remedy], columns: int) -> list[str]:
    """The lines of a finding, of which so much is said."""
    label = one.area if detail.startswith(f"{one.subject}: ") else _label(one)  # A path, for one, is not said twice.
    between = ": " if detail and one.subject else " " if detail else ""
    shown = _wrapped(f"{_MARKS[one.status]:{_INDENT}}{label}{between}{detail}", columns, "")
    return [*shown, *(line for remedy in remedies for line in _remedy(remedy, columns))]


def _named(one: Check) -> str:
    return one.detail if one.detail.startswith(one.subject) else f"{one.subject} {one.detail}"


def _settings(group: Sequence[Check]) -> str:
    """Those that somebody has set."""
    found = [one for one in group if not one.detail.endswith("(default)")]
    return "; ".join([*map(_named, found), *(["all else by default"] if len(found) < len(group) else [])])


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
    "settings": _settings,
}
"""Area -> what is well in it, in short."""

_WORD = re.compile(r"(?:'[^']*'|[^\s'])+")
"""Of a command line, as `shlex.join` writes it."""


def _remedy(remedy: Remedy, columns: int) -> list[str]:
    """Below what it mends; a command that is long has lines of its own, to be pasted together."""
    said = advice([remedy])
    if len(said) <= columns - _INDENT or remedy.command is None:
        return _wrapped(said, columns)
    return [*_wrapped(f"{remedy.text.rstrip('.:')}:", columns), *_command(remedy.command, columns)]


def _command(command: str, columns: int) -> list[str]:
    r"""One line if it fits, else some that end with \, where the shell knows that."""
    found = ["    "]
    for word in _WORD.findall(command):
        if os.name == "posix" and found[-1].strip() and len(f"{found[-1]} {word} \\") > columns:
            found[-1] += " \\"
            found.append("      ")
        found[-1] += f" {word}" if found[-1].strip() else word
    return found


def _wrapped(text: str, columns: int, indent: str = " " * _INDENT) -> list[str]:
    """Lines of at most `columns`; indent: of the first."""
    return textwrap.wrap(
        text,
        columns,
        initial_indent=indent,
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
