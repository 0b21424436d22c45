"""HL7 FHIR R4: whether what is read of a resource has the JSON types that FHIR gives it (2.6.2, and each type's page).

An element of another type cannot be read, and would be missed as if it were not there. One that FHIR does not have may
be another one with its name misspelled.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .fhir_bundle import Resource

_TEXT, _NUMBER, _ANY = "text", "number", "any"
_ITEMS = {"id": _TEXT, "extension": [_ANY], "fhir_comments": [_ANY]}
"""What every part of a resource may have."""

_PERIOD = {**_ITEMS, "start": _TEXT, "end": _TEXT}
_CODING = {**_ITEMS, **dict.fromkeys(("system", "version", "code", "display"), _TEXT), "userSelected": _ANY}
_CONCEPT = {**_ITEMS, "coding": [_CODING], "text": _TEXT}
_IDENTIFIER = {
    **_ITEMS,
    **dict.fromkeys(("use", "system", "value"), _TEXT),
    "period": _PERIOD,
    "type": _ANY,
    "assigner": _ANY,
}
_REFERENCE = {**_ITEMS, **dict.fromkeys(("reference", "type", "display"), _TEXT), "identifier": _IDENTIFIER}
_QUANTITY = {**_ITEMS, "value": _NUMBER, **dict.fromkeys(("comparator", "unit", "system", "code"), _TEXT)}
_TIMING = {
    **_ITEMS,
    "event": [_TEXT],
    "repeat": {"boundsPeriod": _PERIOD, "*": _ANY},
    "code": _ANY,
    "modifierExtension": [_ANY],
}
_VALUE = {
    "valueQuantity": _QUANTITY,
    "valueCodeableConcept": _CONCEPT,
    "valueString": _TEXT,
    "valueInteger": _NUMBER,
    **dict.fromkeys((f"value{kind}" for kind in ("Boolean", "Range", "Ratio", "SampledData", "Time")), _ANY),
    **dict.fromkeys((f"value{kind}" for kind in ("DateTime", "Period", "Attachment", "Reference")), _ANY),
    "dataAbsentReason": _CONCEPT,
}
_RESOURCE = {
    "resourceType": _TEXT,
    "meta": {"versionId": _TEXT, "lastUpdated": _TEXT, "*": _ANY},
    **_ITEMS,
    "contained": [{"*": _ANY}],
    "modifierExtension": [_ANY],
    "text": _ANY,
    "language": _ANY,
    "implicitRules": _ANY,
}
_CLINICAL = {
    **_RESOURCE,
    "status": _TEXT,
    "code": _CONCEPT,
    "subject": _REFERENCE,
    "issued": _TEXT,
    "effectiveDateTime": _TEXT,
    "effectiveInstant": _TEXT,
    "effectivePeriod": _PERIOD,
    "effectiveTiming": _TIMING,
    **dict.fromkeys(("identifier", "basedOn", "category", "encounter", "performer", "specimen", "note"), _ANY),
}
_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "Observation": {
        **_CLINICAL,
        **_VALUE,
        "focus": [_REFERENCE],
        "component": [
            {
                **_ITEMS,
                **_VALUE,
                "code": _CONCEPT,
                "modifierExtension": [_ANY],
                "interpretation": _ANY,
                "referenceRange": _ANY,
            }
        ],
        **dict.fromkeys(("partOf", "interpretation", "bodySite", "method", "device", "referenceRange"), _ANY),
        **dict.fromkeys(("hasMember", "derivedFrom", "triggeredBy", "bodyStructure", "organizer"), _ANY),
        **dict.fromkeys(("instantiatesCanonical", "instantiatesReference"), _ANY),
    },
    "DiagnosticReport": {
        **_CLINICAL,
        "presentedForm": [{"contentType": _TEXT, "data": _TEXT, "*": _ANY}],
        "conclusion": _TEXT,
        **dict.fromkeys(("resultsInterpreter", "result", "imagingStudy", "study", "media", "conclusionCode"), _ANY),
        **dict.fromkeys(("supportingInfo", "composition"), _ANY),
    },
    "Patient": {
        "identifier": [_IDENTIFIER],
        "gender": _TEXT,
        "birthDate": _TEXT,
        "link": [{"type": _TEXT, "*": _ANY}],
        "*": _ANY,
    },
}
"""What is read of a resource, and what else it may have; "*" where that is not looked at."""
_STATUS = {
    *("registered", "specimen-in-process", "partial", "preliminary", "modified", "final", "amended", "corrected"),
    *("appended", "cancelled", "entered-in-error", "unknown"),
}
"""Of Observations and DiagnosticReports, R5's too."""
_NAME = re.compile(r"[A-Za-z_]{1,40}")


@dataclass(frozen=True)
class Fit:
    """How a resource fits its type.

    wrong: the first element that is of another type than FHIR's, or a status that it does not know; empty without one.
    strange: the first element that FHIR does not have, as messages name it; empty without one.
    """

    wrong: str = ""
    strange: str = ""


def fit(resource: Resource) -> Fit:
    """Compare a resource with its type; one of a type that is not read fits."""
    shape = _SHAPES.get(str(resource.get("resourceType")))
    if shape is None:
        return Fit()
    strange: list[str] = []
    wrong = _wrong(resource, shape, strange)
    status = resource.get("status")
    if not wrong and "status" in shape and status is not None and status not in _STATUS:
        wrong = "status"
    shown = [key if _NAME.fullmatch(key) else "one without a name of FHIR's form" for key in strange[:1]]
    return Fit(wrong, "".join(shown))


def _wrong(node: dict[str, Any], shape: Mapping[str, Any], strange: list[str]) -> str:
    """The path to the first value of another type; null is none."""
    for key, value in node.items():
        kind = shape.get(key)
        if kind is _ANY or value is None:
            continue
        if kind is None:
            if "*" not in shape and not _is_extension(key, value, shape):
                strange.append(key)
        elif isinstance(kind, list):
            if not isinstance(value, list):
                return key
            for item in value if kind[0] is not _ANY else ():
                if (found := _of_value(item, kind[0], strange)) is not None:
                    return f"{key}.{found}" if found else key
        elif (found := _of_value(value, kind, strange)) is not None:
            return f"{key}.{found}" if found else key
    return ""


def _is_extension(key: str, value: Any, shape: Mapping[str, Any]) -> bool:
    """Whether it is what FHIR adds to a text or a number, under its name after a line (2.6.2.1)."""
    return key[:1] == "_" and shape.get(key[1:]) in (_TEXT, _NUMBER, _ANY, [_TEXT]) and isinstance(value, dict | list)


def _of_value(value: Any, kind: Any, strange: list[str]) -> str | None:
    """The path to what is wrong within a value, empty where it is itself; None where it is right."""
    if value is None:
        return None
    if kind is _TEXT:
        return None if isinstance(value, str) else ""
    if kind is _NUMBER:
        return None if isinstance(value, int | float) and not isinstance(value, bool) else ""
    if not isinstance(value, dict):
        return ""
    return _wrong(value, kind, strange) or None
