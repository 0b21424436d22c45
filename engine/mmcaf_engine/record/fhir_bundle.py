"""HL7 FHIR R4: the resources of a Bundle, of each its newest version (sections 2.36 and 3.1.0.9, history)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ..errors import RecordError, printable
from .fhir_dates import Dated, read_moment, when
from .fhir_whole import refuse_withdrawn, told_of_the_rest
from .notes import Notes

Resource = dict[str, Any]

_EXPECTED = "a FHIR R4 Bundle with a Patient and Observations was expected"
_HINTS = {
    "Parameters": "Give the Bundle that is within it.",
    "OperationOutcome": "It says why the server gave nothing; ask it again.",
    "Patient": "Export the Patient with its Observations: Patient/ID/$everything.",
}


@dataclass(frozen=True)
class Entry:
    """One resource of a Bundle. url: its fullUrl, empty without. base: its server's address, empty if not known.

    holder: the entry whose resource contains it.
    """

    resource: Resource = field(repr=False)
    url: str = ""
    base: str = ""
    holder: "Entry | None" = field(default=None, repr=False)

    @property
    def kind(self) -> str:
        """Its resourceType."""
        return str(self.resource.get("resourceType"))

    @cached_property
    def dated(self) -> Dated:
        """When it is of; without a date of its own as what holds it."""
        own = when(self.resource)
        return self.holder.dated if own == Dated() and self.holder is not None else own

    @cached_property
    def contained(self) -> dict[str, Resource]:
        """By its id, what it may refer to as `#id`: the first that it, or what holds it, contains."""
        if self.holder is not None:
            return self.holder.contained
        listing = reversed(listed(self.resource, "contained"))
        return {one["id"]: one for one in listing if isinstance(one.get("id"), str)}


def read_bundle(document: Resource, name: str, notes: Notes) -> list[Entry]:
    """The resources of a Bundle: of each that has several versions the newest, and none that was deleted.

    What holds no resource where one was expected is warned of.

    Raises:
        RecordError: no Bundle, or one that holds Bundles.
    """
    kind = printable(str(document.get("resourceType")), 40)
    if kind != "Bundle":
        raise RecordError(
            f"{name}: a FHIR {kind}; {_EXPECTED}.",
            _HINTS.get(kind, "Export the record as one Bundle."),
            discreet=f"{name}: no FHIR Bundle; {_EXPECTED}.",
        )
    given = document.get("entry")
    every = given if isinstance(given, list) else []
    entries = [entry for entry in every if isinstance(entry, dict)]
    refuse_withdrawn(entries, name)
    notes.warnings += told_of_the_rest(document, entries)
    server = _server(document)
    found = [
        Entry(entry["resource"], url := _text(entry.get("fullUrl")), _base(url) or server)
        for entry in entries
        if isinstance(entry.get("resource"), dict) and not _deletes(entry)
    ]
    bare = sum(
        _deletes(entry) or (not {"request", "response"}.isdisjoint(entry) and "resource" not in entry)
        for entry in entries
    )
    untyped = sum(not isinstance(one.resource.get("resourceType"), str) for one in found)
    if lost := len(every) - len(found) - bare + untyped:
        notes.warnings.append(f"{lost} of {len(every)} entries of the FHIR Bundle hold no resource of FHIR's form.")
    if any(one.kind in ("Bundle", "Parameters") for one in found):
        raise RecordError(
            f"{name}: a FHIR Bundle of the type {_text(document.get('type'))[:20] or 'unknown'} that holds Bundles; "
            f"{_EXPECTED}.",
            "Give the Bundle that is within it.",
            discreet=f"{name}: a FHIR Bundle that holds Bundles; {_EXPECTED}.",
        )
    return _newest(found, entries, history=document.get("type") == "history")


def _newest(found: list[Entry], entries: list[Resource], *, history: bool) -> list[Entry]:
    """Each resource once, where its versions tell which is newest; a history has the newest first."""
    groups: dict[object, list[Entry]] = {}
    for at, one in enumerate(found):
        identifier = one.resource.get("id")
        key = (one.base, one.kind, identifier) if isinstance(identifier, str) and identifier else at
        groups.setdefault(key, []).append(one)
    deleted = _deleted(entries) if history else {}
    places = {id(entry.get("resource")): at for at, entry in enumerate(entries)} if deleted else {}
    kept = []
    for group in groups.values():
        newest = _of_one(group, history)
        gone = deleted.get(f"{newest[0].kind}/{newest[0].resource.get('id')}")
        if gone is None or any(places[id(one.resource)] < gone for one in newest):
            kept += newest
    return kept


def _of_one(group: list[Entry], history: bool) -> list[Entry]:
    """The newest of the versions of one resource; all that nothing tells apart, equal ones once."""
    if len(group) == 1:
        return group
    for rank in (_updated, _version):
        ranks = [rank(one) for one in group]
        known = [one for one in ranks if one is not None]
        if len(known) == len(ranks) and known.count(max(known)) == 1:
            return [group[ranks.index(max(known))]]
    if history:
        return group[:1]
    return list(without_copies(group).values())


def without_copies(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Of equal resources the last; by the text of each, since there may be many."""
    return {json.dumps(one.resource, sort_keys=True): one for one in entries}


def _updated(entry: Entry) -> Any:
    meta = entry.resource.get("meta")
    moment = read_moment(meta.get("lastUpdated")) if isinstance(meta, dict) else None
    return None if moment is None or not moment.zoned else moment.begin


def _version(entry: Entry) -> Any:
    meta = entry.resource.get("meta")
    version = str(meta.get("versionId")) if isinstance(meta, dict) else ""
    return int(version) if version.isascii() and version.isdigit() and len(version) <= 18 else None


def _deleted(entries: list[Resource]) -> dict[str, int]:
    """Type and id of what a history says was deleted -> the place of that in it."""
    found: dict[str, int] = {}
    for at, entry in enumerate(entries):
        if _deletes(entry):
            request = entry["request"]
            found.setdefault("/".join(_text(request.get("url")).partition("?")[0].rstrip("/").split("/")[-2:]), at)
    return found


def _deletes(entry: Resource) -> bool:
    """Whether it says that a resource was, or is to be, deleted; what it may hold of that no longer counts."""
    request = entry.get("request")
    return isinstance(request, dict) and request.get("method") == "DELETE"


def _server(document: Resource) -> str:
    """The base that a search or an operation says it was answered by."""
    links = document.get("link")
    for link in links if isinstance(links, list) else []:
        own = isinstance(link, dict) and link.get("relation") == "self"
        if own and (address := _web_address(_text(link.get("url")))):
            return _cut_at_type(f"{address.scheme}://{address.netloc}{address.path}".rstrip("/"))
    return ""


def _web_address(url: str) -> SplitResult | None:
    """A URL of http, in its parts; None where it is none."""
    try:
        address = urlsplit(url)
    except ValueError:  # such as a bracket that is not closed
        return None
    return address if address.scheme in ("http", "https") else None


def _cut_at_type(address: str) -> str:
    """An address without what begins with the name of a resource's type, as in .../fhir/Patient/1/$everything."""
    scheme, _, rest = address.partition("://")
    parts = rest.split("/")
    for at, part in enumerate(parts[1:], 1):
        if part[:1].isupper() or part[:1] in ("$", "_"):
            return f"{scheme}://{'/'.join(parts[:at])}"
    return address


def _base(url: str) -> str:
    """The server's address in an absolute URL of a resource; empty where it is none."""
    if _web_address(url) is None:
        return ""
    parts = without_version(url).split("/")
    return "/".join(parts[:-2]) if len(parts) > 4 else ""


def without_version(reference: str) -> str:
    """A reference to a resource, whichever of its versions it names."""
    return reference.partition("/_history/")[0].rstrip("/")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def listed(resource: Resource, key: str) -> list[Resource]:
    """The objects of a list; none where there is no list."""
    found = resource.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
