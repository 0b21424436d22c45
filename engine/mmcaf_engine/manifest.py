"""The manifest: a bundle's declarative contract, as a versioned pydantic model.

It holds which steps run, in which order, with which constants; never code. Unknown fields are
refused, so that an older engine never ignores something that a newer bundle relies on.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

FORMAT_VERSION = 1
"""Bundles of this format version are read; a newer one is refused by name."""

Precision = Literal["fp32", "fp16", "bf16", "int8"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileEntry(_Model):
    """Size in bytes and lower-case hexadecimal SHA-256 of one file of the bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class TensorSpec(_Model):
    """One tensor of the network; the first axis is the batch, written "N"."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    kind: Literal["volume", "table", "score"]
    dtype: Literal["float32"] = "float32"
    shape: tuple[Annotated[int, Field(ge=1)] | Literal["N"], ...] = Field(min_length=1)

    @field_validator("shape")
    @classmethod
    def _batch_first(cls, shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if shape[0] != "N" or "N" in shape[1:]:
            raise ValueError('the first axis, and only the first, must be "N"')
        return shape


class NetworkSpec(_Model):
    """Which network this is and how it was configured."""

    name: str
    config: dict[str, int | float | str | bool]
    parameters: int = Field(ge=0, description="Weights that the answer depends on.")


class ResizeStep(_Model):
    """Resize every slice in-plane by area averaging (exact pixel coverage, as OpenCV's INTER_AREA)."""

    step: Literal["resize"] = "resize"
    method: Literal["area"] = "area"
    rows: int = Field(ge=1, le=4096)
    columns: int = Field(ge=1, le=4096)
    rounding: Literal["none", "half_even"] = Field(
        description="half_even: round to whole intensities afterwards, as a resize of integer pixels does."
    )


class CenterCropStep(_Model):
    """Keep the central rows x columns of every slice; an odd margin leaves the smaller half in front."""

    step: Literal["center_crop"] = "center_crop"
    rows: int = Field(ge=1, le=4096)
    columns: int = Field(ge=1, le=4096)


class ClipScaleStep(_Model):
    """Map [lower, upper] to [0, 1] in float32 and clip what lies outside."""

    step: Literal["clip_scale"] = "clip_scale"
    lower: float
    upper: float

    @model_validator(mode="after")
    def _ordered(self) -> "ClipScaleStep":
        if self.lower >= self.upper:
            raise ValueError("lower must be below upper")
        return self


class SubtractStep(_Model):
    """Subtract a constant, usually the training set's mean."""

    step: Literal["subtract"] = "subtract"
    value: float


Step = Annotated[ResizeStep | CenterCropStep | ClipScaleStep | SubtractStep, Field(discriminator="step")]


class WindowSpec(_Model):
    """How the slices of a study become windows of equal depth."""

    slices: int = Field(ge=1, le=4096)
    stride: int = Field(ge=1, le=4096, description="Slices from one window's start to the next.")
    pad_value: float = Field(description="Intensity appended after the last slice of a short study.")


class PreprocessingSpec(_Model):
    """From the study's slices to the network's volume input."""

    modality: Literal["CT", "MR"]
    intensity: Literal["hounsfield", "stored"] = Field(
        description="hounsfield: after RescaleSlope and RescaleIntercept; stored: the raw pixel values."
    )
    windows: WindowSpec
    steps: tuple[Step, ...]


class Refuse(_Model):
    """A record without this field is refused."""

    policy: Literal["refuse"] = "refuse"


class Impute(_Model):
    """A record without this field gets `value`, in the record's own terms, and the result says so."""

    policy: Literal["impute"] = "impute"
    value: float | str


Missing = Annotated[Refuse | Impute, Field(discriminator="policy")]


class FhirPatient(_Model):
    """The field is an element of the FHIR R4 Patient resource; birthDate gives the age at the study's date."""

    resource: Literal["Patient"] = "Patient"
    element: Literal["gender", "birthDate"]


class FhirObservation(_Model):
    """The field is the value of a FHIR R4 Observation."""

    resource: Literal["Observation"] = "Observation"
    codes: tuple[str, ...] = Field(min_length=1, description="LOINC codes, the preferred first.")
    answers: dict[str, str] = Field(default_factory=dict, description="Code of a coded value -> category.")


FhirSource = Annotated[FhirPatient | FhirObservation, Field(discriminator="resource")]


class CategoryField(_Model):
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


class NumberField(_Model):
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


class TableSpec(_Model):
    """The clinical record's schema; the table's columns are the fields in this order."""

    fields: tuple[TableField, ...] = Field(min_length=1)

    @field_validator("fields")
    @classmethod
    def _unique(cls, fields: tuple[TableField, ...]) -> tuple[TableField, ...]:
        names = [field.name for field in fields]
        if len(set(names)) != len(names):
            raise ValueError("two fields share a name")
        return fields


class AggregationSpec(_Model):
    """How the windows' probabilities become the study's."""

    method: Literal["max", "mean"]


class AccuracyBound(_Model):
    """What a precision may cost, compared with FP32 on a cohort; what costs more is not written into a bundle."""

    probability_difference: float = Field(
        ge=0, le=1, description="Largest absolute difference of a study's probability."
    )
    flips: float = Field(ge=0, le=1, description="Largest fraction of studies whose label changes.")
    auroc_loss: float = Field(
        ge=0, le=1, description="Largest AUROC of FP32 minus that of the precision, on labelled studies."
    )


DEFAULT_ACCURACY_BOUNDS: dict[Precision, AccuracyBound] = {
    "fp16": AccuracyBound(probability_difference=0.01, flips=0.01, auroc_loss=0.005),
    "bf16": AccuracyBound(probability_difference=0.02, flips=0.01, auroc_loss=0.005),
    "int8": AccuracyBound(probability_difference=0.10, flips=0.01, auroc_loss=0.005),
}


class RewriteEntry(_Model):
    """A change of the computation that leaves its result the same in exact arithmetic."""

    name: str
    description: str
    flops_saved: int = Field(description="Per window, 2 per multiply-add; negative if it costs some.")
    parameters_saved: int = Field(description="Stored values; negative if it needs more.")


class Int8Entry(_Model):
    """How the INT8 network was made."""

    calibration: str = Field(description="The studies that the ranges were taken from.")
    method: Literal["minmax", "percentile", "entropy"]
    layers: int = Field(ge=0, description="Convolutions in INT8.")
    kept: dict[str, str] = Field(default_factory=dict, description="Convolution left in FP32 -> why.")


class Provenance(_Model):
    """Where the weights came from and what wrote the bundle; no dates, so that exports repeat bit for bit."""

    checkpoint_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    checkpoint_format: str
    dead_keys_ignored: int = Field(ge=0, description="Checkpoint entries that the answer does not depend on.")
    exporter: str
    framework: str
    opset: int
    rewrites: tuple[RewriteEntry, ...] = Field(default=(), description="Applied to the network, in this order.")
    flops: int | None = Field(default=None, ge=0, description="Of one window after them, 2 per multiply-add.")
    int8: Int8Entry | None = None


class Manifest(_Model):
    """manifest.json; its JSON Schema is published in docs/manifest.schema.json."""

    format_version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    network: NetworkSpec
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    models: dict[Precision, str] = Field(description="Precision -> ONNX file.")
    preprocessing: PreprocessingSpec
    table: TableSpec | None = None
    labels: tuple[str, str] = Field(description="Label 0 and label 1; the network scores label 1.")
    aggregation: AggregationSpec
    threshold: float = Field(gt=0, lt=1, description="The answer is label 1 from this probability on.")
    accuracy_bounds: dict[Precision, AccuracyBound] = Field(
        default=DEFAULT_ACCURACY_BOUNDS,
        description="Precision other than fp32 -> what it may cost; one that is left out has its default.",
    )
    provenance: Provenance
    licence: str
    intended_use: str
    demonstration: bool = Field(default=False, description="Trained on synthetic data; never about a patient.")
    files: dict[str, FileEntry]

    @field_validator("accuracy_bounds")
    @classmethod
    def _bound_for_each(cls, bounds: dict[Precision, AccuracyBound]) -> dict[Precision, AccuracyBound]:
        if "fp32" in bounds:
            raise ValueError("fp32 is what the others are compared with; it has no bound")
        return {**DEFAULT_ACCURACY_BOUNDS, **bounds}

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        for file in (*self.models.values(), "golden.npz"):
            if file not in self.files:
                raise ValueError(f"files does not list {file}")
        if "fp32" not in self.models:
            raise ValueError("models has no fp32 entry")
        for name in self.files:
            if not _is_plain_name(name):
                raise ValueError(f"file name {name!r} is not a plain name")
        kinds = [spec.kind for spec in self.inputs]
        if kinds.count("volume") != 1 or kinds.count("table") > 1:
            raise ValueError("inputs must hold one volume and at most one table")
        if ("table" in kinds) != (self.table is not None):
            raise ValueError("a table input and a table schema must come together")
        if self.table is not None and self.input("table").shape != ("N", len(self.table.fields)):
            raise ValueError("the table input's width differs from the number of table fields")
        if self.input("volume").shape[2:3] != (self.preprocessing.windows.slices,):
            raise ValueError("the volume input's depth differs from preprocessing.windows.slices")
        return self

    def input(self, kind: Literal["volume", "table"]) -> TensorSpec:
        """The input of this kind; the manifest is known to have it."""
        return next(spec for spec in self.inputs if spec.kind == kind)


def _is_plain_name(name: str) -> bool:
    parts = name.split("/")
    return bool(name) and not any(part in ("", ".", "..") for part in parts) and not set(name) & set("\\:\0")
