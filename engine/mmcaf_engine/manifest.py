"""The manifest: a bundle's declarative contract, as a versioned pydantic model.

It holds which steps run, in which order, with which constants; never code. Unknown fields are
refused, so that an older engine never ignores something that a newer bundle relies on.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .manifest_base import ManifestModel
from .manifest_series import BValues, SeriesRule, SeriesSpec, Turn
from .manifest_steps import (
    CenterCropStep,
    ClipScaleStep,
    PreprocessingSpec,
    ResizeStep,
    ResizeVolumeStep,
    StandardiseStep,
    Step,
    SubtractStep,
    WindowSpec,
)
from .manifest_table import (
    CategoryField,
    FhirObservation,
    FhirPatient,
    FhirSource,
    Impute,
    Missing,
    NumberField,
    Refuse,
    TableField,
    TableSpec,
)

__all__ = [
    "Manifest",
    "NetworkSpec",
    "TensorSpec",
    "FileEntry",
    "Precision",
    "FORMAT_VERSION",
    "PreprocessingSpec",
    "WindowSpec",
    "Step",
    "ResizeStep",
    "CenterCropStep",
    "ClipScaleStep",
    "SubtractStep",
    "ResizeVolumeStep",
    "StandardiseStep",
    "SeriesSpec",
    "SeriesRule",
    "BValues",
    "Turn",
    "TableSpec",
    "TableField",
    "CategoryField",
    "NumberField",
    "Missing",
    "Refuse",
    "Impute",
    "FhirSource",
    "FhirPatient",
    "FhirObservation",
    "AttentionSpec",
    "Activation",
    "AggregationSpec",
    "AccuracyBound",
    "DEFAULT_ACCURACY_BOUNDS",
    "RewriteEntry",
    "Int8Entry",
    "Provenance",
]

FORMAT_VERSION = 1
"""Bundles of this format version are read; a newer one is refused by name."""

Precision = Literal["fp32", "fp16", "bf16", "int8"]

Activation = Literal["sigmoid", "softmax"]
"""sigmoid: one logit, which scores label 1 of two; softmax: one logit for each label."""


class FileEntry(ManifestModel):
    """Size in bytes and lower-case hexadecimal SHA-256 of one file of the bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class TensorSpec(ManifestModel):
    """One tensor of the network; the first axis is the batch, written "N"."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    kind: Literal["volume", "table", "score", "attention"]
    dtype: Literal["float32"] = "float32"
    shape: tuple[Annotated[int, Field(ge=1)] | Literal["N"], ...] = Field(min_length=1)

    @field_validator("shape")
    @classmethod
    def _batch_first(cls, shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if shape[0] != "N" or "N" in shape[1:]:
            raise ValueError('the first axis, and only the first, must be "N"')
        return shape


class NetworkSpec(ManifestModel):
    """Which network this is and how it was configured."""

    name: str
    config: dict[str, int | float | str | bool]
    parameters: int = Field(ge=0, description="Weights that the answer depends on.")


class AttentionSpec(ManifestModel):
    """What an attention output [N, rows * columns] weighs: parts of the volume inputs, row by row.

    The two axes are those of the volume input that count no slices, in its own order; the parts are of equal size.
    """

    output: str
    title: str = Field(min_length=1, max_length=40, description="As the heat map names it.")
    grid: tuple[Annotated[int, Field(ge=1, le=1024)], Annotated[int, Field(ge=1, le=1024)]] = Field(
        description="Rows and columns of parts."
    )
    slices: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="First slice of the input, and one past the last, that the parts cover; all without."
    )


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


class RewriteEntry(ManifestModel):
    """A change of the computation that leaves its result the same in exact arithmetic."""

    name: str
    description: str
    flops_saved: int = Field(description="Per window, 2 per multiply-add; negative if it costs some.")
    parameters_saved: int = Field(description="Stored values; negative if it needs more.")


class Int8Entry(ManifestModel):
    """How the INT8 network was made."""

    calibration: str = Field(description="The studies that the ranges were taken from.")
    method: Literal["minmax", "percentile", "entropy"]
    processor: Literal["cpu", "gpu"] = Field(default="cpu", description="What its layers were chosen for.")
    layers: int = Field(ge=0, description="Convolutions in INT8.")
    kept: dict[str, str] = Field(default_factory=dict, description="Convolution left in FP32 -> why.")


class Provenance(ManifestModel):
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


class Manifest(ManifestModel):
    """manifest.json; its JSON Schema is published in docs/manifest.schema.json."""

    format_version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    network: NetworkSpec
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    models: dict[Precision, str] = Field(description="Precision -> ONNX file.")
    preprocessing: PreprocessingSpec
    series: tuple[SeriesSpec, ...] = Field(
        default=(), description="One for each volume input, in their order; without any, the best series is read."
    )
    table: TableSpec | None = None
    labels: tuple[str, ...] = Field(min_length=2, description="In the order of the network's classes, from 0.")
    activation: Activation = "sigmoid"
    aggregation: AggregationSpec
    threshold: float | None = Field(
        default=None, gt=0, lt=1, description="For sigmoid: the answer is label 1 from this probability on."
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
        for file in (*self.models.values(), "golden.npz"):
            if file not in self.files:
                raise ValueError(f"files does not list {file}")
        if "fp32" not in self.models:
            raise ValueError("models has no fp32 entry")
        for name in self.files:
            if not _is_plain_name(name):
                raise ValueError(f"file name {name!r} is not a plain name")
        names = [spec.name for spec in (*self.inputs, *self.outputs)]
        if len(set(names)) != len(names):
            raise ValueError("two inputs or outputs share a name")
        self._check_inputs()
        self._check_outputs()
        return self

    def _check_inputs(self) -> None:
        kinds = [spec.kind for spec in self.inputs]
        if set(kinds) - {"volume", "table"} or "volume" not in kinds or kinds.count("table") > 1:
            raise ValueError("inputs must hold volumes and at most one table")
        if ("table" in kinds) != (self.table is not None):
            raise ValueError("a table input and a table schema must come together")
        if self.table is not None and self.input("table").shape != ("N", len(self.table.fields)):
            raise ValueError("the table input's width differs from the number of table fields")
        matched, volumes = [entry.input for entry in self.series], [spec.name for spec in self.volumes]
        if matched != volumes and (matched or len(volumes) > 1):
            raise ValueError(f"series must tell which series each volume input is, in this order: {volumes}")
        windows, size = self.preprocessing.windows, self.preprocessing.size
        if windows is not None and len(volumes) > 1:
            raise ValueError("windows are of one series; a network of several takes each as a whole (windows: null)")
        for spec in self.volumes:
            at = 2 + self.preprocessing.slice_axis
            if windows is not None and spec.shape[at : at + 1] != (windows.slices,):
                raise ValueError("the volume input's depth differs from preprocessing.windows.slices")
            if size is not None and spec.shape[2:] != size:
                raise ValueError(f"the input {spec.name} is {spec.shape[2:]}; resize_volume gives {size}")

    def _check_outputs(self) -> None:
        if [spec.kind for spec in self.outputs] != ["score"] + ["attention"] * (len(self.outputs) - 1):
            raise ValueError("outputs must hold one score, and attention after it")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("two labels share a name")
        if self.activation == "sigmoid" and len(self.labels) != 2:
            raise ValueError("activation sigmoid tells two labels apart; softmax is for more")
        if (self.activation == "sigmoid") != (self.threshold is not None):
            raise ValueError("threshold belongs to activation sigmoid, which needs it; softmax takes the largest")
        scores = 1 if self.activation == "sigmoid" else len(self.labels)
        if self.outputs[0].shape != ("N", scores):
            raise ValueError(f"the output {self.outputs[0].name} must be [N, {scores}] for these labels")
        if [entry.output for entry in self.attention] != [spec.name for spec in self.outputs[1:]]:
            raise ValueError("attention must tell what each attention output weighs, in their order")
        for entry, spec in zip(self.attention, self.outputs[1:], strict=True):
            if spec.shape != ("N", entry.grid[0] * entry.grid[1]):
                raise ValueError(f"the output {spec.name} does not have one weight for each of {entry.grid} parts")
            depth = self.volumes[0].shape[2 + self.preprocessing.slice_axis]
            if entry.slices is not None and not entry.slices[0] < entry.slices[1] <= int(depth):
                raise ValueError(f"attention {entry.output}: slices {entry.slices} are not within {depth}")

    @property
    def volumes(self) -> tuple[TensorSpec, ...]:
        """The volume inputs, in order."""
        return tuple(spec for spec in self.inputs if spec.kind == "volume")

    @property
    def score(self) -> TensorSpec:
        """The output that the answer is made from."""
        return self.outputs[0]

    def input(self, kind: Literal["volume", "table"]) -> TensorSpec:
        """The first input of this kind; the manifest is known to have it."""
        return next(spec for spec in self.inputs if spec.kind == kind)


def _is_plain_name(name: str) -> bool:
    parts = name.split("/")
    return bool(name) and not any(part in ("", ".", "..") for part in parts) and not set(name) & set("\\:\0")
