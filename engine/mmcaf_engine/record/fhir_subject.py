"""HL7 FHIR R4: whose a resource is, by its subject and its focus (sections 2.3, References, and 10.1.3)."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from ..errors import RecordError
from .fhir_bundle import Entry, Resource, listed, without_copies, without_version
from .fhir_dates import read_moment

PEOPLE = ("Patient", "RelatedPerson", "Person", "Practitioner", "PractitionerRole", "Group", "Device", "Location")
"""What an Observation may be about in place of its subject, so that its value is not the patient's."""


class Subject:
    """The one Patient of a Bundle.

    Args:
        entries: of the Bundle.
        name: how messages call the record.

    Raises:
        RecordError: no Patient, or several.
    """

    def __init__(self, entries: Sequence[Entry], name: str) -> None:
        patients = [entry for entry in entries if entry.kind == "Patient"]
        distinct = list(without_copies(patients).values())
        if len(distinct) != 1:
            raise RecordError(
                f"{name}: the FHIR Bundle holds {len(distinct)} Patient resources; exactly one was expected.",
                "Export the record of one patient.",
            )
        self._entry = distinct[0]
        self.resource = self._entry.resource
        self._urls = {without_version(one.url) for one in patients} - {""}
        self._id = self.resource.get("id")
        self._kinds = {without_version(entry.url): entry.kind for entry in entries if entry.url}
        self._holders: dict[int, bool] = {}
        self._systems: dict[str, set[str]] = {}
        for system, value in map(_identifier, listed(self.resource, "identifier")):
            self._systems.setdefault(value, set()).add(system)

    def identifiers(self, study_date: date | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Every Patient.identifier's value: those that the patient has, and those of before the study's date."""
        current: dict[str, None] = {}
        former: dict[str, None] = {}
        for one in listed(self.resource, "identifier"):
            _, value = _identifier(one)
            if value:
                (former if _is_former(one, study_date) else current)[value] = None
        return tuple(current), tuple(value for value in former if value not in current)

    def doubts(self, study_date: date | None) -> list[str]:
        """Warnings on what the Patient says of its own record."""
        told = []
        if any(link.get("type") == "replaced-by" for link in listed(self.resource, "link")):
            told.append("the record's Patient says that another has replaced it.")
        if self.resource.get("active") is False:
            told.append("the record's Patient says that it is no longer in use (active is false).")
        died = read_moment(self.resource.get("deceasedDateTime"))
        if died is not None and study_date is not None and died.last_day < study_date:
            days = (study_date - died.last_day).days
            told.append(f"the record's Patient died {days} days before the study.")
        return told

    def owns(self, entry: Entry) -> bool:
        """Whether a resource, and what contains it, is of the patient, or says nobody's name."""
        if entry.holder is not None and not self._owns_holder(entry.holder):
            return False
        subject = entry.resource.get("subject")
        if subject is not None and not (isinstance(subject, dict) and self._is_patient(subject, entry)):
            return False
        focus = entry.resource.get("focus")
        given = focus if isinstance(focus, list) else [] if focus is None else [focus]
        return all(isinstance(one, dict) and self._may_focus(one, entry) for one in given)

    def _owns_holder(self, holder: Entry) -> bool:
        """As `owns`, worked out once: it may contain many."""
        if (known := self._holders.get(id(holder))) is None:
            known = self._holders[id(holder)] = self.owns(holder)
        return known

    def _is_patient(self, subject: Resource, entry: Entry) -> bool:
        kind, identifier = subject.get("type"), subject.get("identifier")
        if kind not in (None, "Patient") and not str(kind).endswith("/Patient"):
            return False
        if identifier is not None and not (isinstance(identifier, dict) and self._has(identifier)):
            return False
        reference = subject.get("reference")
        return reference is None or (isinstance(reference, str) and self._is_own(reference, entry))

    def _is_own(self, reference: str, entry: Entry) -> bool:
        plain = without_version(reference)
        if plain.startswith("#"):
            return self._is_contained(plain[1:], entry)
        if plain in self._urls:
            return True
        if not isinstance(self._id, str) or not self._id:
            return False
        base, _, rest = plain.rpartition("Patient/")
        if rest != self._id or (base and not base.endswith("/")):
            return False
        here = self._entry.base
        if base:
            return base.rstrip("/") == here
        return not (entry.base and here) or entry.base == here

    def _is_contained(self, identifier: str, entry: Entry) -> bool:
        """Of a resource within the resource, by what identifies it; of the patient itself where there is none."""
        one = entry.contained.get(identifier)
        if one is None:
            return identifier == self._id
        return one.get("resourceType") == "Patient" and any(map(self._has, listed(one, "identifier")))

    def _has(self, identifier: Resource) -> bool:
        system, value = _identifier(identifier)
        known = self._systems.get(value)
        return bool(value) and known is not None and (not system or "" in known or system in known)

    def _may_focus(self, focus: Resource, entry: Entry) -> bool:
        """Whether the focus leaves the value the patient's: it is a disease or a part, or the patient."""
        reference = focus.get("reference")
        if isinstance(reference, str):
            plain = without_version(reference)
            within = entry.contained.get(plain.removeprefix("#")) if plain.startswith("#") else None
            kind = self._kinds.get(plain) or str((within or {}).get("resourceType") or "") or _kind_of(plain)
            return (bool(kind) and kind not in PEOPLE) or self._is_own(reference, entry)
        kind = str(focus.get("type") or "").rpartition("/")[2]
        return (bool(kind) and kind not in PEOPLE) or (self._is_patient(focus, entry) and "identifier" in focus)


def _kind_of(reference: str) -> str:
    """The type in Type/id; empty where there is none, as in a urn."""
    parts = reference.split("/")
    return parts[-2] if len(parts) >= 2 and parts[-2][:1].isupper() else ""


def _identifier(given: Resource) -> tuple[str, str]:
    """System and value, without blanks around them."""
    system, value = given.get("system"), given.get("value")
    return "" if system is None else str(system).strip(), "" if value is None else str(value).strip()


def _is_former(identifier: Resource, study_date: date | None) -> bool:
    """Whether it was given up, or ended before the study."""
    period: Any = identifier.get("period")
    end = read_moment(period.get("end")) if isinstance(period, dict) else None
    ended = end is not None and study_date is not None and end.last_day < study_date
    return identifier.get("use") == "old" or ended
