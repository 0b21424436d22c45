"""What a result consists of: frozen dataclasses whose fields say what the published schema says of them.

What may be null only where a result was written in schema version 1 is None because nobody said it then.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from ..bundle.accuracy import AccuracySummary
from ..manifest import Precision
from ..record.identity import Identity
from ..record.reference import ReferenceKind
from ..study import Duplicates, Gaps, Oblique, Tilt

UNKNOWN = "Null if read from version 1."

Explanation = Literal["attention", "gradcam", "occlusion", "record"]
"""Maps over the inputs, each by its method; and which fields of the record moved the answer."""


class Part:
    """Of a result; read back, it has no other fields than these."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )


@dataclass(frozen=True)
class Positive(Part):
    """Label 1 of two: the one that is told from a threshold on."""

    label: Annotated[str, Field(description="Its name.")]
    probability: Annotated[float, Field(ge=0, le=1, description="Of label 1, whichever label is the answer.")]
    logit: Annotated[float, Field(description="Of that probability: of the deciding window where the highest counts.")]
    threshold: Annotated[float, Field(description="From this probability on, label 1 is the answer.")]


@dataclass(frozen=True)
class Finding(Part):
    """One of several labels that are independent of each other."""

    label: Annotated[str, Field(description="Its name.")]
    probability: Annotated[float, Field(ge=0, le=1, description="That it is present.")]
    logit: Annotated[float, Field(description="Of that probability.")]
    threshold: Annotated[float, Field(description="From this probability on, it is present.")]
    present: Annotated[bool, Field(description="Whether the probability reaches the threshold.")]


@dataclass(frozen=True)
class Ensemble(Part):
    """What the members of an ensemble gave, of which the result's probabilities are the mean."""

    members: Annotated[int, Field(ge=2, description="How many there are.")]
    probabilities: Annotated[
        dict[str, tuple[Annotated[float, Field(ge=0, le=1)], ...]],
        Field(description="Of every label: each member's, in the manifest's order of members."),
    ]
    spread: Annotated[
        dict[str, Annotated[float, Field(ge=0, le=0.5)]],
        Field(description="Of every label: the standard deviation of the members' probabilities about their mean."),
    ]
    bound: Annotated[
        float | None, Field(description="The spread above which an answer warns, as the manifest has it; null: never.")
    ]


@dataclass(frozen=True)
class RiskLevel(Part):
    """The level of risk that a label's probability is of, by cut points that the manifest declares."""

    label: Annotated[str, Field(description="Whose probability it is.")]
    level: Annotated[str, Field(description="Its name.")]
    rank: Annotated[int, Field(ge=1, description="Its place among the levels, from 1, the lowest.")]
    levels: Annotated[int, Field(ge=2, description="How many there are.")]
    probability: Annotated[float, Field(ge=0, le=1, description="The label's.")]
    from_probability: Annotated[float | None, Field(description="From this on it is this level; null of the lowest.")]
    below: Annotated[float | None, Field(description="Below this it is this level; null of the highest.")]
    source: Annotated[str, Field(description="Where the cut points come from, in the manifest's words; may be empty.")]


@dataclass(frozen=True)
class BranchScore(Part):
    """What a part of the network says of the same labels by itself; it has no part in the answer."""

    output: Annotated[str, Field(description="The network's output.")]
    title: Annotated[str, Field(description="Which part of the network it is, in the manifest's words.")]
    probabilities: Annotated[
        dict[str, float], Field(description="Of every label, made of its scores as the answer's are.")
    ]
    logits: Annotated[
        tuple[float, ...],
        Field(
            description="Of the same: of every label, or of two the second's; of a single window, the network's own."
        ),
    ]


@dataclass(frozen=True)
class Window(Part):
    """One window of the volume, and what its score says of the label that is the answer."""

    start_slice: Annotated[int, Field(ge=0, description="First slice, counted from 0 in the order of the volume.")]
    slices: Annotated[int | None, Field(ge=1, description=f"Slices of the study that lie in it. {UNKNOWN}")]
    logit: Annotated[float, Field(description="The label's, in this window.")]
    probability: Annotated[float, Field(description="The label's, in this window.")]


@dataclass(frozen=True)
class SelectedSeries(Part):
    """The series, or the image, that one input was read from."""

    input: Annotated[str, Field(description="The network's input.")]
    source: Annotated[
        str,
        Field(description="SeriesInstanceUID, of an image SOPInstanceUID; else a file's name; empty for an array."),
    ]
    chosen: Annotated[str, Field(description="Why this one, in words.")]
    slices: Annotated[int, Field(ge=0, description="Slices of it.")]
    spacing_mm: Annotated[
        tuple[float, float, float], Field(description="mm between slices, rows and columns; 0 where not known.")
    ]


@dataclass(frozen=True)
class StudySummary(Part):
    """What was read; of several series, slices and spacing are those of the first."""

    uids: Annotated[
        dict[str, str],
        Field(description="UIDs of study, series, frame_of_reference and image, as far as known and common to all."),
    ]
    modality: Annotated[str, Field(description="As in DICOM; NIfTI, PNG or JPEG for such files; empty without study.")]
    body_part: Annotated[
        str | None, Field(description="What was examined; null where the header does not say, or series differ.")
    ]
    slices: Annotated[int, Field(ge=0, description="Slices of the volume; 1 for an image, 0 without study.")]
    spacing_mm: Annotated[
        tuple[float, float, float], Field(description="mm between slices, rows and columns; 0 where not known.")
    ]
    selection: Annotated[tuple[SelectedSeries, ...], Field(description="What each input was read from.")]
    warnings: Annotated[tuple[str, ...], Field(description="Those of the warnings that are on the study.")]


@dataclass(frozen=True)
class Evidence(Part):
    """An image that the answer rests on."""

    input: Annotated[str, Field(description="The network's input that it is a slice of.")]
    sop_class_uid: Annotated[str, Field(description="(0008,0016).")]
    sop_instance_uid: Annotated[str, Field(description="(0008,0018).")]
    frame: Annotated[int | None, Field(ge=1, description="Frame number, from 1; null of a single-frame image.")]


@dataclass(frozen=True)
class FieldInfluence(Part):
    """How a field of the record moved the answer: against the same study with this field at its reference."""

    field: Annotated[str, Field(description="Its name.")]
    value: Annotated[float | str, Field(description="What the record says, or was imputed, in its own terms.")]
    reference: Annotated[float | str, Field(description="What it was compared with, in the same terms.")]
    kind: Annotated[
        ReferenceKind,
        Field(
            description="Which reference that is: what a record without the field gets, the mean of its "
            "standardisation, the middle of its scale, or the first of its categories."
        ),
    ]
    label: Annotated[str, Field(description="The answer that the study then has.")]
    probability: Annotated[
        float,
        Field(ge=0, le=1, description="Of the label that the windows' scores are of, with the field at its reference."),
    ]
    change: Annotated[float, Field(description="That label's probability in the answer minus that.")]


@dataclass(frozen=True)
class RecordSummary(Part):
    """What the network saw of the record and the report."""

    features: Annotated[
        dict[str, float],
        Field(
            description="Scaled, as the network saw them; a cut under its condition, such as age >= 50; of a report "
            "word_pieces, how many were read."
        ),
    ]
    missing: Annotated[tuple[str, ...], Field(description="Fields that were imputed, and report where there was none.")]
    sha256: Annotated[
        str | None,
        Field(
            description="Of the bytes of record and report, one after the other; of an object in memory, of its JSON "
            f"with sorted keys and without blanks. Null in a deidentified result. {UNKNOWN}"
        ),
    ]
    identity: Annotated[
        Identity | None,
        Field(description=f"Whether record and study name one patient, or the caller overrode that. {UNKNOWN}"),
    ]
    warnings: Annotated[tuple[str, ...], Field(description="Those of the warnings that are on record or report.")]
    influence: Annotated[
        tuple[FieldInfluence, ...] | None,
        Field(
            description="How each field moved the answer; null where that was not asked for, and where deidentified."
        ),
    ] = None


@dataclass(frozen=True)
class LabelCode(Part):
    """What a label is called in a terminology."""

    scheme: Annotated[str, Field(description="Coding scheme designator: SCT for SNOMED CT; 99MMCAF is ours.")]
    value: Annotated[str, Field(description="The code.")]
    meaning: Annotated[str, Field(description="What it means, in the scheme's words.")]


@dataclass(frozen=True)
class Software(Part):
    """The program that answered."""

    name: Annotated[str, Field(description="mmcaf-infer.")]
    version: Annotated[str, Field(description="Its version.")]


@dataclass(frozen=True)
class EngineSummary(Part):
    """What ran the network."""

    backend: Annotated[str, Field(description="By its name.")]
    precision: Annotated[Precision, Field(description="Of the network that ran.")]
    device: Annotated[str, Field(description="CPU, or what the GPU is called.")]
    runtime: Annotated[str | None, Field(description=f"The package that computed. {UNKNOWN}")]
    runtime_version: Annotated[str | None, Field(description=f"Its version. {UNKNOWN}")]
    processor: Annotated[str | None, Field(description=f"Name, family, model and stepping. {UNKNOWN}")]
    threads: Annotated[int | None, Field(ge=1, description=f"Cores used; null where a GPU computes. {UNKNOWN}")]
    kernels: Annotated[
        dict[str, int] | None, Field(description=f"This project's kernels in use, each with its layers. {UNKNOWN}")
    ]
    fallback: Annotated[str | None, Field(description="Why a preferred backend was not used, in words.")]
    accuracy: Annotated[
        AccuracySummary | None,
        Field(description="What the precision costs by the bundle's accuracy.json; null for fp32 and where not known."),
    ]


@dataclass(frozen=True, kw_only=True)
class Options(Part):
    """All arguments of `infer` that the answer depends on, so that it can be made again with them."""

    backend: Annotated[str, Field(description="The one that answered, also where auto was asked for.")]
    precision: Annotated[Precision, Field(description="The one that answered, also where auto was asked for.")]
    threads: Annotated[int | None, Field(ge=1, description="Cores used; null where a GPU computes.")]
    series: Annotated[
        dict[str, str] | None, Field(description="Input to the series that was asked for; null where none was.")
    ]
    gaps: Annotated[Gaps, Field(description="What was accepted of missing slices.")]
    tilt: Annotated[Tilt, Field(description="What was accepted of a tilted gantry.")]
    duplicates: Annotated[Duplicates, Field(description="What was accepted of slices at one position.")]
    oblique: Annotated[Oblique | None, Field(description="What was accepted of oblique MR; null: the manifest's.")]
    stride: Annotated[int | None, Field(ge=1, description="Slices between windows; null: the manifest's.")]
    slices: Annotated[
        tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None,
        Field(description="First and last slice that were asked for, from 1 at the feet; null: all."),
    ] = None
    row: Annotated[int | None, Field(ge=1, description="Of a record that is a table; null: the study's patient's.")]
    allow_id_mismatch: Annotated[bool, Field(description="Whether another patient id was accepted.")]
    explain: Annotated[tuple[Explanation, ...], Field(description="What was explained, the heat map's map too.")] = ()
