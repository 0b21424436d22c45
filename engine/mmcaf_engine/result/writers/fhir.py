"""A result as a FHIR R4 Bundle: a preliminary DiagnosticReport, its Observations, the algorithm, and the study.

Where DICOM results have a counterpart, resources are shaped as HL7's guide "DICOM SR to FHIR Resource Mapping" (STU 1)
has it: a qualitative evaluation is `Observation.valueCodeableConcept`, a measurement of it a component, the algorithm
identification (DICOM PS3.16 TID 4019) a Device. Every reference leads to a resource of the Bundle, but those to the
patient and the request, which are named by their identifiers alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..codes import private_code
from ..decisions.statements import Statement, answered, in_words, statements
from ..parts import Evidence, LabelCode
from ..result import Result, in_utc
from .identity import object_uuid, result_digest

if TYPE_CHECKING:
    from pydicom import Dataset

Resource = dict[str, Any]

SYSTEMS: Mapping[str, str] = {
    "SCT": "http://snomed.info/sct",
    "LN": "http://loinc.org",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "UCUM": "http://unitsofmeasure.org",
    "RADLEX": "http://radlex.org",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "I10C": "http://hl7.org/fhir/sid/icd-10-cm",
}
"""Coding scheme designator (DICOM PS3.16 section 8) -> FHIR's URI of it; a private scheme has none."""

_IMAGING_STUDY = LabelCode("LN", "18748-4", "Diagnostic imaging study")
_ALGORITHM = LabelCode("DCM", "123110", "Artificial Intelligence")
_TYPES = {"finding": "Observation", "device": "Device", "study": "ImagingStudy"}
_UID, _URI = "urn:dicom:uid", "urn:ietf:rfc:3986"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"


def to_fhir(result: Result, header: "Dataset | None" = None) -> Resource:
    """The Bundle, as plain dicts and lists. The same result gives the same Bundle.

    Args:
        header: of the study, for the patient's identifier, the accession number and the date; without it these are
            left out, as for a deidentified result.
    """
    writer = _Writer(result, header)
    bundle: Resource = {"resourceType": "Bundle", "type": "collection"}
    if result.created is not None:
        bundle["timestamp"] = in_utc(result.created)
    bundle["entry"] = [{"fullUrl": writer.url(kind), "resource": resource} for kind, resource in writer.resources()]
    return bundle


@dataclass(frozen=True)
class _Writer:
    """One result, and the header of its study."""

    result: Result
    header: "Dataset | None"

    @cached_property
    def _digest(self) -> str:
        return result_digest(self.result)

    def url(self, kind: str) -> str:
        """What another resource refers to this one by."""
        return f"urn:uuid:{object_uuid(self._digest, f'FHIR {kind}')}"

    def resources(self) -> Iterator[tuple[str, Resource]]:
        """Each with its kind, the report first."""
        stated = {f"finding {at}": statement for at, statement in enumerate(statements(self.result))}
        yield "report", self._report(list(stated))
        for kind, statement in stated.items():
            yield kind, self._observation(statement)
        yield "device", self._device()
        if self._has_study:
            yield "study", self._imaging_study()

    def _report(self, observations: list[str]) -> Resource:
        result = self.result
        coded = [_concept(code) for code in answered(result)]
        return {
            "resourceType": "DiagnosticReport",
            **self._based_on,
            "status": "preliminary",
            "category": [{"coding": [{"system": f"{_TERMINOLOGY}/v2-0074", "code": "RAD", "display": "Radiology"}]}],
            "code": _concept(_IMAGING_STUDY),
            **self._subject,
            **self._effective,
            **({} if result.created is None else {"issued": in_utc(result.created)}),
            "result": [self._reference(kind) for kind in observations],
            **({"imagingStudy": [self._reference("study")]} if self._has_study else {}),
            "conclusion": f"RESEARCH, unverified. {in_words(result)} {result.disclaimer}".strip(),
            **({"conclusionCode": coded} if coded else {}),
        }

    def _observation(self, stated: Statement) -> Resource:
        result = self.result
        said = [result.disclaimer, *(f"Warning: {warning}" for warning in result.warnings)]
        notes = [{"text": text} for text in said if text]
        return {
            "resourceType": "Observation",
            "status": "preliminary",
            "category": [{"coding": [{"system": f"{_TERMINOLOGY}/observation-category", "code": "imaging"}]}],
            "code": _concept(stated.about, stated.name),
            **self._subject,
            **self._effective,
            **({} if result.created is None else {"issued": in_utc(result.created)}),
            "valueCodeableConcept": _concept(stated.value, stated.said),
            **({"note": notes} if notes else {}),
            "device": self._reference("device"),
            **({"derivedFrom": [self._reference("study")]} if self._has_study else {}),
            "component": [
                *(_component(name, value) for name, value in (*stated.numbers.items(), *stated.spreads.items())),
                *(_level(name, level) for name, level in stated.levels.items()),
            ],
        }

    def _device(self) -> Resource:
        result = self.result
        model, engine = result.model, result.engine
        versions = {"bundle, SHA-256": model.bundle_sha256, "model": model.version}
        if result.software is not None:
            versions[result.software.name] = result.software.version
        facts = {
            "backend": engine.backend,
            "runtime": " ".join(filter(None, (engine.runtime, engine.runtime_version))),
            "precision": engine.precision,
            "device": engine.device,
            "processor": engine.processor,
            "ensemble": None if result.ensemble is None else f"{result.ensemble.members} members",
        }
        return {
            "resourceType": "Device",
            "identifier": [{"system": _URI, "value": f"urn:oid:{model.device_uid}"}],
            "deviceName": [{"name": model.name, "type": "model-name"}],
            "type": _concept(_ALGORITHM),
            "version": [{"type": {"text": name}, "value": value} for name, value in versions.items() if value],
            "property": [
                {"type": {"text": name}, "valueCode": [{"text": value}]} for name, value in facts.items() if value
            ],
        }

    def _imaging_study(self) -> Resource:
        study = self.result.study
        coding = {"system": SYSTEMS["DCM"], "code": study.modality}
        series = [
            {
                "uid": uid,
                "modality": coding,
                "instance": [
                    {
                        "uid": image.sop_instance_uid,
                        "sopClass": {"system": _URI, "code": f"urn:oid:{image.sop_class_uid}"},
                    }
                    for image in images
                ],
            }
            for uid, images in self._series().items()
        ]
        return {
            "resourceType": "ImagingStudy",
            "identifier": [{"system": _UID, "value": f"urn:oid:{study.uids['study']}"}],
            "status": "available",
            "modality": [coding],
            **(self._subject or {"subject": {"type": "Patient", "display": "not stated"}}),
            **({"started": self._effective["effectiveDateTime"]} if self._effective else {}),
            **({"series": series} if series else {}),
        }

    def _series(self) -> dict[str, list[Evidence]]:
        """SeriesInstanceUID -> the images that were read from it, each once."""
        study = self.result.study
        of_input = {entry.input: study.uids.get("series", entry.source) for entry in study.selection}
        found: dict[str, dict[str, Evidence]] = {}
        for image in self.result.evidence or ():
            series = of_input.get(image.input, "")
            if series and series != image.sop_instance_uid:  # Of an image by itself, whose series is not known.
                found.setdefault(series, {}).setdefault(image.sop_instance_uid, image)
        return {uid: list(images.values()) for uid, images in found.items()}

    def _reference(self, kind: str) -> Resource:
        return {"reference": self.url(kind), "type": _TYPES[kind.partition(" ")[0]]}

    @property
    def _has_study(self) -> bool:
        return "study" in self.result.study.uids

    @cached_property
    def _subject(self) -> Resource:
        """The patient, by the identifier of the header alone."""
        if not (value := self._text("PatientID")):
            return {}
        issuer = self._text("IssuerOfPatientID")
        identifier = {"value": value, **({"assigner": {"display": issuer}} if issuer else {})}
        return {"subject": {"type": "Patient", "identifier": identifier}}

    @cached_property
    def _based_on(self) -> Resource:
        """The request, by its accession number."""
        if not (value := self._text("AccessionNumber")):
            return {}
        kind = {"coding": [{"system": f"{_TERMINOLOGY}/v2-0203", "code": "ACSN"}]}
        return {"basedOn": [{"type": "ServiceRequest", "identifier": {"type": kind, "value": value}}]}

    @cached_property
    def _effective(self) -> Resource:
        """When the study was made; FHIR takes a time of day only with its offset from UTC."""
        date, time = self._text("StudyDate"), self._text("StudyTime").partition(".")[0]
        offset = self._text("TimezoneOffsetFromUTC")
        if len(date) != 8:  # Of fewer digits strptime makes other days, and of times other minutes.
            return {}
        if len(time) != 6:
            offset = ""
        try:
            day = datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC)
        except ValueError:
            return {}
        try:
            moment = datetime.strptime(f"{date}{time}{offset}", "%Y%m%d%H%M%S%z")
        except ValueError:
            return {"effectiveDateTime": day.date().isoformat()}
        return {"effectiveDateTime": moment.isoformat()}

    def _text(self, keyword: str) -> str:
        if self.header is None:
            return ""
        value = self.header.get(keyword, None) or ""
        text = value if isinstance(value, str) else "\\".join(map(str, value))  # several, as DICOM separates them
        return " ".join(text.split())


def _concept(code: LabelCode, text: str = "") -> Resource:
    """A code with its scheme and meaning; a code without either is but a text."""
    system = {"system": SYSTEMS[code.scheme]} if code.scheme in SYSTEMS else {}
    coding = {"coding": [{**system, "code": code.value, "display": code.meaning}]} if code.value else {}
    return {**coding, "text": text or code.meaning}


def _level(name: str, level: str) -> Resource:
    """A level of risk, which has a name of the bundle's own."""
    return {"code": _concept(private_code(name), name), "valueCodeableConcept": _concept(private_code(level), level)}


def _component(name: str, value: float) -> Resource:
    """A number without a unit (UCUM "1")."""
    return {
        "code": _concept(private_code(name), name),
        "valueQuantity": {"value": value, "unit": "1", "system": SYSTEMS["UCUM"], "code": "1"},
    }
