"""A study's record at a FHIR R4 server: its patient by identifier, its order by accession, and what was observed.

Nothing of another patient is taken: a server that gives some is not believed in the rest either.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .fhir_client import FhirClient, Resource, SearchError

_ORDERS = ("ServiceRequest", "ImagingStudy")
_FACTS = ("Observation", "DiagnosticReport")
"""What the engine reads of a patient."""
_PAGE = "100"


@dataclass(frozen=True)
class Sought:
    """What a study's images say of whom and what it is of."""

    patient_id: str = field(repr=False)
    accession: str = field(default="", repr=False)


def find_bundle(client: FhirClient, sought: Sought) -> bytes:
    """A FHIR Bundle of the patient with observations and reports, the same bytes whenever they are the same.

    Raises:
        SearchError: there is no such patient, several, or another's data; or the server answers otherwise.
    """
    known = client.search("Patient", identifier=_token(sought.patient_id), _count=_PAGE)
    patients = _distinct(one for one in known if _carries(one, sought.patient_id) and _id(one))
    if known and not patients:
        raise SearchError("it answers with another patient than the study's")
    if not patients:
        raise SearchError("it knows no patient of the study's PatientID (0010,0020)")
    patient = _of_order(client, patients, sought.accession)
    facts: list[Resource] = []
    for kind in _FACTS:
        facts += _search_known(client, kind, patient=_id(patient), _count=_PAGE)
    if not all(_is_of(one, patient, client.base) for one in facts):
        raise SearchError("it answers with another patient's observations, so that none of them is taken")
    entries = [
        {"fullUrl": f"{client.base}/{one['resourceType']}/{_id(one)}", "resource": one}
        for one in [patient, *sorted(_distinct(facts), key=lambda one: (str(one["resourceType"]), _id(one)))]
    ]
    document = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return json.dumps(document, ensure_ascii=False, sort_keys=True).encode()


def _of_order(client: FhirClient, patients: list[Resource], accession: str) -> Resource:
    """The one of these patients; where an order is known by the study's accession number, the one that it is of."""
    orders: list[Resource] = []
    for kind in _ORDERS if accession else ():
        found = _search_known(client, kind, identifier=_token(accession), _count=_PAGE)
        orders += [one for one in found if _carries(one, accession)]
    if orders:
        patients = [one for one in patients if any(_is_of(order, one, client.base) for order in orders)]
        if not patients:
            raise SearchError("the order of the study's accession number (0008,0050) is another patient's there")
    if len(patients) > 1:
        raise SearchError(f"it knows {len(patients)} patients of the study's PatientID (0010,0020)")
    return patients[0]


def _search_known(client: FhirClient, kind: str, **query: str) -> list[Resource]:
    """As `search`; a server that has no such resources has none of this study."""
    try:
        return client.search(kind, **query)
    except SearchError as failure:
        if failure.unknown and kind != "Observation":
            return []
        raise


def _token(value: str) -> str:
    """A value of a search of the type token, whose signs mean nothing (FHIR R4 3.1.1.4.1, escaping)."""
    for sign in "\\$,|":
        value = value.replace(sign, f"\\{sign}")
    return value


def _id(resource: Resource) -> str:
    found = resource.get("id")
    return found if isinstance(found, str) else ""


def _distinct(resources: Iterable[Resource]) -> list[Resource]:
    """Each once, by type and id; the first of those that a server gave twice."""
    found: dict[tuple[Any, str], Resource] = {}
    for one in resources:
        found.setdefault((one.get("resourceType"), _id(one)), one)
    return list(found.values())


def _carries(resource: Resource, value: str) -> bool:
    """Whether one of its identifiers has exactly this value."""
    identifiers = resource.get("identifier")
    given = identifiers if isinstance(identifiers, list) else []
    return any(isinstance(one, dict) and str(one.get("value", "")).strip() == value for one in given)


def _is_of(resource: Resource, patient: Resource, base: str) -> bool:
    """Whether its subject is this patient, by the reference that this server gave."""
    subject = resource.get("subject")
    reference = subject.get("reference") if isinstance(subject, dict) else None
    if not isinstance(reference, str):
        return False
    plain = reference.partition("/_history/")[0]
    return plain in (f"Patient/{_id(patient)}", f"{base}/Patient/{_id(patient)}")
