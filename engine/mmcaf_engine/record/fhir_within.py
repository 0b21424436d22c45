"""HL7 FHIR R4: observations within another resource: contained ones (2.3), and the components of one (10.1.3).

A contained observation may be of whoever, and is only what the resource around it is: both must be the patient's and
usable. A component has its subject, status and date from its observation. What it means is said by both codes: one of a
panel that is not in `codings/panels.json` may be another thing than its own code tells, such as a weight to be reached.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..errors import printable
from .codings.tables import is_panel
from .fhir_bundle import Entry, Resource, listed
from .fhir_shape import fit
from .notes import Notes

HOLDERS = ("DiagnosticReport", "Observation")
"""What may hold observations of its own subject; a FamilyMemberHistory's, say, are of somebody else."""
_NO_PANEL = "is a component of an observation that is no panel known here"


@dataclass(frozen=True)
class Observed:
    """One code and its value.

    entry: the observation that it is, or is a component of. refused: why it is not taken, whatever the value is.
    """

    resource: Resource = field(repr=False)
    entry: Entry = field(repr=False)
    refused: str = ""


def contained_observations(entries: Sequence[Entry], notes: Notes) -> Iterator[Entry]:
    """The observations within other resources, each with what holds it."""
    unread: list[str] = []
    wrong: list[str] = []
    misnamed: list[str] = []
    for holder in entries:
        held = listed(holder.resource, "contained")
        if holder.kind != "DiagnosticReport" and holder.resource.get("contained") is None:
            continue
        found = fit(holder.resource)
        damaged = found.wrong
        if found.strange and not held and holder.kind == "DiagnosticReport":
            misnamed.append(found.strange)  # Of observations, and of reports that are read, `fhir` says so.
        if not damaged and not all(isinstance(one.get("resourceType"), str) for one in held):
            damaged = "contained.resourceType"
        if damaged:
            wrong.append(damaged)
            continue
        for one in held:
            if one.get("resourceType") != "Observation":
                continue
            if holder.kind not in HOLDERS:
                unread.append(holder.kind)
            else:
                yield Entry(one, base=holder.base, holder=holder)
    if wrong:
        notes.warnings.append(
            f"what {len(wrong)} resource(s) in the record contain was left out: {wrong[0]} is not of the type that "
            "FHIR R4 gives it."
        )
    if misnamed:
        notes.remarks.append(
            f"{len(misnamed)} report(s) in the record contain nothing, and hold an element that FHIR R4 does not have, "
            f"first {misnamed[0]}."
        )
    if unread:
        notes.remarks.append(
            f"{len(unread)} observation(s) within resources of other types, such as {printable(unread[0], 40)}, were "
            "passed over."
        )


def with_components(observations: Sequence[Entry], notes: Notes) -> Iterator[Observed]:
    """Each observation, and after it its components."""
    modified = 0
    for entry in observations:
        yield Observed(entry.resource, entry)
        components = listed(entry.resource, "component")
        known = not components or is_panel(entry.resource.get("code"))
        for component in components:
            if component.get("modifierExtension"):
                modified += 1
            else:
                yield Observed(component, entry, "" if known else _NO_PANEL)
    if modified:
        notes.warnings.append(
            f"{modified} component(s) of observations in the record were left out: each has a modifierExtension, which "
            "may turn it into its opposite."
        )
