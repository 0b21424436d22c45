"""The manifest: a bundle's declarative contract, as a versioned pydantic model.

It holds which steps run, in which order, with which constants; never code. Unknown fields are
refused, so that an older engine never ignores something that a newer bundle relies on.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from . import consistency
from .base import ManifestModel
from .image import ImageSpec
from .parts import ReportParts
from .preprocessing import (
    PreprocessingSpec,
)
from .provenance import Provenance
from .series import SeriesSpec
from .table import (
    TableSpec,
)
from .tensors import AttentionSpec, InputKind, NetworkSpec, Precision, TensorSpec
from .text import TextSpec

FORMAT_VERSION = 1
"""Bundles of this format version are read; a newer one is refused by name."""

Activation = Literal["sigmoid", "softmax", "independent"]
"""sigmoid: one logit, which scores label 1 of two; softmax: one logit for each label, of which one holds; independent:
one logit for each label, of which any may hold."""

Threshold = Annotated[float, Field(gt=0, lt=1)]


class FileEntry(ManifestModel):
    """Size in bytes and lower-case hexadecimal SHA-256 of one file of the bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class AggregationSpec(ManifestModel):
    """How the windows' probabilities become the study's."""

    method: Literal["max", "mean"]


class AccuracyBound(ManifestModel):
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


class Manifest(ManifestModel):
    """manifest.json; its JSON Schema is published in docs/manifest.schema.json."""

    format_version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    network: NetworkSpec
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    models: dict[Precision, str] = Field(description="Precision -> ONNX file.")
    preprocessing: PreprocessingSpec | None = Field(default=None, description="Of the volume inputs, if there are any.")
    image: ImageSpec | None = Field(default=None, description="Of the image input, if there is one.")
    series: tuple[SeriesSpec, ...] = Field(
        default=(), description="One for each volume input, in their order; without any, the best series is read."
    )
    table: TableSpec | None = None
    text: TextSpec | None = Field(default=None, description="Of the tokens and token_mask inputs, if there are any.")
    labels: tuple[str, ...] = Field(min_length=1, description="In the order of the network's classes, from 0.")
    activation: Activation = "sigmoid"
    aggregation: AggregationSpec
    threshold: Threshold | None = Field(
        default=None, description="For sigmoid: the answer is label 1 from this probability on."
    )
    thresholds: tuple[Threshold, ...] = Field(
        default=(), description="For independent: each label is present from its probability on."
    )
    attention: tuple[AttentionSpec, ...] = ()
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
        """In this order: the first that does not hold is what a user reads."""
        sources = {"preprocessing": self.preprocessing, "image": self.image, "table": self.table, "text": self.text}
        consistency.check_files(self.files.keys(), self.models, self.text, self.parts)
        consistency.check_inputs(self.inputs, self.outputs, sources)
        consistency.check_record(self.table, self.text)
        consistency.check_parts(self.parts, self.models, self.inputs, self.outputs)
        consistency.check_volumes(self.volumes, self.series, self.preprocessing)
        consistency.check_shapes(self.inputs, self.image, self.table)
        consistency.check_labels(self.activation, self.labels, self.threshold, self.thresholds)
        consistency.check_outputs(self.outputs, self.activation, self.labels)
        consistency.check_attention(self.outputs, self.attention, self.volumes, self.preprocessing)
        return self

    @property
    def volumes(self) -> tuple[TensorSpec, ...]:
        """The volume inputs, in order."""
        return tuple(spec for spec in self.inputs if spec.kind == "volume")

    @property
    def score(self) -> TensorSpec:
        """The output that the answer is made from."""
        return self.outputs[0]

    @property
    def of_volumes(self) -> PreprocessingSpec:
        """How volumes are made ready; the network is known to take some."""
        if self.preprocessing is None:
            raise ValueError(f"{self.name} takes no volume")
        return self.preprocessing

    @property
    def parts(self) -> ReportParts | None:
        """The network cut in two, if the bundle has it so."""
        return None if self.text is None else self.text.parts

    @property
    def modalities(self) -> tuple[str, ...]:
        """Which DICOM modalities a study may be of; none where the network reads no study."""
        if self.image is not None:
            return self.image.modality
        return () if self.preprocessing is None else (self.preprocessing.modality,)

    def input(self, kind: InputKind) -> TensorSpec:
        """The first input of this kind; the manifest is known to have it."""
        return next(spec for spec in self.inputs if spec.kind == kind)
