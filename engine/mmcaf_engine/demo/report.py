"""Synthetic radiology reports: FINDINGS and IMPRESSION of a chest patient, from a seed.

A report is a reader's opinion, not the truth: findings are overlooked, doubted or not mentioned, the slight ones more
often, and now and then one is doubted that is not there. So neither report nor image is enough alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import report_phrases as phrases
from .radiograph_patient import CHEST_FINDINGS, ChestFinding, ChestPatient

Opinion = Literal["seen", "doubted", "not seen", "silent"]

_SAYS_NOTHING = 0.09
"""Share of reports that compare with an earlier one only."""
# Shares of seen, doubted, not seen and silent, for the slightest finding, the most severe, and none.
_OF_SLIGHT = (0.42, 0.23, 0.14, 0.21)
_OF_SEVERE = (0.85, 0.06, 0.02, 0.07)
_OF_NONE = (0.012, 0.045, 0.563, 0.38)
_OPINIONS: tuple[Opinion, ...] = ("seen", "doubted", "not seen", "silent")


@dataclass(frozen=True)
class Report:
    """What a report's two sections say, without their headings."""

    findings: str
    impression: str

    @property
    def text(self) -> str:
        """The report as a file has it."""
        return f"FINDINGS: {self.findings}\nIMPRESSION: {self.impression}\n"

    def fields(self, names: Sequence[str] = ("findings", "impression")) -> dict[str, str]:
        """As fields of a record: each section under its name, or all of it under the first of other names."""
        sections = {"findings": self.findings, "impression": self.impression}
        held = {name: sections[name] for name in names if name in sections}
        return held or {names[0]: self.text}


def chest_report(patient: ChestPatient) -> Report:
    """The report of a patient; does not depend on the pixel grid."""
    rng = np.random.default_rng([patient.seed, 25])
    opening = [_one(rng, phrases.OPENINGS[patient.view])] if rng.random() < 0.6 else []
    if rng.random() < (0.7 if patient.follow_up else 0.1):
        opening.append(_one(rng, phrases.COMPARISONS))
    if rng.random() < _SAYS_NOTHING:
        first, last = (phrases.SAYS_NOTHING[at] for at in rng.choice(len(phrases.SAYS_NOTHING), 2, replace=False))
        besides = _one(rng, phrases.BESIDES)
        return Report(" ".join([*opening, first, besides]), last)
    opinions = {name: _opinion(patient, name, rng) for name in CHEST_FINDINGS}
    sentences = _sentences(patient, opinions, rng)
    sentences += [text for text in phrases.BESIDES if rng.random() < 0.13]
    order = rng.permutation(len(sentences))
    return Report(" ".join([*opening, *(sentences[at] for at in order)]), _impression(patient, opinions, rng))


def _opinion(patient: ChestPatient, name: str, rng: np.random.Generator) -> Opinion:
    found = _of(patient, name)
    shares = np.array(_OF_NONE)
    if found is not None:
        shares = np.array(_OF_SLIGHT) + found.severity * np.subtract(_OF_SEVERE, _OF_SLIGHT)
    return _OPINIONS[int(rng.choice(4, p=shares / shares.sum()))]


def _sentences(patient: ChestPatient, opinions: Mapping[str, Opinion], rng: np.random.Generator) -> list[str]:
    denied = [name for name, opinion in opinions.items() if opinion == "not seen"]
    sentences = []
    for together, wording in reversed(phrases.NEITHER.items()):
        if set(together) <= set(denied) and rng.random() < 0.7:
            sentences.append(_one(rng, wording))
            denied = [name for name in denied if name not in together]
    for name, opinion in opinions.items():
        if opinion == "not seen" and name in denied:
            sentences.append(_one(rng, phrases.NOT_SEEN[name]))
        elif opinion in ("seen", "doubted"):
            choice = (phrases.SEEN if opinion == "seen" else phrases.DOUBTED)[name]
            sentences.append(_filled(_one(rng, choice), name, _of(patient, name), rng))
    return sentences or [_one(rng, phrases.SAYS_NOTHING)]


def _impression(patient: ChestPatient, opinions: Mapping[str, Opinion], rng: np.random.Generator) -> str:
    seen = [name for name, opinion in opinions.items() if opinion == "seen"]
    doubted = [name for name, opinion in opinions.items() if opinion == "doubted"]
    if not seen and not doubted:
        return _one(rng, phrases.ALL_CLEAR if rng.random() < 0.75 else phrases.SAYS_NOTHING)
    parts = []
    for name in seen:
        text = phrases.IMPRESSION_NAMES[name]
        if name != "Cardiomegaly" and rng.random() < 0.7:
            text = f"{_side(_of(patient, name), rng)} {text}"
        parts.append(f"{text.capitalize()}.")
        if name in phrases.ADVICE and rng.random() < 0.4:
            parts.append(phrases.ADVICE[name])
    parts += [f"Possible {phrases.IMPRESSION_NAMES[name]}." for name in doubted if rng.random() < 0.6]
    return " ".join(parts) or _one(rng, phrases.SAYS_NOTHING)


def _filled(text: str, name: str, found: ChestFinding | None, rng: np.random.Generator) -> str:
    """A sentence with the finding's size, side and zone; those of one that is not there are invented."""
    severity = 0.2 if found is None else found.severity
    size = phrases.SIZES[name][min(int(4.0 * severity), 3)]
    zone = phrases.ZONES[min(int(3.0 * (rng.random() if found is None else found.zone)), 2)]
    side = _side(found, rng)
    return text.format(size=size, Size=size.capitalize(), side=side, Side=side.capitalize(), zone=zone)


def _side(found: ChestFinding | None, rng: np.random.Generator) -> str:
    invented = "right" if rng.random() < 0.5 else "left"
    if found is None:
        return invented
    return "bilateral" if len(found.sides) == 2 else found.sides[0]


def _of(patient: ChestPatient, name: str) -> ChestFinding | None:
    return next((finding for finding in patient.findings if finding.name == name), None)


def _one(rng: np.random.Generator, choice: tuple[str, ...]) -> str:
    return choice[int(rng.integers(len(choice)))]
