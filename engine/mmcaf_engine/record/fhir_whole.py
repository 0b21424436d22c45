"""HL7 FHIR R4: whether a Bundle is all that its server holds of the patient, and still stands (2.36, 3.1.0.8, 2.42).

A page of a search holds any observation but those of the other pages: the latest may be among these.
"""

from collections.abc import Sequence
from typing import Any

from ..errors import RecordError

_FAILED = ("error", "fatal")
_LACKING = ("incomplete", "suppressed", "throttled", "timeout", "too-costly", "too-long")
"""OperationOutcome.issue: severities, and codes of issues of any severity, by which something is left out."""


def told_of_the_rest(document: dict[str, Any], entries: Sequence[dict[str, Any]]) -> list[str]:
    """Warnings where a Bundle says itself that there is more than it holds."""
    told = []
    links = document.get("link")
    if any(isinstance(link, dict) and link.get("relation") == "next" for link in _list(links)):
        told.append(
            "the FHIR Bundle is one page of several, by its link to the next; what the others hold was not read."
        )
    total, found = document.get("total"), sum(map(_is_match, entries))
    if not told and document.get("type") == "searchset" and isinstance(total, int) and total > found:
        told.append(f"the FHIR Bundle holds {found} of the {total} resources that its server found.")
    outcomes = [entry["resource"] for entry in entries if _is_outcome(entry)]
    if any(map(_says_incomplete, outcomes)):
        told.append("the FHIR Bundle says that its server could not give all, by an OperationOutcome in it.")
    return told


def refuse_withdrawn(entries: Sequence[dict[str, Any]], name: str) -> None:
    """Refuse a document that its author took back (2.4).

    Raises:
        RecordError: its Composition, which is the first entry, was entered in error.
    """
    first = entries[0].get("resource") if entries else None
    kind, status = (first.get("resourceType"), first.get("status")) if isinstance(first, dict) else ("", "")
    if (kind, status) == ("Composition", "entered-in-error"):
        raise RecordError(
            f"{name}: a FHIR document that was entered in error, by the status of its Composition.",
            "Export the record again.",
        )


def _is_match(entry: dict[str, Any]) -> bool:
    """Whether it counts for `total`: what was only included does not."""
    search = entry.get("search")
    mode = search.get("mode") if isinstance(search, dict) else None
    return mode in (None, "match") and not _is_outcome(entry)


def _is_outcome(entry: dict[str, Any]) -> bool:
    resource = entry.get("resource")
    return isinstance(resource, dict) and resource.get("resourceType") == "OperationOutcome"


def _says_incomplete(outcome: dict[str, Any]) -> bool:
    return any(
        isinstance(issue, dict) and (issue.get("severity") in _FAILED or issue.get("code") in _LACKING)
        for issue in _list(outcome.get("issue"))
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
