"""Synthetic patients as a cohort: lung CT, liver MR and chest radiographs, rendered in memory."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..demo import (
    CHEST_FINDINGS,
    CHEST_LABELS,
    LIVER_LABELS,
    PHASES,
    ChestPatient,
    PhantomPatient,
    chest_patient,
    chest_record,
    chest_study,
    liver_study,
    make_patient,
    make_phantom,
    record,
)
from ..demo.liver import liver_patient
from ..errors import StudyError, UsageError
from ..image.grey import Window
from ..inputs.image import image_input
from ..inputs.prepare import Prepared, PreparedImage, PreparedSeries
from ..inputs.windows import preprocess
from ..manifest import Manifest
from ..record.clinical import Clinical, read_clinical
from ..record.record import read_record
from ..record.tokenizer import Tokenizer
from ..result.decisions import BinaryDecision, Decision, Label, MulticlassDecision, MultilabelDecision
from ..volume import Intensity, PatientHeader, Study, StudyFacts, Volume
from .cases import Case, Cohort

PHANTOM_LABELS = ("adenocarcinoma", "squamous-cell carcinoma")
"""What label 0 and label 1 of a phantom are."""

MAX_PHANTOMS = 100_000

Kind = Literal["lung", "liver", "chest"]
"""What synthetic patients have."""

_LUNG = BinaryDecision(PHANTOM_LABELS, 0.5)
_LIVER = MulticlassDecision(LIVER_LABELS)
_CHEST = MultilabelDecision(CHEST_FINDINGS, (0.5,) * len(CHEST_FINDINGS))
"""What is decided of them by a network of their own."""

_AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


@dataclass(frozen=True)
class PhantomCase:
    """A synthetic patient, rendered in memory: the voxels and the record that `mmcaf demo` writes."""

    seed: int
    decision: Decision = _LUNG

    @property
    def id(self) -> str:
        """Its name on the command line."""
        return f"demo:{self.seed}"

    @cached_property
    def _patient(self) -> PhantomPatient:
        return make_patient(self.seed)

    @property
    def label(self) -> Label:
        """The phantom's, as the decision has it; None where that is about other diseases."""
        return self.decision.label_of([PHANTOM_LABELS[self._patient.label]], PHANTOM_LABELS)

    def load(self, manifest: Manifest, tokenizer: Tokenizer | None = None) -> Prepared:
        """Render it; see `Case.load`."""
        spec = manifest.preprocessing
        if spec is None or not reads_lung(manifest):
            raise _other_kind(self.id, "CT", manifest)
        clinical = None if manifest.table is None else read_record(record(self._patient), manifest.table)
        phantom = make_phantom(self.seed)
        hu = phantom.hu
        if spec.intensity == "stored":
            from ..demo.write_dicom import INTERCEPT, SLOPE

            hu = ((hu - INTERCEPT) // SLOPE).astype(np.int16)
        volume = as_volume(hu, phantom.spacing_mm, spec.intensity)
        study = Study(volume, "CT", uids={}, patient=PatientHeader())
        series = PreparedSeries(manifest.volumes[0].name, study, preprocess(volume, spec))
        return Prepared((series,), Clinical() if clinical is None else Clinical(clinical, None, clinical.warnings))


@dataclass(frozen=True)
class LiverCase:
    """A synthetic liver study, rendered in memory: the voxels that `mmcaf demo --kind liver` writes."""

    seed: int
    decision: Decision = _LIVER

    @property
    def id(self) -> str:
        """Its name on the command line."""
        return f"demo:{self.seed}"

    @cached_property
    def label(self) -> Label:
        """The lesion's, as the decision has it; None where that is about other diseases."""
        return self.decision.label_of([LIVER_LABELS[liver_patient(self.seed).lesion.kind]], LIVER_LABELS)

    def load(self, manifest: Manifest, tokenizer: Tokenizer | None = None) -> Prepared:
        """Render it; see `Case.load`."""
        if not reads_liver(manifest) or manifest.table is not None:
            raise _other_kind(self.id, "liver MR", manifest)
        study, spec = liver_study(self.seed), manifest.of_volumes
        series = []
        for phase in manifest.volumes:
            values = study.volumes[phase.name]
            volume = as_volume(values, study.spacing_mm, spec.intensity)
            facts = StudyFacts("MR", {}, PatientHeader(), len(values), study.spacing_mm)
            series.append(PreparedSeries(phase.name, facts, preprocess(volume, spec)))
        return Prepared(tuple(series))


@dataclass(frozen=True)
class ChestCase:
    """A synthetic radiograph with record and report, rendered in memory: what `mmcaf demo --kind chest` writes."""

    seed: int
    decision: Decision = _CHEST

    @property
    def id(self) -> str:
        """Its name on the command line."""
        return f"demo:{self.seed}"

    @cached_property
    def _patient(self) -> ChestPatient:
        return chest_patient(self.seed)

    @property
    def label(self) -> Label:
        """Its findings, or normal or abnormal, as the decision has it; None where that is about others."""
        found = self.decision.label_of(self._patient.names, CHEST_FINDINGS)
        if found is None:
            found = self.decision.label_of([CHEST_LABELS[self._patient.label]], CHEST_LABELS)
        return found

    def load(self, manifest: Manifest, tokenizer: Tokenizer | None = None) -> Prepared:
        """Render it; see `Case.load`. The record holds no more than the network reads."""
        if not reads_chest(manifest) or manifest.image is None:
            raise _other_kind(self.id, "chest radiograph", manifest)
        study = chest_study(self.seed)
        values: dict[str, str | int] = {} if manifest.table is None else dict(chest_record(study.patient))
        if manifest.text is not None:
            values |= study.report.fields(manifest.text.fields)
        clinical = read_clinical(values or None, None, manifest, tokenizer, PatientHeader())
        grey = 255.0 * Window(*study.window).shares(study.pixels.astype(np.float64))
        facts = StudyFacts("DX", {}, PatientHeader(), 1, (0.0, study.spacing_mm, study.spacing_mm))
        image = image_input(grey.astype(np.float32), manifest.image)
        return Prepared((), clinical, PreparedImage(manifest.input("image").name, facts, image, self.id))


def reads_lung(manifest: Manifest) -> bool:
    """Whether a network reads one CT series, as the synthetic lung studies are."""
    return manifest.modalities == ("CT",) and len(manifest.volumes) == 1


def reads_chest(manifest: Manifest) -> bool:
    """Whether a network's image is a frontal radiograph, as the synthetic ones are."""
    return manifest.image is not None and "DX" in manifest.image.modality and manifest.image.view != "lateral"


def reads_liver(manifest: Manifest) -> bool:
    """Whether a network's inputs are phases of the synthetic liver studies."""
    return manifest.modalities == ("MR",) and {spec.name for spec in manifest.volumes} <= set(PHASES)


def _other_kind(name: str, kind: str, manifest: Manifest) -> StudyError:
    inputs = ", ".join(spec.name for spec in manifest.inputs if spec.kind in ("volume", "image")) or "nothing"
    read = " or ".join(manifest.modalities) or "no study"
    return StudyError(
        f"{name}: a synthetic {kind}; {manifest.name} reads {read} as {inputs}.",
        "Name a table of studies instead.",
    )


def demo_cohort(first_seed: int, count: int, decision: Decision | None = None, *, kind: Kind = "lung") -> Cohort:
    """Synthetic patients of consecutive seeds.

    Args:
        decision: of the network; where it is not about the synthetic diseases, the cohort is unlabelled.
        kind: chest CT with a record, liver MR of eight phases, or chest radiographs with record and report.

    Raises:
        UsageError: no patients, or more than `MAX_PHANTOMS`.
    """
    if first_seed < 0 or not 1 <= count <= MAX_PHANTOMS:
        raise UsageError(f"{count} synthetic patients from seed {first_seed}; 1 to {MAX_PHANTOMS} were expected.")
    seeds = range(first_seed, first_seed + count)
    cases: tuple[Case, ...]
    if kind == "liver":
        cases = tuple(LiverCase(seed, decision or _LIVER) for seed in seeds)
    elif kind == "chest":
        cases = tuple(ChestCase(seed, decision or _CHEST) for seed in seeds)
    else:
        cases = tuple(PhantomCase(seed, decision or _LUNG) for seed in seeds)
    return Cohort(f"demo:{seeds[0]}-{seeds[-1]}", cases)


def as_volume(
    values: NDArray[np.int16], spacing_mm: tuple[float, float, float], intensity: Intensity = "hounsfield"
) -> Volume:
    """Voxels [D, H, W] of a phantom as the engine's volume, its origin at zero."""
    return Volume(values, intensity, spacing_mm, (0.0, 0.0, 0.0), _AXES)
