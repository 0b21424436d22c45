"""accuracy.json: what each precision of a bundle costs, on which cohort, measured by what."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from ..errors import BundleError
from ..machine.installation import UPDATE
from ..manifest import AccuracyBound, ForeignModel, Precision, describe_validation
from ..strict_json import MAX_JSON_BYTES, parse_json
from .bundle import Bundle

ACCURACY_NAME = "accuracy.json"
ACCURACY_FORMAT_VERSION = 1


@dataclass(frozen=True)
class AccuracySummary:
    """What a precision costs, from the bundle's accuracy.json."""

    cohort: Annotated[str, Field(description="The cohort that it was compared with FP32 on.")]
    studies: Annotated[int, Field(description="Studies of the cohort.")]
    max_probability_difference: Annotated[float, Field(description="The largest difference of a probability.")]
    flips: Annotated[int, Field(description="Studies whose label changed.")]
    auroc_difference: Annotated[float | None, Field(description="AUROC minus that of FP32; null if not measured.")]


class _Model(ForeignModel):
    of_one_kind: ClassVar[frozenset[str]] = frozenset()
    """Fields that only networks of one kind have; left out of the file where they are None."""

    @model_serializer(mode="wrap")
    def _without_foreign_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if value is not None or name not in self.of_one_kind}


class CohortSummary(_Model):
    """The studies that were answered at every precision, and how many were refused at all of them."""

    source: str = Field(description="How the cohort was named: the table's file name, or demo:FIRST-LAST.")
    studies: int = Field(ge=1)
    refused: int = Field(ge=0)
    labelled: int = Field(ge=0, description="Studies whose label is known; AUROC and ratios are over these.")
    positives: int | None = Field(default=None, ge=0, description="Labelled studies of label 1, of two labels.")
    per_label: tuple[int, ...] | None = Field(
        default=None, description="Labelled studies of each of several labels; of independent ones, those that have it."
    )

    of_one_kind = frozenset({"positives", "per_label"})


class Runtime(_Model):
    """What ran a precision."""

    backend: str
    version: str
    device: str


class Estimate(_Model):
    """A value and its 95 % stratified bootstrap percentile interval."""

    value: float
    low: float
    high: float


class DecisionTable(_Model):
    """Decisions at a threshold; a ratio whose denominator is 0 is null."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    accuracy: float | None
    f1: float | None
    specificity: float | None
    sensitivity: float | None
    ppv: float | None
    npv: float | None


class LabelTable(DecisionTable):
    """One of several labels against all others; auroc is null where all or no labelled studies are of it."""

    label: int
    studies: int = Field(description="Labelled studies of it.")
    auroc: float | None
    interval: Estimate | None = Field(default=None, description="Of independent labels: auroc with its interval.")
    threshold: float | None = Field(default=None, description="Of independent labels: the label's own.")

    of_one_kind = frozenset({"interval", "threshold"})


class MacroTable(_Model):
    """Decisions among several labels: accuracy, and plain means of the labels' own ratios where these are defined."""

    accuracy: float | None
    f1: float | None
    specificity: float | None
    sensitivity: float | None
    ppv: float | None
    npv: float | None


class Performance(_Model):
    """How well the labels are told; auroc is null without studies of two labels, decisions without labels.

    Of several labels, auroc is the mean of each one's against all others, over those that occur; decisions are
    likewise means, and per_label holds each label's own. So it is of independent labels, over those that some studies
    have and others do not.
    """

    auroc: Estimate | None
    decisions: DecisionTable | MacroTable | None
    per_label: tuple[LabelTable, ...] | None = None

    of_one_kind = frozenset({"per_label"})


class Flips(_Model):
    """Studies whose label is another one than in FP32."""

    to_label_0: int | None = None
    to_label_1: int | None = None
    changed: int | None = Field(
        default=None, description="Of several labels: studies with another one; of independent ones, with any change."
    )
    fraction: float = Field(description="Of the studies that were answered.")

    of_one_kind = frozenset({"to_label_0", "to_label_1", "changed"})

    @property
    def count(self) -> int:
        """Studies whose label changed."""
        return self.changed if self.changed is not None else (self.to_label_0 or 0) + (self.to_label_1 or 0)


class Reference(Runtime):
    """The FP32 run that the others are compared with."""

    precision: Literal["fp32"] = "fp32"
    performance: Performance


class Configuration(_Model):
    """How a precision is computed, as far as answers depend on it beside the file; which processor it is, does not."""

    backend: str | None = Field(
        description="null: any that computes each value in the type that the file gives it, as ONNX defines operators."
    )
    hint: str | None = Field(description="What the runtime is told to compute FP32 values in; null if it is not told.")
    between: Precision = Field(description="In what the maps between convolutions are kept.")
    kernels: tuple[str, ...] = Field(description="This project's kernels that the network runs with, sorted.")

    def in_words(self) -> str:
        """In a few words, such as "openvino (hint f32, fp32 maps, kernels gated_lstm)"."""
        facts = [f"hint {self.hint}"] if self.hint else []
        facts.append(f"{self.between} maps")
        facts += [f"kernels {', '.join(self.kernels)}"] if self.kernels else []
        return f"{self.backend or 'any runtime that follows the types of the file'} ({', '.join(facts)})"


class Judged(_Model):
    """What a precision costs in one configuration."""

    configuration: Configuration
    runtime: Runtime = Field(description="What ran it; where the backend is null, in FP32 with every value rounded.")
    max_probability_difference: float
    max_logit_difference: float
    flips: float = Field(description="Studies whose label changed, as a fraction.")


class PrecisionAccuracy(_Model):
    """One precision compared with FP32, study by study."""

    runtime: Runtime
    max_probability_difference: float
    mean_probability_difference: float
    max_logit_difference: float
    flips: Flips
    performance: Performance
    auroc_difference: Estimate | None = Field(description="AUROC of this precision minus that of FP32, paired.")
    auroc_note: str | None = Field(description="Why AUROC was not measured.")
    bound: AccuracyBound = Field(description="The manifest's bound that was applied.")
    passed: bool
    reasons: tuple[str, ...] = Field(description="Why it did not pass, in words.")
    judged: tuple[Judged, ...] | None = Field(
        default=None, description="Each configuration that it was judged in, the first first; it answers in no other."
    )

    excluded: dict[str, tuple[str, ...]] | None = Field(
        default=None, description="Backends in which it did not pass, where it does not answer, and why in words."
    )

    of_one_kind = frozenset({"judged", "excluded"})

    def failing(self, *reasons: str) -> Self:
        """The same, which did not pass for these reasons either; without any, what it is."""
        return self.model_copy(update={"passed": False, "reasons": (*self.reasons, *reasons)}) if reasons else self

    def excluding(self, backends: Mapping[str, Sequence[str]]) -> Self:
        """The same, which answers in none of these backends, each with the reasons why."""
        if not backends:
            return self
        judged = tuple(one for one in self.judged or () if one.runtime.backend not in backends)
        excluded = {name: tuple(reasons) for name, reasons in sorted(backends.items())}
        return self.model_copy(update={"judged": judged, "excluded": excluded})


class Accuracy(_Model):
    """accuracy.json."""

    format_version: Literal[1] = 1
    cohort: CohortSummary
    threshold: float | None = Field(description="Of two labels; null of several.")
    thresholds: tuple[float, ...] | None = Field(default=None, description="Of independent labels, each one's.")
    reference: Reference
    precisions: dict[Precision, PrecisionAccuracy]

    of_one_kind = frozenset({"thresholds"})


def write_accuracy(accuracy: Accuracy, file: Path) -> None:
    """Write accuracy.json; the same accuracy gives the same bytes."""
    text = json.dumps(accuracy.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    file.write_bytes(f"{text}\n".encode())


def read_accuracy(bundle: Bundle) -> Accuracy | None:
    """What a bundle's accuracy.json says; None where it has none.

    Raises:
        BundleError: as `Bundle.read` and `parse_accuracy`.
    """
    if ACCURACY_NAME not in bundle.manifest.files:
        return None
    return parse_accuracy(bundle.read(ACCURACY_NAME, MAX_JSON_BYTES), name=f"{bundle.shown}/{ACCURACY_NAME}")


def parse_accuracy(data: bytes, *, name: str = ACCURACY_NAME) -> Accuracy:
    """What an accuracy.json of these bytes says.

    Args:
        name: how messages call it, usually its path.

    Raises:
        BundleError: not JSON, of a newer format version, or invalid.
    """
    document = parse_json(data, name=name, error=BundleError)
    version = document.get("format_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > ACCURACY_FORMAT_VERSION:
        raise BundleError(
            f"{name}: accuracy format {version}; this engine reads up to {ACCURACY_FORMAT_VERSION}.",
            UPDATE,
        )
    try:
        return Accuracy.model_validate(document)
    except ValidationError as failure:
        raise BundleError(
            f"{name}: no accuracy report: {describe_validation(failure)}.", "Copy the bundle again from its source."
        ) from None


def accuracy_summary(bundle: Bundle, precision: Precision) -> AccuracySummary | None:
    """What the bundle says that `precision` costs; None for fp32 and where it says nothing.

    Of several configurations that it was judged in, the largest difference and the most changed labels.

    Raises:
        BundleError: the bundle's accuracy.json is invalid.
    """
    accuracy = None if precision == "fp32" else read_accuracy(bundle)
    measured = None if accuracy is None else accuracy.precisions.get(precision)
    if accuracy is None or measured is None:
        return None
    judged, studies = measured.judged or (), accuracy.cohort.studies
    figures: tuple[PrecisionAccuracy | Judged, ...] = (measured, *judged)
    return AccuracySummary(
        cohort=accuracy.cohort.source,
        studies=studies,
        max_probability_difference=max(one.max_probability_difference for one in figures),
        flips=max([measured.flips.count, *(round(one.flips * studies) for one in judged)]),
        auroc_difference=None if measured.auroc_difference is None else measured.auroc_difference.value,
    )
