"""The answer, as a dataclass and as the JSON object of the command line."""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from pydantic.json_schema import SkipJsonSchema

from ..bundle.summary import ModelSummary
from ..errors import Remedy, UsageError
from ..machine.installation import UPDATE
from ..manifest import describe_validation
from ..strict_json import MAX_JSON_BYTES, parse_json
from .attended import Attended
from .ensemble import ensemble_rows
from .parts import (
    UNKNOWN,
    BranchScore,
    EngineSummary,
    Ensemble,
    Evidence,
    Finding,
    LabelCode,
    Options,
    Part,
    Positive,
    RecordSummary,
    RiskLevel,
    Software,
    StudySummary,
    Window,
)
from .version_1 import from_version_1

SCHEMA_VERSION: Literal[2] = 2

_CHECK = Remedy("Give the JSON that an answer was written to")

WORD_PIECES = "word_pieces"
"""Under this name `RecordSummary.features` says how much of a report the network read; of its text it holds nothing."""

OFTEN_ABSENT = ("risk_level", "branch_scores", "diagnostics", "ensemble")
"""Fields that are left out of the JSON object where they are None: those that came after the first of version 2."""

NOT_A_MEDICAL_DEVICE = "Not a medical device: for research, not for diagnosis or treatment."


@dataclass(frozen=True)
class Wording:
    """The answer as a person reads it; of texts, not of the JSON object.

    headline: the verdict. rows: (name, text) of what stands behind it. windows: whether the windows that speak most for
    it are worth naming.
    """

    headline: str
    rows: tuple[tuple[str, str], ...]
    windows: bool


@dataclass(frozen=True, kw_only=True)
class Result(Part):
    """One study's answer, with all that is needed to make it again. `wording` is no part of the JSON object."""

    schema_version: Annotated[Literal[2], Field(description="Of this form of result.")] = SCHEMA_VERSION
    created: Annotated[
        AwareDatetime | None,
        Field(description=f"When it was answered, UTC. Null in a deidentified result. {UNKNOWN}"),
    ]
    label: Annotated[str, Field(description="The answer; of independent labels, those that are present.")]
    probability: Annotated[
        float | None,
        Field(ge=0, le=1, description="Of the label; null where independent labels gave none or more than one."),
    ]
    probabilities: Annotated[dict[str, float], Field(description="Of every label, in the manifest's order.")]
    positive: Annotated[
        Positive | None, Field(description="Where two labels are told apart by a threshold: label 1, else null.")
    ]
    findings: Annotated[
        tuple[Finding, ...], Field(description="Where labels are independent: each of them, else empty.")
    ]
    risk_level: Annotated[
        tuple[RiskLevel, ...] | None,
        Field(description="Of each label that the manifest has cut points for, in its order; absent without any."),
    ] = None
    branch_scores: Annotated[
        tuple[BranchScore, ...] | None,
        Field(description="Of parts of the network, beside the answer; absent where the bundle has no such outputs."),
    ] = None
    diagnostics: Annotated[
        dict[str, tuple[float, ...]] | None,
        Field(
            description="Of each output that tells of how the network computed, its values, the mean over the windows; "
            "no part of the answer, and absent where the bundle has no such outputs."
        ),
    ] = None
    windows: Annotated[
        tuple[Window, ...],
        Field(
            description="Of a volume, in order; each with the score of label, or where that is no single one of "
            "independent labels, of the most probable of those that are present, else of all."
        ),
    ]
    study: Annotated[StudySummary, Field(description="What was read.")]
    evidence: Annotated[
        tuple[Evidence, ...] | None,
        Field(
            description="The images that it rests on, input by input in slice order, without slices that were "
            f"interpolated; empty where the study does not consist of DICOM images. {UNKNOWN}"
        ),
    ]
    record: Annotated[RecordSummary | None, Field(description="Null where the network reads no record or report.")]
    labels: Annotated[dict[str, LabelCode] | None, Field(description=f"Label to its code. {UNKNOWN}")]
    model: Annotated[ModelSummary, Field(description="Which bundle answered.")]
    remarks: Annotated[tuple[str, ...], Field(description="On what is merely absent; strict accepts these.")]
    software: Annotated[Software | None, Field(description=f"The program that answered. {UNKNOWN}")]
    engine: Annotated[EngineSummary, Field(description="What ran the network.")]
    options: Annotated[
        Options | None,
        Field(description=f"The arguments of infer that the answer depends on, by their names in Python. {UNKNOWN}"),
    ]
    attention: Annotated[
        Attended | None,
        Field(
            description="Words and fields attended to, and how far outputs agree; null without, or if not asked for."
        ),
    ] = None
    ensemble: Annotated[
        Ensemble | None, Field(description="Of an ensemble of networks: what each gave; absent of a single one.")
    ] = None
    timing_ms: Annotated[
        dict[str, float], Field(description="Stage to ms, by all threads together; total is wall time.")
    ]
    warnings: Annotated[
        tuple[str, ...], Field(description="On what contradicts or is irregular; strict refuses these.")
    ]
    disclaimer: Annotated[str, Field(description="What the answer is not for.")]
    wording: SkipJsonSchema[Wording] = field(default=Wording("", (), windows=False), repr=False, compare=False)

    @property
    def scored(self) -> tuple[int, int] | None:
        """First and last slice that were scored, from 1 at the feet; None where all were, or where it is not known."""
        ends = [window.start_slice + (window.slices or 0) for window in self.windows if window.slices is not None]
        if not ends or len(ends) < len(self.windows):
            return None
        first, last = min(window.start_slice for window in self.windows) + 1, max(ends)
        return None if (first, last) == (1, self.study.slices) else (first, last)

    @property
    def scored_label(self) -> str:
        """The label that the windows have the scores of: the answer or, where that is no single one, the likeliest.

        Of independent labels the likeliest of those that are present, though another may be likelier and absent.
        """
        if self.label in self.probabilities:
            return self.label
        present = [one.label for one in self.findings if one.present]
        return max(present or self.probabilities, key=lambda label: self.probabilities[label])

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, texts and numbers, in the documented order of keys."""
        fields = asdict(self)
        del fields["wording"]
        for name in OFTEN_ABSENT:
            if fields[name] is None:
                del fields[name]
        if self.created is not None:
            fields["created"] = in_utc(self.created)
        return fields

    def to_json(self, *, indent: int | None = None) -> str:
        """RFC 8259 JSON; a non-finite number would be an error here, never a token."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = "result") -> Self:
        """Read what `to_json` wrote, also in schema version 1; what that did not say is None.

        Args:
            name: how messages call it, usually its path.

        Raises:
            UsageError: not JSON, no such result, or of a later version.
        """
        data = text.encode(errors="replace") if isinstance(text, str) else text
        document = parse_json(data, name=name, error=UsageError, max_bytes=MAX_JSON_BYTES)
        version = document.get("schema_version") if isinstance(document, dict) else None
        if isinstance(version, bool) or version not in (1, SCHEMA_VERSION):
            told = "no version" if version is None else f"version {json.dumps(version)[:20]}"
            newer = isinstance(version, int) and version > SCHEMA_VERSION
            raise UsageError(
                f"{name}: expected a result of schema version 1 or {SCHEMA_VERSION}, got {told}.",
                UPDATE if newer else _CHECK,
            )
        if "wording" in document:
            raise UsageError(f"{name}: no result: it has no field wording.", _CHECK)
        try:
            fields = from_version_1(document) if version == 1 else document
            found = TypeAdapter(cls).validate_json(json.dumps(fields), strict=True)
        except ValidationError as failure:
            raise UsageError(f"{name}: no result: {describe_validation(failure)}.", _CHECK) from None
        except (LookupError, TypeError, ValueError, AttributeError):
            raise UsageError(
                f"{name}: no result: a field of version 1 is missing or of another type.", _CHECK
            ) from None
        created = None if found.created is None else found.created.astimezone(UTC)
        return replace(found, created=created, wording=_plain_wording(found))


def _plain_wording(result: Result) -> Wording:
    """A result in words, without what the network's decision would have said of it."""
    sure = "" if result.probability is None else f"   {result.probability:.3f}"
    shares = "   ".join(f"{label} {probability:.3f}" for label, probability in result.probabilities.items())
    rows = (("probability", shares), *ensemble_rows(result.ensemble, result.label))
    return Wording(f"{result.label}{sure}", rows, windows=len(result.windows) > 1)


def in_utc(moment: datetime) -> str:
    """A moment as results write it: 2026-11-30T09:08:48Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
