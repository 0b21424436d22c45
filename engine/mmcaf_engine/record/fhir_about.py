"""HL7 FHIR R4: which tumour a stage is of, and whether an observation's other codes ask something else (10.1.3).

A patient may have two tumours, each with its own T, N and M, by Observation.focus or bodySite.
"""

import re
from collections.abc import Iterable
from typing import Any

from .codings.tables import Question, system_of
from .fhir_bundle import Resource, listed, without_version
from .fhir_latest import Value

_LOINC = re.compile(r"\d{1,7}-\d", re.ASCII)


def several_tumours(values: Iterable[Value]) -> str:
    """A warning where stages are of more than one; empty where they may all be of one.

    Args:
        values: usable ones of T, N and M.
    """
    every = list(values)
    if len({one.focus for one in every} - {()}) > 1:
        return "the record stages more than one tumour, by Observation.focus; nothing tells which of them is meant."
    sites: dict[str, set[tuple[str, ...]]] = {}
    for one in every:
        sites.setdefault(one.code, set()).add(one.site)
    if any(len(found - {()}) > 1 for found in sites.values()):
        return "the record stages more than one tumour, by Observation.bodySite; nothing tells which of them is meant."
    return ""


def focus_of(observation: Resource) -> tuple[str, ...]:
    """What it is about, by its references; empty where it does not say."""
    references = [one.get("reference") for one in listed(observation, "focus")]
    return tuple(sorted({without_version(one) for one in references if isinstance(one, str)}))


def site_of(observation: Resource) -> tuple[str, ...]:
    """Where it was observed, by its codes, else by its text; empty where it does not say."""
    site = observation.get("bodySite")
    if not isinstance(site, dict):
        return ()
    codes = {str(coding["code"]) for coding in listed(site, "coding") if coding.get("code")}
    text: Any = site.get("text")
    return tuple(sorted(codes)) or ((" ".join(text.casefold().split()),) if isinstance(text, str) and text else ())


def other_question(observation: Resource, question: Question) -> str:
    """The first LOINC code beside those of a question that asks neither that nor a part of it; empty if none does."""
    concept = observation.get("code")
    codings = listed(concept, "coding") if isinstance(concept, dict) else []
    of_loinc = [coding for coding in codings if system_of(coding.get("system")) == "loinc"]
    codes = [str(coding["code"]) for coding in of_loinc if coding.get("code")]
    known = {question.loinc, *question.also, *question.narrower}
    return next((code if _LOINC.fullmatch(code) else "of another form" for code in codes if code not in known), "")
