"""FHIR Bundles: versions and deletions of a resource, and whose each resource is."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.record.test_fhir_lookup import FIELDS, STUDY, weight
from mmcaf_engine.errors import RecordError
from mmcaf_engine.record.fhir import FlatRecord, flatten_fhir
from refusals import refused

FEW = settings(max_examples=60, deadline=None, derandomize=True, database=None)
MANY = settings(FEW, max_examples=600)

SERVER = "https://a.example/fhir"
PATIENT = {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:mrn", "value": "A-1"}]}


def read(*entries: dict[str, Any], url: str | None = "urn:uuid:p", patient: Any = PATIENT, **more: Any) -> FlatRecord:
    first = {"resource": patient} | ({} if url is None else {"fullUrl": url})
    document = {"resourceType": "Bundle", "entry": [first, *entries], **more}
    return flatten_fhir(document, FIELDS, name="record", study_date=STUDY)


def kilograms(found: FlatRecord) -> float | None:
    value = found.values.get("weight")
    return None if value is None else value["value"]


def version(value: float, number: str | None = None, updated: str | None = None, **more: Any) -> dict[str, Any]:
    meta = {key: each for key, each in {"versionId": number, "lastUpdated": updated}.items() if each is not None}
    return {"resource": weight(value, "2024-03-01", id="w", **({"meta": meta} if meta else {}), **more)}


@pytest.mark.parametrize(
    ("entries", "value"),
    [
        ([version(70, "2"), version(170, "1")], 70),
        ([version(170, "9"), version(70, "10")], 70),
        ([version(170, updated="2024-01-01T09:00:00+09:00"), version(70, updated="2024-01-01T01:00:00Z")], 70),
        ([version(70, "1", "2024-01-02T00:00:00Z"), version(170, "2", "2024-01-01T00:00:00Z")], 70),
        ([version(170, "1", "2024-01-02T00:00:00Z"), version(70, "2", "2024-01-02T00:00:00Z")], 70),
        ([version(170, "1", "2024-01-03T00:00:00"), version(70, "2", "2024-01-02T00:00:00")], 70),
        ([version(70, status="entered-in-error"), version(71)], 71),
    ],
    ids=["history-first", "numbers", "zones", "updated-first", "updated-at-once", "no-zone", "no-version"],
)
def test_the_newest_version_counts(entries: list[dict[str, Any]], value: float) -> None:
    found = read(*entries)
    assert kilograms(found) == value and found.notes.warnings == []
    assert kilograms(read(*entries[::-1])) == value


def test_the_newest_version_counts_also_where_it_takes_the_value_back() -> None:
    newest = version(70, "2", status="entered-in-error")
    assert kilograms(read(newest, version(70, "1"))) is None


def test_a_history_has_the_newest_first_and_says_what_was_deleted() -> None:
    assert kilograms(read(version(70), version(170), type="history")) == 70
    gone = {"request": {"method": "DELETE", "url": "Observation/w"}}
    assert kilograms(read(gone, version(70, "1"), type="history")) is None
    assert kilograms(read(version(70, "3"), gone, version(60, "1"), type="history")) == 70


@pytest.mark.parametrize("meta", [(), ("2",), ("2", "2024-01-02T00:00:00Z")], ids=["none", "number", "number-and-time"])
def test_versions_that_nothing_tells_apart_are_told(meta: tuple[str, ...]) -> None:
    found = read(version(70, *meta), version(90, *meta))
    assert kilograms(found) == 90 and "do not tell" in found.notes.warnings[0]
    assert read(version(70), version(70)).notes.warnings == []


def test_resources_of_two_servers_are_two_under_one_id() -> None:
    one = version(70, "1") | {"fullUrl": f"{SERVER}/Observation/w"}
    other = version(90, "2") | {"fullUrl": "https://b.example/fhir/Observation/w"}
    assert "do not tell" in read(one, other).notes.warnings[0]


@pytest.mark.parametrize(
    ("document", "facts"),
    [
        ({"resourceType": "Parameters", "parameter": []}, ("Parameters", "R4", "Bundle")),
        ({"resourceType": "OperationOutcome"}, ("OperationOutcome", "R4", "Bundle")),
        ({"resourceType": "Patient"}, ("Patient", "R4", "Bundle")),
        (
            {"resourceType": "Bundle", "type": "batch-response", "entry": [{"resource": {"resourceType": "Bundle"}}]},
            ("batch-response", "holds Bundles"),
        ),
        ({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Parameters"}}]}, ("holds Bundles",)),
    ],
    ids=["parameters", "outcome", "patient", "bundle-in-bundle", "parameters-in-bundle"],
)
def test_what_is_no_bundle_of_a_patient_is_named(document: dict[str, Any], facts: tuple[str, ...]) -> None:
    with refused(RecordError, "record", *facts) as caught:
        flatten_fhir(document, FIELDS, name="record", study_date=STUDY)
    assert caught.value.remedies


def test_the_same_patient_twice_is_one_and_two_are_refused() -> None:
    newer = {**PATIENT, "meta": {"versionId": "2"}, "gender": "female"}
    assert kilograms(read({"resource": dict(PATIENT)}, {"resource": weight(70)})) == 70
    both = read({"resource": newer}, {"resource": weight(70)}, patient={**PATIENT, "meta": {"versionId": "1"}})
    assert both.values["sex"] == "female"
    with refused(RecordError, 2, "Patient"):
        read({"resource": {**PATIENT, "id": "q"}})


def of(subject: Any, **more: Any) -> dict[str, Any]:
    return {"resource": weight(70, subject=subject, **more)}


OWN_IDENTIFIER = {"system": "urn:mrn", "value": "A-1"}


@pytest.mark.parametrize(
    ("subject", "url", "own"),
    [
        ({"reference": "Patient/p/_history/3"}, "urn:uuid:p", True),
        ({"reference": f"{SERVER}/Patient/p"}, f"{SERVER}/Patient/p", True),
        ({"reference": f"{SERVER}/Patient/p/_history/9"}, f"{SERVER}/Patient/p/_history/2", True),
        ({"reference": "https://b.example/fhir/Patient/p"}, f"{SERVER}/Patient/p", False),
        ({"reference": f"{SERVER}/Patient/p"}, "urn:uuid:p", False),
        ({"reference": f"{SERVER}/Patient/p"}, None, False),
        ({"reference": "Patient/p"}, f"{SERVER}/Patient/p", True),
        ({"reference": "xPatient/p"}, "urn:uuid:p", False),
        ({"reference": "Group/p"}, "urn:uuid:p", False),
        ({"reference": 7}, "urn:uuid:p", False),
        ({"identifier": OWN_IDENTIFIER}, "urn:uuid:p", True),
        ({"identifier": {"value": " A-1 "}}, "urn:uuid:p", True),
        ({"identifier": {"system": "urn:other", "value": "A-1"}}, "urn:uuid:p", False),
        ({"identifier": {"system": "urn:mrn", "value": "B-2"}}, "urn:uuid:p", False),
        ({"identifier": {}}, "urn:uuid:p", False),
        ({"reference": "Patient/p", "identifier": {"value": "B-2"}}, "urn:uuid:p", False),
        ({"reference": "Patient/p", "type": "Group"}, "urn:uuid:p", False),
        ({"display": "Jane"}, "urn:uuid:p", True),
        ({}, "urn:uuid:p", True),
        (["Patient/p"], "urn:uuid:p", False),
    ],
    ids=str,
)
def test_whose_an_observation_is(subject: Any, url: str | None, own: bool) -> None:
    found = read(of(subject), url=url)
    assert (kilograms(found) is not None) is own and len(found.notes.warnings) == (not own)


def test_a_search_says_by_its_link_which_server_it_is_of() -> None:
    link = [{"relation": "self", "url": f"{SERVER}/Patient/p/$everything?_count=50"}]
    assert kilograms(read(of({"reference": f"{SERVER}/Patient/p"}), url=None, link=link)) == 70
    assert kilograms(read(of({"reference": "https://b.example/Patient/p"}), url=None, link=link)) is None


@pytest.mark.parametrize("url", ["http://[", "http://]/Patient/p", "//[", "https://a\u2100b/Patient/p"])
def test_what_is_no_url_is_nobodys_address(url: str) -> None:
    link = [{"relation": "self", "url": url}]
    assert kilograms(read(of({"reference": "Patient/p"}), url=url, link=link)) == 70
    assert kilograms(read(of({"reference": url}), link=link)) is None
    assert kilograms(read(of({"reference": "Patient/p"}) | {"fullUrl": url})) == 70


def test_relative_references_are_of_the_server_of_their_resource() -> None:
    entry = of({"reference": "Patient/p"}) | {"fullUrl": "https://b.example/fhir/Observation/1"}
    assert kilograms(read(entry, url=f"{SERVER}/Patient/p")) is None
    assert kilograms(read(entry, url="https://b.example/fhir/Patient/p")) == 70
    root = of({"reference": "Patient/p"}) | {"fullUrl": "https://b.example/Observation/1"}
    assert kilograms(read(root, url="https://a.example/Patient/p")) is None
    assert kilograms(read(root, url="https://b.example/Patient/p")) == 70


@pytest.mark.parametrize(
    ("contained", "own"),
    [
        ({"resourceType": "Patient", "id": "x", "identifier": [OWN_IDENTIFIER]}, True),
        ({"resourceType": "Patient", "id": "x", "identifier": [{"value": "B-2"}]}, False),
        ({"resourceType": "Patient", "id": "x"}, False),
        ({"resourceType": "Group", "id": "x", "identifier": [OWN_IDENTIFIER]}, False),
    ],
)
def test_a_patient_within_the_observation(contained: dict[str, Any], own: bool) -> None:
    found = read(of({"reference": "#x"}, contained=[contained]))
    assert (kilograms(found) == 70) is own


@pytest.mark.parametrize(
    ("focus", "own"),
    [
        ([{"reference": "RelatedPerson/baby"}], False),
        ([{"reference": "Patient/q"}], False),
        ([{"reference": "urn:uuid:baby"}], False),
        ([{"reference": "urn:uuid:gone"}], False),
        ([{"type": "RelatedPerson", "display": "her child"}], False),
        ([{"identifier": {"value": "B-2"}}], False),
        ([{"display": "the child"}], False),
        ([{"reference": "Condition/tumour"}, {"reference": "Device/pump"}], False),
        (["Condition/tumour"], False),
        ([{"reference": "Condition/tumour"}], True),
        ([{"reference": "urn:uuid:tumour"}], True),
        ([{"type": "BodyStructure", "display": "left lung"}], True),
        ([{"reference": "Patient/p"}], True),
        ([{"identifier": OWN_IDENTIFIER}], True),
        ([], True),
    ],
    ids=str,
)
def test_a_focus_on_somebody_else(focus: list[Any], own: bool) -> None:
    others = [
        {"fullUrl": "urn:uuid:baby", "resource": {"resourceType": "RelatedPerson", "id": "baby"}},
        {"fullUrl": "urn:uuid:tumour", "resource": {"resourceType": "Condition", "id": "tumour"}},
    ]
    found = read(*others, of({"reference": "Patient/p"}, focus=focus))
    assert (kilograms(found) == 70) is own and len(found.notes.warnings) == (not own)


def test_what_a_modifier_may_turn_into_its_opposite_is_left_out() -> None:
    found = read(of({"reference": "Patient/p"}, modifierExtension=[{"url": "urn:not", "valueBoolean": True}]))
    assert kilograms(found) is None and "modifierExtension" in found.notes.warnings[0]


def test_a_patient_that_was_replaced_is_warned_of() -> None:
    link = [{"type": "replaced-by", "other": {"reference": "Patient/q"}}]
    found = read(of({"reference": "Patient/p"}), patient={**PATIENT, "link": link})
    assert kilograms(found) == 70 and "replaced" in found.notes.warnings[0]


BASES = (None, SERVER, "https://b.example/fhir", "https://a.example/fhir2")


def check_ownership(patient: Any, entry: Any, reference: Any, ids: tuple[str, str], history: bool) -> None:
    """A reference is the patient's where id and server agree; a relative one is of the server of its own resource."""
    own_id, other_id = ids
    url = "urn:uuid:p" if patient is None else f"{patient}/Patient/{own_id}"
    text = f"{'' if reference is None else reference + '/'}Patient/{other_id}{'/_history/4' if history else ''}"
    resource = of({"reference": text}) | ({} if entry is None else {"fullUrl": f"{entry}/Observation/1"})
    same_server = reference == patient if reference is not None else None in (entry, patient) or entry == patient
    found = read(resource, url=url, patient={**PATIENT, "id": own_id})
    assert (kilograms(found) == 70) is (own_id == other_id and same_server), (url, text)


REFERENCES = st.tuples(
    st.sampled_from(BASES),
    st.sampled_from(BASES),
    st.sampled_from(BASES),
    st.sampled_from(list(itertools.product(("p", "1", "p1"), repeat=2))),
    st.booleans(),
)


@FEW
@given(REFERENCES)
def test_references_are_the_patients_by_server_and_id(drawn: tuple[Any, ...]) -> None:
    check_ownership(*drawn)


@pytest.mark.full
@MANY
@given(REFERENCES)
def test_many_references_are_the_patients_by_server_and_id(drawn: tuple[Any, ...]) -> None:
    check_ownership(*drawn)


@pytest.mark.parametrize(
    ("identifier", "current"),
    [
        ({"use": "official"}, True),
        ({"use": "old"}, False),
        ({"period": {"end": "2010-01-01"}}, False),
        ({"period": {"end": "2024-03-14"}}, False),
        ({"period": {"end": "2024-03-15"}}, True),
        ({"period": {"end": "2024"}}, True),
        ({"period": {"start": "2010-01-01"}}, True),
        ({"period": "2010"}, True),
    ],
    ids=str,
)
def test_identifiers_that_the_patient_no_longer_has(identifier: dict[str, Any], current: bool) -> None:
    found = read(patient={**PATIENT, "identifier": [{"value": "A-1", **identifier}]})
    assert (found.patient_ids, found.former_ids) == ((("A-1",), ()) if current else ((), ("A-1",)))
    both = read(patient={**PATIENT, "identifier": [{"value": "A-1", **identifier}, {"value": "A-1"}]})
    assert (both.patient_ids, both.former_ids) == (("A-1",), ())
