"""Records: flat ones and FHIR Bundles with values spoilt, and Bundles by their grammar, spoilt at one place.

A Bundle by the grammar holds what section 10.1 and others of FHIR R4 allow: references of every form, dates of every
precision and zone, quantities in several units, codings with and without systems, components and contained resources.
One of its elements then gets a value of another type. Whatever is left out for that must be told of, where the value
that is taken then is another one.
"""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from numpy.random import Generator

from engine.record.test_fhir import SPEC, STUDY_DATE
from engine.record.test_fhir import bundle as fhir_bundle
from mmcaf_engine.errors import MmcafError
from mmcaf_engine.record.record import read_record

from .case import Answer, Case, Maker, choose, digest
from .json_tree import damaged_json
from .octets import damage

FLAT = {
    "sex": "F",
    "age": 63,
    "weight": 71.5,
    "t_stage": "1b",
    "n_stage": "2",
    "m_stage": "0",
    "smoking_history": "former",
    "patient_id": "PHI-4711",
}
LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
SERVER = "https://a.example/fhir"
SECRETS = ("Quixano", "PHI-4711", "Argamasilla", "1959-10-03")
"""Of the patient's name, identifier, address and birth date; none of them is moved elsewhere."""
DATES = ("2024-05-01", "2024-05", "2024-05-01T10:00:00Z", "2024-05-01T10:00:00.123+09:00", "2024-05-16T23:59:59-05:00")
ODD_DATES = (
    "2024-05-18",
    "2019-01-01",
    "2024",
    "2024-04-30T24:00:00Z",
    "1896-02-29",
    "2024-05-17T23:59:60Z",
    "2024-05-01T10:00",
)
ODD = 0.05
"""Part of what is drawn that is allowed, and worth a remark or a refusal."""
WRONG_TYPES: tuple[Any, ...] = (
    True,
    7,
    -1.5,
    "",
    "x",
    [],
    {},
    [[]],
    [None],
    {"value": 7},
    ["x"],
    {"coding": "x"},
    10**19,
)


def flat_records(folder: Path) -> Maker:
    """The flat record with values spoilt."""
    return _spoilt(FLAT, folder)


def fhir_records(folder: Path) -> Maker:
    """One FHIR Bundle with values spoilt."""
    return _spoilt(fhir_bundle(), folder)


def _spoilt(document: dict[str, Any], folder: Path) -> Maker:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "record.json"

    def make(draw: Generator) -> Case:
        study_date = STUDY_DATE if draw.random() < 0.9 else None
        data = damaged_json(document, draw)
        path.write_bytes(data)
        return Case(lambda: _answer(path, study_date), "values", data)

    return make


def _answer(path: Path, study_date: date | None) -> Answer:
    record = read_record(path, SPEC, study_date=study_date)
    ids = {"patient_ids": record.patient_ids or None}
    return Answer(digest(record.values, record.features), (*record.warnings, *record.remarks), ids)


def grammatical_records(folder: Path) -> Maker:
    """Bundles by the grammar, each held against itself without the damage."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "record.json"

    def make(draw: Generator) -> Case:
        document = _bundle(draw)
        path.write_text(json.dumps(document), encoding="utf-8")
        try:
            sound: Answer | None = _answer(path, STUDY_DATE)
        except MmcafError:
            sound = None
        done = []
        for _ in range(int(choose(draw, (0, 1, 1, 1, 2)))):
            done.append(_confuse(document, draw))
        data = json.dumps(document, ensure_ascii=bool(draw.integers(2))).encode()
        if draw.random() < 0.05:
            data, sound = damage(data, draw), None
            done.append("bytes")
        path.write_bytes(data)
        return Case(lambda: _answer(path, STUDY_DATE), ", ".join(done) or "as it is", data, sound, SECRETS)

    return make


def _bundle(draw: Generator) -> dict[str, Any]:
    url = choose(draw, ("urn:uuid:p", f"{SERVER}/Patient/p", None, f"{SERVER}/Patient/p/_history/2"))
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [
            {"use": _usual(draw, ("official", "usual"), ("old",)), "system": "urn:mrn", "value": "PHI-4711"}
        ],
        "name": [{"family": "Quixano", "given": ["Alonso"]}],
        "address": [{"city": "Argamasilla"}],
        "gender": _usual(draw, ("female", "male"), ("unknown", "other")),
        "birthDate": "1959-10-03",
    }
    entries: list[dict[str, Any]] = [{"resource": patient, **({"fullUrl": url} if url else {})}]
    for make in (_weight, _weight, _smoking, _smoking, *map(_stage, "TTNNMM")):
        entries += [{"resource": one} for one in _held(make(draw), draw, url)]
    if draw.random() < 0.3:
        entries.append(choose(draw, entries))
    if draw.random() < 0.3:
        entries[1:] = [entries[at] for at in draw.permutation(range(1, len(entries)))]
    document = {
        "resourceType": "Bundle",
        "type": choose(draw, ("collection", "searchset", "history")),
        "entry": entries,
    }
    if draw.random() < 0.3:
        url = _usual(draw, (f"{SERVER}/Patient/p/$everything",), ("http://[", "http:///", "https://a\u2100b/"))
        document["link"] = [{"relation": "self", "url": url}]
    return document


def _held(one: dict[str, Any], draw: Generator, url: str | None) -> Iterator[dict[str, Any]]:
    """An observation on its own, as a component of a panel, or within a report; with a subject and a date."""
    about = {**_subject(draw, url), **_when(draw)}
    match int(draw.integers(6)):
        case 0:
            code = {"coding": [{"system": LOINC, "code": _usual(draw, ("85353-1", "21908-9", "85354-9"), ("8302-2",))}]}
            yield {"resourceType": "Observation", "status": "final", "code": code, "component": [one], **about}
        case 1:
            held = {"resourceType": "Observation", "status": "final", **one, **_when(draw)}
            yield {"resourceType": "DiagnosticReport", "status": "final", "contained": [held], **about}
        case _:
            more = {"note": [{"text": "Quixano of Argamasilla"}]} if draw.random() < 0.3 else {}
            yield {
                "resourceType": "Observation",
                "status": _usual(draw, ("final", "amended"), ("cancelled",)),
                **one,
                **about,
                **more,
            }


def _usual(draw: Generator, usual: Sequence[Any], odd: Sequence[Any]) -> Any:
    return choose(draw, odd if draw.random() < ODD else usual)


def _subject(draw: Generator, url: str | None) -> dict[str, Any]:
    usual: tuple[Any, ...] = (
        *({"reference": "Patient/p"}, {"reference": "Patient/p/_history/1"}, {"reference": url or "Patient/p"}, None),
        {"identifier": {"system": "urn:mrn", "value": "PHI-4711"}},
    )
    subject = _usual(draw, usual, ({"reference": "Patient/q"}, {"display": "Quixano"}))
    return {} if subject is None else {"subject": subject}


def _when(draw: Generator) -> dict[str, Any]:
    moment = _usual(draw, DATES, ODD_DATES)
    forms: tuple[dict[str, Any], ...] = (
        {"effectiveDateTime": moment}, {"effectiveDateTime": moment}, {"effectiveInstant": moment}, {"issued": moment},
        {},
        {"effectivePeriod": {"start": moment}}, {"effectivePeriod": {"start": "2024-01-01", "end": moment}},
        {"effectiveTiming": {"event": [moment, "2023-01-01"]}},
    )  # fmt: skip
    return copy.deepcopy(choose(draw, forms))


def _code(draw: Generator, loinc: str, snomed: str) -> dict[str, Any]:
    codings = [
        {"system": LOINC, "code": loinc},
        {"system": SNOMED, "code": snomed},
        {"system": "urn:local", "code": "7"},
    ]
    kept = [one for one in codings if draw.random() < 0.6] or codings[:1]
    return {"code": {"coding": kept, **({"text": "as asked"} if draw.random() < 0.3 else {})}}


def _weight(draw: Generator) -> dict[str, Any]:
    usual = (
        (70.0, "kg", "kg"),
        (154.0, "lbs", "[lb_av]"),
        (71000, "g", "g"),
        (72, "kilograms", "kg"),
        (73.5, None, "kg"),
    )
    value, unit, code = _usual(draw, usual, ((11, "st", None), (70, None, None), (70, "kg", "[lb_av]")))
    quantity: dict[str, Any] = {"value": value, "unit": unit, "code": code, "system": UCUM}
    quantity = {name: one for name, one in quantity.items() if one is not None}
    if draw.random() < ODD:
        quantity["comparator"] = choose(draw, ("<", ">="))
    return {**_code(draw, "29463-7", "27113001"), "valueQuantity": quantity}


def _smoking(draw: Generator) -> dict[str, Any]:
    usual = ((SNOMED, "8517006"), (SNOMED, "449868002"), (LOINC, "LA18978-9"))
    system, code = _usual(draw, usual, ((SNOMED, "266927001"), (None, "8517006"), ("urn:local", "1")))
    coding = {"code": code} if system is None else {"system": system, "code": code}
    return {**_code(draw, "72166-2", "229819007"), "valueCodeableConcept": {"coding": [coding]}}


def _stage(letter: str) -> Callable[[Generator], dict[str, Any]]:
    codes = {"T": ("21905-5", "399504009"), "N": ("21906-3", "399534004"), "M": ("21907-1", "399387003")}
    usual = {"T": ("cT2a", "T1b", "pT3", "2a"), "N": ("N0", "cN2"), "M": ("cM0", "M1a")}

    def make(draw: Generator) -> dict[str, Any]:
        text = _usual(draw, usual[letter], (f"{letter}X", f"{letter}9"))
        coding = {"code": text, "system": "https://www.uicc.org/resources/tnm"}
        concept = choose(draw, ({"text": text}, {"coding": [coding]}))
        value = {"valueString": text} if draw.random() < 0.2 else {"valueCodeableConcept": concept}
        return {**_code(draw, *codes[letter]), **value}

    return make


def _confuse(document: dict[str, Any], draw: Generator) -> str:
    """One element of the Bundle, but for the patient's, gets a value of another type, or goes or comes twice."""
    entries = [entry for entry in document["entry"] if isinstance(entry, dict)]
    entries = [entry for entry in entries if not _is_patient(entry)]
    if not entries:
        return "nothing"
    places = list(_places(choose(draw, entries), ""))
    holder, key, where = choose(draw, places)
    match int(draw.integers(4)):
        case 0 if isinstance(holder, dict):
            value = holder.pop(key)
            holder[f"{key}s" if draw.random() < 0.5 else f"_{key}"] = value
            return f"{where} by another name"
        case 1:
            holder[key] = [holder[key]]
            return f"{where} as a list"
        case 2:
            holder[key] = {"value": holder[key]}
            return f"{where} as an object"
        case _:
            others = [value for value in WRONG_TYPES if type(value) is not type(holder[key])]
            holder[key] = copy.deepcopy(choose(draw, others))
            return f"{where} = {holder[key]!r}"


def _is_patient(entry: dict[str, Any]) -> bool:
    resource = entry.get("resource")
    return isinstance(resource, dict) and resource.get("resourceType") == "Patient"


def _places(node: Any, where: str) -> Iterator[tuple[Any, Any, str]]:
    """Every place that holds a value: what holds it, its key, and a path to it."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(pairs):
        yield node, key, f"{where}.{key}"
        yield from _places(value, f"{where}.{key}")
