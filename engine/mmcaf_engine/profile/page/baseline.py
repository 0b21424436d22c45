"""What became slower or faster since an earlier report."""

from ...page.markup import Markup, join, tag
from ...page.tables import Column, table
from ..compare import Change, Comparison, interval_text
from ..figures import milliseconds, signed_percent


def baseline_part(comparison: Comparison) -> Markup:
    """The verdict if there is one, every change with its interval, and what was not compared."""
    said = f"The baseline was made by mmcaf-infer {comparison.created_with}."
    if comparison.limit is not None:
        verdict = (
            tag("span", "Slower than the limit allows.", class_="bad")
            if comparison.failures
            else tag("span", "Within the limit.", class_="good")
        )
        limit = f" The limit is {signed_percent(comparison.limit)}."
        lead = tag("p", verdict, limit, f" {said}")
    else:
        lead = tag("p", said, class_="lead")
    heads = ("", "", "baseline", "now", "change", "95 % interval", "")
    columns = [Column(head, "words" if index == 1 else "") for index, head in enumerate(heads)]
    rows = [
        (
            change.configuration,
            change.what,
            milliseconds(change.before_ms),
            milliseconds(change.now_ms),
            signed_percent(change.ratio - 1),
            interval_text(change),
            _verdict(change),
        )
        for change in comparison.changes
    ]
    remarks = [f"No longer measured: {one}" for one in comparison.gone] + list(comparison.warnings)
    return join(
        lead,
        table("Ratio of the medians, with its bootstrap interval", columns, rows) if rows else None,
        tag("ul", *(tag("li", remark) for remark in remarks), class_="notes") if remarks else None,
    )


def _verdict(change: Change) -> Markup:
    if not change.certain:
        return tag("span", "no clear change", class_="soft")
    return tag("span", "slower", class_="bad") if change.ratio > 1 else tag("span", "faster", class_="good")
