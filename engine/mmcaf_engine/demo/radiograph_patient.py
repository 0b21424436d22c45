"""Synthetic chest patients: age, sex, view, and findings that occur together, drawn from a seed; numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Side = Literal["right", "left"]
View = Literal["PA", "AP"]

CHEST_FINDINGS = ("Cardiomegaly", "Effusion", "Mass", "Nodule", "Pneumothorax", "Consolidation")
"""What can be drawn, of the fourteen names that ChestX-ray14 uses (Wang and others, CVPR 2017), in its order."""

CHEST_LABELS = ("normal", "abnormal")
"""Label 0: no finding; label 1: at least one."""

# How often each finding occurs in people who come for one reason, in the order of CHEST_FINDINGS.
_OCCURRENCE = {
    "check": (0.04, 0.01, 0.01, 0.03, 0.01, 0.01),
    "heart failure": (0.80, 0.55, 0.02, 0.05, 0.02, 0.12),
    "infection": (0.15, 0.35, 0.03, 0.04, 0.02, 0.80),
    "tumour": (0.10, 0.30, 0.55, 0.45, 0.05, 0.12),
    "injury": (0.04, 0.30, 0.01, 0.03, 0.75, 0.15),
}
_REASONS = {"check": 0.40, "heart failure": 0.16, "infection": 0.16, "tumour": 0.16, "injury": 0.12}


@dataclass(frozen=True)
class _Habit:
    """Who comes for a reason. age: mean and standard deviation; follow_up: mean number of earlier radiographs."""

    age: tuple[float, float]
    male: float
    bedside: float
    follow_up: float


_HABITS = {
    "check": _Habit((45.0, 15.0), 0.50, 0.10, 0.8),
    "heart failure": _Habit((70.0, 10.0), 0.52, 0.60, 4.0),
    "infection": _Habit((55.0, 18.0), 0.52, 0.45, 2.0),
    "tumour": _Habit((66.0, 9.0), 0.58, 0.20, 6.0),
    "injury": _Habit((36.0, 15.0), 0.74, 0.65, 2.5),
}

_HEART, _HEART_SPREAD = 0.436, 0.027
"""Width of heart over width of chest in a PA view, of most people: mean, standard deviation."""
_LARGE_HEART = (0.465, 0.605)
"""The same of the slightest and of the most severe cardiomegaly."""


@dataclass(frozen=True)
class ChestFinding:
    """One finding. severity: 0, hardly visible, to 1; zone: 0, apex, to 1, base; depth: 0, hilum, to 1, chest wall."""

    name: str
    sides: tuple[Side, ...]
    severity: float
    zone: float
    depth: float


@dataclass(frozen=True)
class ChestPatient:
    """Who a seed is; age in years, lengths in mm.

    reason: why the radiograph was taken; in no file. heart_ratio: of heart and chest in a PA view. inspiration: 0,
    poor, to 1, full. width, height: half of the chest's inner width, and from its apex to the right dome.
    """

    seed: int
    reason: str
    age: int
    sex: Literal["M", "F"]
    view: View
    follow_up: int
    findings: tuple[ChestFinding, ...]
    heart_ratio: float
    inspiration: float
    width: float
    height: float
    fat: float

    @property
    def patient_id(self) -> str:
        """Identifier used in the record and in the DICOM header."""
        return f"CHEST{self.seed:05d}"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the findings, in the order of `CHEST_FINDINGS`."""
        return tuple(finding.name for finding in self.findings)

    @property
    def present(self) -> tuple[bool, ...]:
        """Whether each of `CHEST_FINDINGS` is there."""
        return tuple(name in self.names for name in CHEST_FINDINGS)

    @property
    def label(self) -> int:
        """Position among `CHEST_LABELS`."""
        return int(bool(self.findings))


def chest_patient(seed: int, *, findings: tuple[str, ...] | None = None) -> ChestPatient:
    """The person of a seed; `findings` gives the same one others than the seed's own.

    Raises:
        ValueError: a name that is none of `CHEST_FINDINGS`.
    """
    if unknown := sorted(set(findings or ()) - set(CHEST_FINDINGS)):
        raise ValueError(f"findings {unknown}: expected some of {', '.join(CHEST_FINDINGS)}")
    rng = np.random.default_rng([seed, 21])
    reason = str(rng.choice(list(_REASONS), p=list(_REASONS.values())))
    habit = _HABITS[reason]
    age = int(np.clip(rng.normal(*habit.age), 18, 94))
    sex: Literal["M", "F"] = "M" if rng.random() < habit.male else "F"
    view: View = "AP" if rng.random() < habit.bedside else "PA"
    follow_up = int(rng.geometric(1.0 / (1.0 + habit.follow_up)) - 1)
    occurs = rng.random(len(CHEST_FINDINGS)) < _OCCURRENCE[reason]
    own = tuple(name for name, there in zip(CHEST_FINDINGS, occurs, strict=True) if there)
    names = own if findings is None else tuple(name for name in CHEST_FINDINGS if name in findings)
    drawn = [_finding(name, reason, rng) for name in CHEST_FINDINGS]  # All, so that none depends on another.
    ratio = float(rng.normal(_HEART, _HEART_SPREAD)) + 0.0004 * (age - 50)
    if "Cardiomegaly" in names:
        ratio = float(np.interp(drawn[0].severity, (0.0, 1.0), _LARGE_HEART))
    male = sex == "M"
    bedside = view == "AP"
    return ChestPatient(
        seed=seed,
        reason=reason,
        age=age,
        sex=sex,
        view=view,
        follow_up=min(follow_up, 60),
        findings=tuple(finding for finding in drawn if finding.name in names),
        heart_ratio=max(ratio, 0.34),
        inspiration=float(np.clip(rng.normal(0.45 if bedside else 0.75, 0.17), 0.0, 1.0)),
        width=float(rng.normal(141.0 if male else 128.0, 5.0)),
        height=float(rng.normal(222.0 if male else 205.0, 8.0)),
        fat=float(np.clip(rng.normal(20.0, 9.0), 4.0, 48.0)),
    )


def chest_record(patient: ChestPatient) -> dict[str, str | int]:
    """Flat clinical record of a patient, ready to be written as JSON."""
    return {
        "patient_id": patient.patient_id,
        "age": patient.age,
        "sex": patient.sex,
        "view_position": patient.view,
        "follow_up_number": patient.follow_up,
    }


def _finding(name: str, reason: str, rng: np.random.Generator) -> ChestFinding:
    severity, zone, depth = float(rng.beta(1.5, 1.7)), float(rng.uniform(0.12, 0.88)), float(rng.uniform(0.2, 0.8))
    both = 0.5 if name == "Effusion" and reason == "heart failure" else 0.12 if name != "Pneumothorax" else 0.0
    first: Side = "right" if rng.random() < 0.54 else "left"
    other: Side = "left" if first == "right" else "right"
    two = rng.random() < both
    sides: tuple[Side, ...] = (first, other) if two and name in ("Effusion", "Consolidation", "Nodule") else (first,)
    if name == "Consolidation":
        zone = 0.35 + 0.6 * zone  # Mostly in the lower half.
    return ChestFinding(name, sides, severity, zone, depth)
