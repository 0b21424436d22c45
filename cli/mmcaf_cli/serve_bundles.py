"""`mmcaf serve switch | rollback | compare`: which bundle answers, and how another one would."""

import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from mmcaf_engine.service.compare import Comparison, compare_new, comparisons
from mmcaf_engine.service.config import read_config
from mmcaf_engine.service.database import open_existing
from mmcaf_engine.service.switching import Switched, roll_back, switch

from .console import to_json
from .report import Report

MOST_SHOWN = 20
"""Studies that a person is shown of a pair; the JSON has up to 1000."""


def switch_command(file: Path, bundle: str, report: Report) -> None:
    """Let another bundle answer."""
    config = read_config(file)
    with closing(open_existing(config.spool)) as memory:
        _give(switch(memory, config, bundle, time.time()), report)


def rollback_command(file: Path, bundle: str | None, report: Report) -> None:
    """Let the bundle from before answer again."""
    config = read_config(file)
    with closing(open_existing(config.spool)) as memory:
        _give(roll_back(memory, config, bundle, time.time()), report)


def compare_command(file: Path, report: Report) -> None:
    """Print how a shadow answers."""
    report.check()
    config = read_config(file)
    with closing(open_existing(config.spool)) as memory:
        compare_new(memory, config)
        found = comparisons(memory, config)
    report.give(lambda: "\n".join(_lines(found)), lambda: to_json([asdict(one) for one in found]))


def _give(done: Switched, report: Report) -> None:
    waiting = f"{done.queued} waiting studies go to it, {done.sent} of them answered already"
    kept = f"; {done.kept} under way stay with {done.before}" if done.kept else ""
    report.give(
        lambda: f"{done.bundle} answers, {done.before} is its shadow; {waiting}{kept}",
        lambda: to_json(asdict(done)),
    )


def _lines(found: list[Comparison]) -> list[str]:
    lines = []
    for one in found:
        lines.append(f"{one.bundle}, and {one.shadow} in its shadow:")
        if one.interval is not None and one.agreement is not None:
            low, high = one.interval
            lines.append(
                f"  same label    {one.agreeing} of {one.compared} studies, {one.agreement:.1%} "
                f"(95 % interval {low:.1%} to {high:.1%})"
            )
        if one.largest_difference is not None:
            lines.append(f"  probability   differs by {one.mean_difference:.4f}, at most {one.largest_difference:.4f}")
        if one.bundle_alone or one.shadow_alone:
            lines.append(
                f"  answered by {one.bundle} alone {one.bundle_alone}, by {one.shadow} alone {one.shadow_alone}"
            )
        for study in one.disagreements[:MOST_SHOWN]:
            by = "" if study.difference is None else f" by {study.difference:.4f}"
            lines.append(f"  differs{by}: {study.study}, answers {study.answer} and {study.shadow_answer}")
        if more := len(one.disagreements) - MOST_SHOWN:
            lines += [f"  and {more} more, which the JSON lists"] if more > 0 else []
    return lines or ["nothing to compare: no study was answered by a bundle and its shadow"]
