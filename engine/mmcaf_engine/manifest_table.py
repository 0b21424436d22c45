"""The manifest's table: which clinical values the network takes, how each is written, scaled and found."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .manifest_base import ManifestModel


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


class CategoryField(ManifestModel):
    """A field with named values; the feature is categories[value] / divisor."""

    kind: Literal["category"] = "category"
    name: str
    description: str
    categories: dict[str, float] = Field(min_length=1)
    synonyms: dict[str, str] = Field(default_factory=dict, description="Other spelling -> category.")
    divisor: float = Field(default=1.0, gt=0)
    missing: Missing = Refuse()
    dicom: Literal["PatientSex"] | None = Field(default=None, description="Header element it must agree with.")
    fhir: FhirSource | None = Field(default=None, description="Where a FHIR R4 Bundle holds it.")

    @model_validator(mode="after")
    def _known(self) -> "CategoryField":
        answers = self.fhir.answers.values() if isinstance(self.fhir, FhirObservation) else ()
        unknown = sorted({*self.synonyms.values(), *answers} - set(self.categories))
        if unknown:
            raise ValueError(f"synonyms or answers lead to unknown categories {unknown}")
        if isinstance(self.missing, Impute) and str(self.missing.value) not in self.categories:
            raise ValueError(f"imputed value {self.missing.value!r} is no category")
        return self


class NumberField(ManifestModel):
    """A measured quantity; the feature is (value - lower) / (upper - lower), not clipped."""

    kind: Literal["number"] = "number"
    name: str
    description: str
    unit: str
    units: dict[str, float] = Field(
        default_factory=dict, description="Another unit that is accepted -> how many of `unit` it is."
    )
    minimum: float = Field(description="Plausible range; a value outside is refused.")
    maximum: float
    lower: float = Field(description="Maps to 0.")
    upper: float = Field(description="Maps to 1.")
    missing: Missing = Refuse()
    dicom: Literal["PatientAge", "PatientWeight"] | None = None
    fhir: FhirSource | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "NumberField":
        if self.minimum >= self.maximum or self.lower >= self.upper:
            raise ValueError("minimum must be below maximum, and lower below upper")
        if isinstance(self.missing, Impute):
            value = self.missing.value
            if isinstance(value, str) or not self.minimum <= value <= self.maximum:
                raise ValueError(f"imputed value {value!r} is outside {self.minimum:g} to {self.maximum:g}")
        return self


TableField = Annotated[CategoryField | NumberField, Field(discriminator="kind")]


class TableSpec(ManifestModel):
    """The clinical record's schema; the table's columns are the fields in this order."""

    fields: tuple[TableField, ...] = Field(min_length=1)

    @field_validator("fields")
    @classmethod
    def _unique(cls, fields: tuple[TableField, ...]) -> tuple[TableField, ...]:
        names = [field.name for field in fields]
        if len(set(names)) != len(names):
            raise ValueError("two fields share a name")
        return fields
