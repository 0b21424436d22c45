"""The answer, as a dataclass and as the JSON object of the command line."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from ..bundle.accuracy import AccuracySummary
from ..bundle.summary import ModelSummary
from ..record.identity import Identity

SCHEMA_VERSION = 1

WORD_PIECES = "word_pieces"
"""Under this name `RecordSummary.features` says how much of a report the network read; of its text it holds nothing."""

NOT_A_MEDICAL_DEVICE = "Not a medical device: for research, not for diagnosis or treatment."


@dataclass(frozen=True)
class WindowScore:
    """One window's score; start_slice counts from 0 at the first slice of the ordered volume.

    Of label 1 where the network tells two labels apart by a threshold, else of the study's label.
    """

    start_slice: int
    logit: float
    probability: float


_FIRST = ("schema_version", "label", "probability", "probabilities", "logit", "threshold", "findings")


@dataclass(frozen=True)
class Finding:
    """One of several labels that are independent of each other; present: whether its probability reaches threshold."""

    label: str
    probability: float
    logit: float
    threshold: float
    present: bool


@dataclass(frozen=True)
class Wording:
    """The answer as a person reads it; of texts, not of the JSON object.

    headline: the verdict. rows: (name, text) of what stands behind it. windows: whether the windows that speak most for
    it are worth naming.
    """

    headline: str
    rows: tuple[tuple[str, str], ...]
    windows: bool


@dataclass(frozen=True)
class SeriesSummary:
    """Which series one volume input was.

    source: its SeriesInstanceUID, or its file's name. chosen: why this one, in words.
    """

    input: str
    source: str
    chosen: str
    slices: int
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class StudySummary:
    """What was read: uids by kind, slices, (between slices, rows, columns) spacing in mm, warnings, each series.

    Of several series, uids holds what is common to them; slices and spacing_mm are those of the first.
    body_part: what the header says was examined; None where it does not say, or series say different ones.
    """

    uids: dict[str, str]
    modality: str
    slices: int
    spacing_mm: tuple[float, float, float]
    warnings: tuple[str, ...]
    series: tuple[SeriesSummary, ...] = ()
    body_part: str | None = None


@dataclass(frozen=True)
class RecordSummary:
    """The features as the network saw them, the fields that were imputed, warnings.

    A cut is a feature under the name of its condition, such as "age >= 50": 1 where it holds, else 0.
    identity: whether record and study are of one patient; see `record.identity`.
    """

    features: dict[str, float]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]
    identity: Identity = "not_compared"


@dataclass(frozen=True)
class EngineSummary:
    """What ran it; fallback says in words why the preferred backend was not used, or is None.

    accuracy: what the precision costs; None for fp32, and where the bundle does not say.
    """

    backend: str
    precision: str
    device: str
    fallback: str | None
    accuracy: AccuracySummary | None = None


@dataclass(frozen=True)
class Result:
    """One study's answer.

    Where the network tells two labels apart, probability is that of label 1, aggregated over the windows, logit its
    logit (of the deciding window, for max), and label is label 1 from threshold on. Where it has a logit for each of
    several labels of which one holds, label is the most probable, probability and logit are its own, and threshold is
    None. Where labels are independent, findings holds each with its own threshold, label names those that are present,
    and probability, logit and threshold are those of the most probable one.
    probabilities holds every label; timing_ms is wall time per stage. warnings: on what contradicts or is irregular;
    `strict` refuses to answer with any. remarks: on what is merely absent. wording is no part of the JSON object.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    logit: float
    threshold: float | None
    windows: tuple[WindowScore, ...]
    study: StudySummary
    record: RecordSummary | None
    model: ModelSummary
    engine: EngineSummary
    timing_ms: dict[str, float]
    warnings: tuple[str, ...]
    disclaimer: str
    wording: Wording
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, in the documented order of keys."""
        fields = asdict(self)
        del fields["wording"]
        fields["disclaimer"] = fields.pop("disclaimer")  # behind what there is to say of this answer
        return {name: fields.pop(name) for name in _FIRST} | fields

    def to_json(self, *, indent: int | None = None) -> str:
        """RFC 8259 JSON; a non-finite number would be an error here, never a token."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)
