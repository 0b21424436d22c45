"""The manifest's table: which clinical values the network takes, how each is written, scaled and found."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from .arithmetic import check_arithmetic
from .base import ManifestModel


class Refuse(ManifestModel):
    """A record without this field is refused."""

    policy: Literal["refuse"] = "refuse"


class Impute(ManifestModel):
    """A record without this field gets `value`, in the record's own terms, and the result says so."""

    policy: Literal["impute"] = "impute"
    value: float | str


Missing = Annotated[Refuse | Impute, Field(discriminator="policy")]


class FhirPatient(ManifestModel):
    """The field is an element of the FHIR R4 Patient resource; birthDate gives the age at the study's date."""

    resource: Literal["Patient"] = "Patient"
    element: Literal["gender", "birthDate"]


class FhirObservation(ManifestModel):
    """The field is the value of a FHIR R4 Observation."""

    resource: Literal["Observation"] = "Observation"
    codes: tuple[str, ...] = Field(min_length=1, description="LOINC codes, the preferred first.")
    answers: dict[str, str] = Field(default_factory=dict, description="Code of a coded value -> category.")


FhirSource = Annotated[FhirPatient | FhirObservation, Field(discriminator="resource")]


class Cut(ManifestModel):
    """A threshold on one field that is a feature of its own: 1 where the value is on its side of it, else 0.

    It compares the value in the field's own unit, after imputation; of a category, the category's number.
    """

    value: float
    direction: Literal["above", "below"] = Field(description="above: 1 from `value` on; below: 1 up to `value`.")
    label: str | None = Field(default=None, description="The label that it was chosen for.")

    def condition(self, name: str) -> str:
        """In words what the indicator says of the field of this name."""
        return f"{name} {'>=' if self.direction == 'above' else '<='} {self.value:g}"

    def indicator(self, value: float) -> float:
        """1.0 or 0.0."""
        return float(value >= self.value if self.direction == "above" else value <= self.value)


_OLDEST = Field(
    default=None,
    ge=1,
    description="Days before the study that an Observation may have been made; an older one is warned of.",
)


class CategoryField(ManifestModel):
    """A field with named values; the feature is categories[value] / divisor."""

    kind: Literal["category"] = "category"
    name: str
    description: str
    categories: dict[str, float] = Field(min_length=1)
    synonyms: dict[str, str] = Field(default_factory=dict, description="Other spelling -> category.")
    divisor: float = Field(default=1.0, gt=0)
    cut: Cut | None = None
    missing: Missing = Refuse()
    dicom: Literal["PatientSex"] | None = Field(default=None, description="Header element it must agree with.")
    fhir: FhirSource | None = Field(default=None, description="Where a FHIR R4 Bundle holds it.")
    max_age_days: int | None = _OLDEST

    version_2: ClassVar[frozenset[str]] = frozenset({"max_age_days"})

    @model_validator(mode="after")
    def _known(self) -> "CategoryField":
        _check_age_limit(self.max_age_days, self.fhir)
        answers = self.fhir.answers.values() if isinstance(self.fhir, FhirObservation) else ()
        unknown = sorted({*self.synonyms.values(), *answers} - set(self.categories))
        if unknown:
            raise ValueError(f"synonyms or answers lead to unknown categories {unknown}")
        if isinstance(self.missing, Impute) and str(self.missing.value) not in self.categories:
            raise ValueError(f"imputed value {self.missing.value!r} is no category")
        check_arithmetic(
            f"categories and divisor {self.divisor:g}", lambda value: value / self.divisor, {*self.categories.values()}
        )
        return self


class NumberField(ManifestModel):
    """A measured quantity; the feature is not clipped.

    min_max: (value - lower) / (upper - lower). standardise: (value - mean) / std.
    """

    kind: Literal["number"] = "number"
    name: str
    description: str
    unit: str
    units: dict[str, float] = Field(
        default_factory=dict, description="Another unit that is accepted -> how many of `unit` it is."
    )
    minimum: float = Field(description="Plausible range; a value outside is refused.")
    maximum: float
    scaling: Literal["min_max", "standardise"] = "min_max"
    lower: float | None = Field(default=None, description="Of min_max: maps to 0.")
    upper: float | None = Field(default=None, description="Of min_max: maps to 1.")
    mean: float | None = Field(default=None, description="Of standardise: maps to 0.")
    std: float | None = Field(default=None, gt=0, description="Of standardise: mean + std maps to 1.")
    cut: Cut | None = None
    missing: Missing = Refuse()
    dicom: Literal["PatientAge", "PatientWeight"] | None = None
    fhir: FhirSource | None = None
    max_age_days: int | None = _OLDEST

    version_2: ClassVar[frozenset[str]] = frozenset({"max_age_days"})

    @model_validator(mode="after")
    def _ordered(self) -> "NumberField":
        _check_age_limit(self.max_age_days, self.fhir)
        if self.minimum >= self.maximum:
            raise ValueError("minimum must be below maximum")
        own, other = {"lower": self.lower, "upper": self.upper}, {"mean": self.mean, "std": self.std}
        if self.scaling == "standardise":
            own, other = other, own
        if None in own.values() or set(other.values()) != {None}:
            raise ValueError(f"scaling {self.scaling} needs {' and '.join(own)}, and neither {' nor '.join(other)}")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError("lower must be below upper")
        if isinstance(self.missing, Impute):
            value = self.missing.value
            if isinstance(value, str) or not self.minimum <= value <= self.maximum:
                raise ValueError(f"imputed value {value!r} is outside {self.minimum:g} to {self.maximum:g}")
        constants = ", ".join(f"{name} {value:g}" for name, value in own.items() if value is not None)
        check_arithmetic(constants, self.feature, (self.minimum, self.maximum))
        return self

    def feature(self, value: float) -> float:
        """The scaled value that the network sees."""
        if self.mean is not None and self.std is not None:
            return (value - self.mean) / self.std
        if self.lower is None or self.upper is None:
            raise ValueError(f"{self.name} has no scaling")  # Never: a manifest without one is refused.
        return (value - self.lower) / (self.upper - self.lower)


def _check_age_limit(days: int | None, source: FhirPatient | FhirObservation | None) -> None:
    if days is not None and not isinstance(source, FhirObservation):
        raise ValueError("max_age_days belongs to a field that a FHIR Observation holds")


TableField = Annotated[CategoryField | NumberField, Field(discriminator="kind")]


class TableSpec(ManifestModel):
    """The clinical record's schema.

    The table's columns are the fields in this order, and after them the indicator of each field that has a cut, in
    the same order.
    """

    fields: tuple[TableField, ...] = Field(min_length=1)
    ignored: tuple[str, ...] = Field(
        default=(), description="Fields that a record may hold and the network does not read; not remarked on."
    )

    @property
    def cuts(self) -> tuple[TableField, ...]:
        """The fields that have a cut, in order."""
        return tuple(field for field in self.fields if field.cut is not None)

    @property
    def width(self) -> int:
        """Columns of the table: fields and cuts."""
        return len(self.fields) + len(self.cuts)

    @field_validator("fields")
    @classmethod
    def _unique(cls, fields: tuple[TableField, ...]) -> tuple[TableField, ...]:
        names = [field.name for field in fields]
        if len(set(names)) != len(names):
            raise ValueError("two fields share a name")
        return fields

    @model_validator(mode="after")
    def _ignored_apart(self) -> "TableSpec":
        both = {field.name for field in self.fields} & set(self.ignored)
        if both:
            raise ValueError(f"fields that are read cannot be ignored: {sorted(both)}")
        return self
