"""The manifest: a bundle's declarative contract, as a versioned pydantic model.

It holds which steps run, in which order, with which constants; never code. Unknown fields are
refused, so that an older engine never ignores something that a newer bundle relies on.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from . import consistency
from .activation import OF_THE_FORMAT, STANDARD_NAMES, Activation
from .aggregation import AggregationSpec
from .attention import PARTS_OF, AgreementSpec, AttentionSpec, weighed_input
from .base import Line, ManifestModel, newer_fields
from .body_part import BodyPartRule
from .codes import Code
from .ensemble import EnsembleSpec
from .explain import ExplainSpec, check_explain
from .image import ImageSpec
from .parts import ReportParts
from .preprocessing import PreprocessingSpec
from .provenance import Provenance
from .series import SeriesSpec
from .strata import BranchSpec, RiskSpec, check_branches, check_risk
from .table import TableSpec
from .tensors import (
    InputKind,
    ModulePath,
    ModuleTitle,
    NetworkSpec,
    Precision,
    TensorSpec,
)
from .text import TextSpec

FORMAT_VERSION = 2
"""Bundles up to this format version are read; a newer one is refused by name."""

Threshold = Annotated[float, Field(gt=0, lt=1)]


class FileEntry(ManifestModel):
    """Size in bytes and lower-case hexadecimal SHA-256 of one file of the bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class AccuracyBound(ManifestModel):
    """What a precision may cost, compared with FP32 on a cohort; what costs more is not written into a bundle."""

    probability_difference: float = Field(
        ge=0, le=1, description="Largest absolute difference of a study's probability."
    )
    flips: float = Field(ge=0, le=1, description="Largest fraction of studies whose label changes.")
    auroc_loss: float = Field(
        ge=0, le=1, description="Largest AUROC of FP32 minus that of the precision, on labelled studies."
    )


NEWER = frozenset({"int8-bf16"})
"""Precisions that format version 2 added."""

DEFAULT_ACCURACY_BOUNDS: dict[Precision, AccuracyBound] = {
    "fp16": AccuracyBound(probability_difference=0.01, flips=0.01, auroc_loss=0.005),
    "bf16": AccuracyBound(probability_difference=0.02, flips=0.01, auroc_loss=0.005),
    "int8": AccuracyBound(probability_difference=0.10, flips=0.01, auroc_loss=0.005),
}


class Manifest(ManifestModel):
    """manifest.json; its JSON Schema is published in docs/manifest.schema.json."""

    format_version: Literal[1, 2] = 2
    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    release: int | None = Field(default=None, ge=1, description="Counts up with each release of the model.")
    version: Annotated[Line, Field(max_length=64)] = Field(default="", description="Of the model, as its makers say.")
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
    body_part: BodyPartRule | None = Field(default=None, description="Which studies it is for; all without.")
    identity: Literal["required", "optional"] = Field(
        default="optional", description="required: record and study must both say whose they are."
    )
    labels: tuple[str, ...] = Field(min_length=1, description="In the order of the network's classes, from 0.")
    label_codes: dict[str, Code] = Field(default_factory=dict, description="Label -> its code in a terminology.")
    activation: Activation = "sigmoid"
    aggregation: AggregationSpec
    threshold: Threshold | None = Field(
        default=None, description="For sigmoid: the answer is label 1 from this probability on."
    )
    thresholds: tuple[Threshold, ...] = Field(
        default=(), description="For independent: each label is present from its probability on."
    )
    risk_levels: tuple[RiskSpec, ...] = Field(
        default=(), max_length=1000, description="Levels of risk over the probability of a label, by cut points."
    )
    attention: tuple[AttentionSpec, ...] = ()
    ensemble: EnsembleSpec | None = Field(
        default=None, description="Where the network is several checkpoints of one, which answer together."
    )
    branch_scores: tuple[BranchSpec, ...] = Field(
        default=(), max_length=100, description="Of each output of the kind branch_score, what it is of."
    )
    explain: ExplainSpec | None = Field(default=None, description="The graph that draws heat maps, if there is one.")
    attention_agreement: AgreementSpec | None = Field(
        default=None, description="How far two attention outputs agree on studies, and when an answer warns."
    )
    accuracy_bounds: dict[Precision, AccuracyBound] = Field(
        default=DEFAULT_ACCURACY_BOUNDS,
        description="Precision other than fp32 -> what it may cost; one left out has its default, int8-bf16 int8's.",
    )
    module_titles: dict[ModulePath, ModuleTitle] = Field(
        default_factory=dict,
        max_length=1000,
        description="Module of the source network -> what people call it and what lies in it; the longest path counts.",
    )
    provenance: Provenance
    licence: str
    intended_use: str
    demonstration: bool = Field(default=False, description="Trained on synthetic data; never about a patient.")
    files: dict[str, FileEntry]

    version_2: ClassVar[frozenset[str]] = frozenset(
        {
            *("release", "version", "body_part", "identity", "label_codes", "module_titles"),
            *("attention_agreement", "explain", "ensemble", "risk_levels", "branch_scores"),
        }
    )
    version_2_values: ClassVar[Mapping[str, frozenset[str]]] = {"models": NEWER, "accuracy_bounds": NEWER}

    @field_validator("activation")
    @classmethod
    def _canonical(cls, given: str, found: ValidationInfo) -> str:
        """Version 1 knows neither the standard names nor other packages' decisions."""
        if found.data.get("format_version") == 1 and given not in OF_THE_FORMAT:
            raise ValueError(f"format version 1 knows {', '.join(OF_THE_FORMAT)}")
        return STANDARD_NAMES.get(given, given)

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
        consistency.check_version(self.format_version, newer_fields(self))
        consistency.check_files(self.files.keys(), self.models, self.text, self.parts, self.explain)
        consistency.check_inputs(self.inputs, self.outputs, sources)
        consistency.check_record(self.table, self.text)
        consistency.check_lesion(self.lesion_field, self.table, self.text)
        consistency.check_parts(self.parts, self.models, self.inputs, self.outputs)
        consistency.check_volumes(self.volumes, self.series, self.preprocessing)
        consistency.check_shapes(self.inputs, self.image, self.table)
        consistency.check_labels(self.activation, self.labels, self.threshold, self.thresholds)
        consistency.check_aggregation(self.aggregation, self.activation, self.preprocessing)
        consistency.check_codes(self.labels, self.label_codes)
        check_risk(self.labels, self.risk_levels)
        consistency.check_outputs(self.outputs, self.activation, self.labels, self.ensemble)
        consistency.check_attention(self.outputs, self.attention, self.inputs, self.preprocessing, self.table)
        check_branches(self.outputs, self.branch_scores)
        consistency.check_agreement(self.attention_agreement, self.attention)
        check_explain(self.explain, self.inputs, self.outputs)
        return self

    def accuracy_bound(self, precision: Precision) -> AccuracyBound:
        """What a precision may cost; INT8 with BF16 maps as much as INT8, unless it has a bound of its own."""
        return self.accuracy_bounds.get(precision) or self.accuracy_bounds["int8"]

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
    def lesion_field(self) -> str | None:
        """The field of the record that may name the slices of a lesion."""
        windows = None if self.preprocessing is None else self.preprocessing.windows
        return None if windows is None else windows.lesion_field

    def weighed(self, entry: AttentionSpec) -> TensorSpec:
        """The input that one of its attention outputs weighs."""
        found = weighed_input(entry, self.inputs)
        if found is None:
            raise ValueError(f"{entry.output} weighs none of the inputs")  # Never: such a manifest is refused.
        return found

    @property
    def mapped(self) -> tuple[AttentionSpec, ...]:
        """The attention outputs that weigh parts of a volume or of the image, and so can be drawn over it."""
        return tuple(entry for entry in self.attention if self.weighed(entry).kind in PARTS_OF)

    @property
    def tells_more(self) -> bool:
        """Whether it has outputs that every result shows beside the answer."""
        return any(spec.kind in ("branch_score", "diagnostic") for spec in self.outputs)

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


def written_version(document: Mapping[str, Any]) -> int:
    """The format version to write a manifest in: the one that it says, unless it uses what only a newer one has.

    Args:
        document: the manifest's fields; without `format_version`, it is of the newest.

    Raises:
        ValidationError: it is no manifest.
    """
    newest = Manifest.model_validate({**document, "format_version": FORMAT_VERSION})
    found = document.get("format_version", FORMAT_VERSION)
    return FORMAT_VERSION if next(newer_fields(newest), None) is not None else found
