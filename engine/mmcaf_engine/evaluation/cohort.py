"""Cohorts: studies with records and, where known, labels, each loaded when its turn comes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..demo import LIVER_LABELS, PHASES, PhantomPatient, liver_study, make_patient, make_phantom, record
from ..demo.liver import liver_patient
from ..errors import StudyError, UsageError
from ..manifest import Manifest
from ..prepare import Prepared, PreparedSeries, prepare
from ..preprocess import preprocess
from ..record import read_record
from ..volume import Intensity, PatientHeader, Study, StudyFacts, Volume

PHANTOM_LABELS = ("adenocarcinoma", "squamous-cell carcinoma")
"""What label 0 and label 1 of a phantom are."""

MAX_PHANTOMS = 100_000

Kind = Literal["lung", "liver"]
"""What synthetic patients have."""

_AXES = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


class Case(Protocol):
    """One study of a cohort; label is its position among the network's labels or, if unknown, None."""

    @property
    def id(self) -> str: ...

    @property
    def label(self) -> int | None: ...

    def load(self, manifest: Manifest) -> Prepared:
        """Read it as the manifest wants it.

        Raises:
            StudyError, RecordError: this case is refused; the message says why.
        """


@dataclass(frozen=True)
class Cohort:
    """Cases in order; source says where they are from, without any folder: a table's name, or demo:FIRST-LAST."""

    source: str
    cases: tuple[Case, ...]

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def first(self, count: int) -> "Cohort":
        """The first `count` cases."""
        if count >= len(self.cases):
            return self
        return replace(self, source=f"{self.source}, first {count}", cases=self.cases[:count])

    def unlabelled(self) -> "Cohort":
        """The same cases without their labels, for a network that is not about these diseases or these people."""
        return replace(self, cases=tuple(_Unlabelled(case) for case in self.cases))


@dataclass(frozen=True)
class _Unlabelled:
    """A case whose label is not looked at."""

    case: Case
    label: None = None

    @property
    def id(self) -> str:
        return self.case.id

    def load(self, manifest: Manifest) -> Prepared:
        return self.case.load(manifest)


@dataclass(frozen=True)
class FileCase:
    """A study and a record on disk."""

    id: str
    label: int | None
    study: Path
    record: Path | None

    def load(self, manifest: Manifest) -> Prepared:
        """Read it; see `Case.load`."""
        return prepare(self.study, self.record, manifest)


@dataclass(frozen=True)
class PhantomCase:
    """A synthetic patient, rendered in memory: the voxels and the record that `mmcaf demo` writes."""

    seed: int
    labels: tuple[str, ...] = PHANTOM_LABELS

    @property
    def id(self) -> str:
        """Its name on the command line."""
        return f"demo:{self.seed}"

    @cached_property
    def _patient(self) -> PhantomPatient:
        return make_patient(self.seed)

    @property
    def label(self) -> int | None:
        """Position of the phantom's label among `labels`; None where these are other diseases."""
        return _label(self._patient.label, PHANTOM_LABELS, self.labels)

    def load(self, manifest: Manifest) -> Prepared:
        """Render it; see `Case.load`."""
        spec = manifest.preprocessing
        if spec.modality != "CT" or len(manifest.volumes) != 1:
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
        return Prepared((series,), clinical, () if clinical is None else clinical.warnings)


@dataclass(frozen=True)
class LiverCase:
    """A synthetic liver study, rendered in memory: the voxels that `mmcaf demo --kind liver` writes."""

    seed: int
    labels: tuple[str, ...] = LIVER_LABELS

    @property
    def id(self) -> str:
        """Its name on the command line."""
        return f"demo:{self.seed}"

    @cached_property
    def label(self) -> int | None:
        """Position of the lesion's label among `labels`; None where these are other diseases."""
        return _label(liver_patient(self.seed).lesion.kind, LIVER_LABELS, self.labels)

    def load(self, manifest: Manifest) -> Prepared:
        """Render it; see `Case.load`."""
        if not reads_liver(manifest) or manifest.table is not None:
            raise _other_kind(self.id, "liver MR", manifest)
        study = liver_study(self.seed)
        series = []
        for spec in manifest.volumes:
            values = study.volumes[spec.name]
            volume = as_volume(values, study.spacing_mm, manifest.preprocessing.intensity)
            facts = StudyFacts("MR", {}, PatientHeader(), len(values), study.spacing_mm)
            series.append(PreparedSeries(spec.name, facts, preprocess(volume, manifest.preprocessing)))
        return Prepared(tuple(series), None, ())


def reads_liver(manifest: Manifest) -> bool:
    """Whether a network's inputs are phases of the synthetic liver studies."""
    return manifest.preprocessing.modality == "MR" and {spec.name for spec in manifest.volumes} <= set(PHASES)


def _label(own: int, names: tuple[str, ...], wanted: tuple[str, ...]) -> int | None:
    return wanted.index(names[own]) if set(wanted) == set(names) else None


def _other_kind(name: str, kind: str, manifest: Manifest) -> StudyError:
    inputs = ", ".join(spec.name for spec in manifest.volumes)
    return StudyError(
        f"{name}: a synthetic {kind}; {manifest.name} reads {manifest.preprocessing.modality} as {inputs}.",
        "Name a table of studies instead.",
    )


def open_cohort(source: str, manifest: Manifest) -> Cohort:
    """The cohort that a command line names: a table's path, or demo:FIRST-LAST.

    Raises:
        UsageError: no such table, the table is not usable, or no such range.
    """
    if not source.startswith("demo:"):
        from .cohort_table import read_cohort

        return read_cohort(Path(source), manifest)
    span = re.fullmatch(r"demo:([0-9]{1,9})-([0-9]{1,9})", source)
    first, last = (int(seed) for seed in span.groups()) if span else (0, -1)
    if last < first:
        raise UsageError(
            f"{source!r} names no synthetic patients; two seeds were expected, the second not below the first.",
            "For example: demo:40000-40599",
        )
    kind: Kind = "liver" if reads_liver(manifest) else "lung"
    return demo_cohort(first, last - first + 1, manifest.labels, kind=kind)


def demo_cohort(first_seed: int, count: int, labels: tuple[str, ...] | None = None, *, kind: Kind = "lung") -> Cohort:
    """Synthetic patients of consecutive seeds.

    Args:
        labels: of the network; where they are not those of the synthetic diseases, the cohort is unlabelled.
        kind: chest CT with a record, or liver MR of eight phases.

    Raises:
        UsageError: no patients, or more than `MAX_PHANTOMS`.
    """
    if first_seed < 0 or not 1 <= count <= MAX_PHANTOMS:
        raise UsageError(f"{count} synthetic patients from seed {first_seed}; 1 to {MAX_PHANTOMS} were expected.")
    seeds = range(first_seed, first_seed + count)
    cases: tuple[Case, ...]
    if kind == "liver":
        cases = tuple(LiverCase(seed, labels or LIVER_LABELS) for seed in seeds)
    else:
        cases = tuple(PhantomCase(seed, labels or PHANTOM_LABELS) for seed in seeds)
    return Cohort(f"demo:{seeds[0]}-{seeds[-1]}", cases)


def as_volume(
    values: NDArray[np.int16], spacing_mm: tuple[float, float, float], intensity: Intensity = "hounsfield"
) -> Volume:
    """Voxels [D, H, W] of a phantom as the engine's volume, its origin at zero."""
    return Volume(values, intensity, spacing_mm, (0.0, 0.0, 0.0), _AXES)
