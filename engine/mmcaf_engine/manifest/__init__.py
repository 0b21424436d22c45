"""The manifest: a bundle's declarative contract, as a versioned pydantic model."""

from .activation import Activation
from .aggregation import REGRESSION, AggregationSpec
from .attention import AgreementSpec, AttentionSpec
from .base import ForeignModel, describe_validation
from .body_part import BodyPartRule
from .codes import Code
from .ensemble import FEWEST_MEMBERS, MOST_MEMBERS, EnsembleMember, EnsembleSpec, score_shape
from .explain import COTANGENT, ExplainedMap, ExplainSpec, PointingStudy
from .image import ImageSpec, View
from .manifest import (
    DEFAULT_ACCURACY_BOUNDS,
    FORMAT_VERSION,
    AccuracyBound,
    FileEntry,
    Manifest,
    written_version,
)
from .parts import PartFiles, ReportParts
from .preprocessing import (
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
from .provenance import Int8Entry, Provenance, RewriteEntry, WeightsEntry
from .series import BValues, SeriesRule, SeriesSpec, Turn
from .strata import BranchSpec, RiskSpec
from .table import (
    CategoryField,
    Cut,
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
from .tensors import PRECISIONS, NetworkSpec, Precision, TensorSpec, between, named_precision, types_in
from .text import TextSpec

__all__ = [
    "ForeignModel",
    "describe_validation",
    "Manifest",
    "NetworkSpec",
    "TensorSpec",
    "FileEntry",
    "PRECISIONS",
    "Precision",
    "between",
    "types_in",
    "named_precision",
    "FORMAT_VERSION",
    "written_version",
    "Code",
    "BodyPartRule",
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
    "ImageSpec",
    "View",
    "ExplainSpec",
    "EnsembleMember",
    "EnsembleSpec",
    "FEWEST_MEMBERS",
    "MOST_MEMBERS",
    "score_shape",
    "ExplainedMap",
    "PointingStudy",
    "COTANGENT",
    "TextSpec",
    "ReportParts",
    "PartFiles",
    "TableSpec",
    "TableField",
    "CategoryField",
    "NumberField",
    "Cut",
    "Missing",
    "Refuse",
    "Impute",
    "FhirSource",
    "FhirPatient",
    "FhirObservation",
    "AgreementSpec",
    "AttentionSpec",
    "BranchSpec",
    "RiskSpec",
    "Activation",
    "AggregationSpec",
    "REGRESSION",
    "AccuracyBound",
    "DEFAULT_ACCURACY_BOUNDS",
    "RewriteEntry",
    "WeightsEntry",
    "Int8Entry",
    "Provenance",
]
