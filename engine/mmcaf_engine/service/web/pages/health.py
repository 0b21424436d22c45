"""How the service is: processes, bundles and their self-test, disk, destinations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import Response

from ....page.markup import Markup, join, tag
from ....page.tables import Cell, Column, facts, table
from ...compare import Comparison
from ...condition import DestinationCondition, DiskCondition, ProcessCondition
from ...probe import Finding
from ...views import EventView
from .frame import badge, button, live, moment, notice, page


@dataclass(frozen=True)
class BundleCondition:
    """A bundle of the configuration. detail: what it is, or why it cannot be opened."""

    name: str
    shadow_of: str | None
    ready: bool
    detail: str


@dataclass(frozen=True)
class Condition:
    """Of the whole service. told: records that were refused, and processes that cannot start, the newest first."""

    processes: Sequence[ProcessCondition]
    bundles: Sequence[BundleCondition]
    disk: DiskCondition
    destinations: Sequence[DestinationCondition]
    told: Sequence[EventView] = ()
    compared: Sequence[Comparison] = ()


def health_page(found: Condition, *, leave: bool, findings: Mapping[str, Finding] | None = None) -> Response:
    """The page.

    Args:
        findings: by name, of destinations that were just looked at.
    """
    checked = findings or {}
    bad = [one.role for one in found.processes if not one.ready]
    return page(
        "Health",
        live("ready", _summary(bad)),
        *(_finding(one) for one in checked.values()),
        live(
            "health",
            tag("section", tag("h2", "Processes"), _processes(found.processes)),
            tag("section", tag("h2", "Bundles"), _bundles(found.bundles), *_compared(found.compared)),
            tag("section", tag("h2", "Disk"), _disk(found.disk)),
            tag("section", tag("h2", "Destinations"), *_destinations(found.destinations)),
            _told(found.told),
        ),
        here="/health",
        leave=leave,
        follows=not checked,
    )


def _summary(bad: Sequence[str]) -> Markup:
    if not bad:
        return tag("section", tag("p", badge("ready"), " Every process runs, and every bundle passed its self-test."))
    said = "Not ready: what comes is kept, and goes on once they run; the service starts them again by itself."
    return notice(f"{', '.join(bad)} not ready", said, alert=False)


def _finding(finding: Finding) -> Markup:
    remedies = [remedy.render(None) for remedy in finding.remedies]
    if finding.ok:
        return tag("section", tag("p", f"{finding.what}: {finding.detail}.", class_="good", role="status"))
    return notice(f"{finding.what} does not answer", finding.detail, *remedies)


def _processes(processes: Sequence[ProcessCondition]) -> Markup:
    columns = [Column("Process", "words"), Column("State", "words"), Column("Since"), Column("Last sign of life")]
    rows: list[list[Cell]] = [
        [one.role, badge("ready" if one.ready else "not ready"), moment(one.since), moment(one.seen)]
        for one in processes
    ]
    return table("Each is started again when it ends", columns, rows)


def _bundles(bundles: Sequence[BundleCondition]) -> Markup:
    columns = [Column("Bundle", "words"), Column("Self-test", "words"), Column("What it is", "words")]
    rows: list[list[Cell]] = []
    for one in bundles:
        name = one.name if one.shadow_of is None else f"{one.name}, the shadow of {one.shadow_of}"
        rows.append([name, badge("ready", "passed") if one.ready else badge("not ready", "not passed"), one.detail])
    return table("Nothing is answered before the self-test", columns, rows)


def _compared(compared: Sequence[Comparison]) -> list[Markup]:
    """What shadows answered beside those that answer."""
    rows: list[list[Cell]] = [
        [
            f"{one.shadow} beside {one.bundle}",
            f"{one.agreeing} of {one.compared}",
            "" if one.largest_difference is None else f"{one.largest_difference:.3f}",
            f"{one.bundle_alone}",
            f"{one.shadow_alone}",
        ]
        for one in compared
    ]
    columns = [Column("Compared", "words"), Column("The same label"), Column("Largest difference of a probability")]
    columns += [Column("Not by the shadow"), Column("By the shadow alone")]
    return [table("Shadows", columns, rows)] if rows else []


def _told(told: Sequence[EventView]) -> Markup | None:
    if not told:
        return None
    rows: list[list[Cell]] = [[moment(one.at), one.state.replace("-", " "), one.detail] for one in told]
    columns = [Column("When"), Column("What", "words"), Column("Why", "words")]
    return tag(
        "section",
        tag("h2", "Of late"),
        table("Records that were refused, and processes that could not start", columns, rows),
    )


def _disk(disk: DiskCondition) -> Markup:
    state = badge("ready", "enough") if disk.is_enough else badge("not ready", "below the reserve: nothing is taken")
    said = [
        ("Free", f"{disk.free / 2**30:.1f} of {disk.whole / 2**30:.1f} GiB"),
        ("Kept free", f"{disk.reserve / 2**30:.1f} GiB"),
        ("state.db", f"{disk.memory / 2**20:.1f} MiB"),
    ]
    return join(tag("p", state), facts(said))


def _destinations(destinations: Sequence[DestinationCondition]) -> list[Markup]:
    if not destinations:
        return [tag("p", "None: answers stay here, and are read over HTTP.", class_="soft")]
    columns = [
        *(Column("Destination", "words"), Column("Arrived"), Column("Wait"), Column("Given up")),
        *(Column("Last arrival"), Column("Last problem", "words")),
    ]
    rows: list[list[Cell]] = [
        [
            join(one.name, tag("small", f" {one.kind}, {one.address}")),
            f"{one.sent}",
            f"{one.waiting}",
            f"{one.bad}",
            moment(one.last),
            one.problem or "",
        ]
        for one in destinations
    ]
    checks = [
        button(
            "/health/check", f"Ask {one.name} whether it answers", fields={"destination": one.name}, name=f"ask-{at}"
        )
        for at, one in enumerate(destinations)
    ]
    return [table("Deliveries", columns, rows), tag("div", *checks, class_="acts")]
