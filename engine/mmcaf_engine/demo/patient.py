"""Synthetic patients: one nodule, one histology and one clinical record, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .thorax import Thorax, make_thorax

TABLE_ORDER: tuple[str, ...] = (
    "sex",
    "age",
    "weight",
    "t_stage",
    "n_stage",
    "m_stage",
    "smoking_history",
)

SQUAMOUS = 1

# Distance between the two class means of each nodule trait, in standard deviations of the trait.
# Overlap is deliberate: the image alone must leave doubt that only the record can settle.
_TRAIT_SHIFT = {
    "spiculation": 1.6,
    "lobulation": 1.2,
    "patchiness": 1.6,
    "cavity": 1.6,
    "centrality": 1.4,
    "density": 1.4,
}


@dataclass(frozen=True)
class Nodule:
    """One nodule; positions in mm as (z, y, x) from the centre of the volume, traits in 0..1.

    `diameter_mm` is the diameter of the solid body without spicules and halo. `cavity` is the radius of
    the air cavity as a fraction of the nodule's radius, 0 without one. `collapse` is airless lung between
    nodule and pleura behind a blocked bronchus.
    """

    center_mm: tuple[float, float, float]
    diameter_mm: float
    spiculation: float
    lobulation: float
    patchiness: float
    cavity: float
    centrality: float
    pleural_tag: bool
    collapse: bool
    solid_hu: float


@dataclass(frozen=True)
class PhantomPatient:
    """A synthetic patient; age in years, weight in kg, stages as TNM 8th edition text without the letter."""

    seed: int
    label: int
    sex: str
    age: int
    weight: float
    t_stage: str
    n_stage: str
    m_stage: str
    smoking_history: str
    nodule: Nodule
    thorax: Thorax

    @property
    def patient_id(self) -> str:
        """Identifier used in the record and in the DICOM header."""
        return f"PHANTOM-{self.seed:06d}"


def make_patient(seed: int) -> PhantomPatient:
    """Draw the patient of `seed`; does not depend on the pixel grid."""
    rng = np.random.default_rng([seed, 1])
    label = int(rng.random() < 0.5)
    sex = "M" if rng.random() < (0.77, 0.43)[1 - label] else "F"
    age = int(np.clip(rng.normal((60.5, 68.0)[label], (10.0, 8.0)[label]), 35, 88))
    weight = float(np.clip(rng.normal(79.0 if sex == "M" else 67.0, 12.0), 42.0, 125.0))
    smoking = _pick(rng, {"never": (0.50, 0.05), "former": (0.32, 0.35), "current": (0.18, 0.60)}, label)
    n_stage = _pick(rng, {"0": (0.56, 0.26), "1": (0.12, 0.36), "2": (0.20, 0.30), "3": (0.12, 0.08)}, label)
    m_stage = _pick(rng, {"0": (0.72, 0.86), "1a": (0.10, 0.07), "1b": (0.09, 0.04), "1c": (0.09, 0.03)}, label)
    diameter = float(np.clip(rng.normal((16.5, 19.0)[label], 6.0), 4.0, 30.0))
    thorax = make_thorax(seed, sex, age, weight)
    return PhantomPatient(
        seed=seed,
        label=label,
        sex=sex,
        age=age,
        weight=round(weight, 1),
        t_stage=_t_stage(rng, diameter),
        n_stage=n_stage,
        m_stage=m_stage,
        smoking_history=smoking,
        nodule=_draw_nodule(seed, label, diameter, thorax),
        thorax=thorax,
    )


def record(patient: PhantomPatient) -> dict[str, str | int | float]:
    """Flat clinical record of a patient, ready to be written as JSON."""
    return {
        "patient_id": patient.patient_id,
        "sex": patient.sex,
        "age": patient.age,
        "weight": patient.weight,
        "t_stage": patient.t_stage,
        "n_stage": patient.n_stage,
        "m_stage": patient.m_stage,
        "smoking_history": patient.smoking_history,
    }


def _pick(rng: np.random.Generator, table: dict[str, tuple[float, float]], label: int) -> str:
    weights = np.array([pair[label] for pair in table.values()])
    return str(rng.choice(list(table), p=weights / weights.sum()))


def _t_stage(rng: np.random.Generator, diameter: float) -> str:
    """8th-edition T of a nodule's diameter in mm; one in seven is raised for invasion not in the image."""
    if rng.random() < 1 / 7:
        return str(rng.choice(["2a", "2b", "3", "4"], p=[0.6, 0.1, 0.2, 0.1]))
    return "1a" if diameter <= 10 else "1b" if diameter <= 20 else "1c"


def _draw_nodule(seed: int, label: int, diameter: float, thorax: Thorax) -> Nodule:
    rng = np.random.default_rng([seed, 2])
    side = 1.0 if label == SQUAMOUS else -1.0
    latent = {name: rng.normal(0.5 * shift * side) for name, shift in _TRAIT_SHIFT.items()}
    # Adenocarcinoma has the spiculated margin and the patchy inside: the sign is turned.
    spiculation = _unit(-latent["spiculation"])
    patchiness = _unit(-latent["patchiness"])
    cavity = 0.0
    if latent["cavity"] + 0.10 * (diameter - 16.0) > 0.4:
        cavity = float(rng.uniform(0.45, 0.68))
    centrality = _unit(latent["centrality"])
    tag = bool(rng.random() < 0.15 + 0.5 * spiculation)
    return Nodule(
        center_mm=_place(rng, thorax, diameter, centrality),
        diameter_mm=round(diameter, 2),
        spiculation=spiculation,
        lobulation=_unit(latent["lobulation"]),
        patchiness=patchiness,
        cavity=cavity,
        centrality=centrality,
        pleural_tag=tag,
        collapse=bool(rng.random() < (0.06, 0.34)[label]),
        solid_hu=float(np.clip(75.0 + 42.0 * latent["density"], -20.0, 190.0)),
    )


def _unit(value: float) -> float:
    """Map a normal deviate to 0..1."""
    return float(1.0 / (1.0 + np.exp(-1.7 * value)))


def _place(rng: np.random.Generator, thorax: Thorax, diameter: float, centrality: float) -> tuple[float, float, float]:
    """Point inside a lung whose position between hilum (1) and pleura (0) is nearest to `centrality`."""
    margin = min(0.3 * thorax.height_mm, 0.5 * diameter + 8.0)
    half = 0.5 * thorax.height_mm - margin
    best, best_cost = (0.0, 0.0, 0.5 * thorax.cavity_x), np.inf
    for _ in range(60):
        z = float(rng.uniform(-half, half))
        x = float(rng.uniform(-1.0, 1.0) * thorax.cavity_x)
        y = float(rng.uniform(-1.0, 1.0) * thorax.cavity_y)
        depth, central = thorax.lung_depth(z, y, x)
        if depth < 0.35 * diameter + 1.0:
            continue
        cost = abs(central - centrality)
        if cost < best_cost:
            best, best_cost = (z, y, x), cost
    return best
