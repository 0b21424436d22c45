"""What an answer's attention weighs besides parts of an image: words and fields; and how far two outputs agree."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..errors import BackendError, Remedy
from ..inputs.prepare import Prepared
from ..manifest import AgreementSpec, Manifest
from ..record.tokenizer import TokenisedText
from .parts import Part

_Share = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Weight(Part):
    """What one word or field weighs."""

    name: Annotated[str, Field(description="The word as the report has it, or the field of the record.")]
    weight: Annotated[float, Field(ge=0, description="Of a word, the sum over its word pieces.")]


@dataclass(frozen=True)
class AttendedParts(Part):
    """One attention output over the report or the record, in the window that decided."""

    output: Annotated[str, Field(description="The network's output.")]
    title: Annotated[str, Field(description="The manifest's.")]
    meaning: Annotated[str, Field(description="What a weight says, in the manifest's words; may be empty.")]
    of: Annotated[Literal["words", "fields"], Field(description="What is weighed.")]
    weights: Annotated[
        tuple[Weight, ...],
        Field(description="In the order of the report, or of the table; of words, empty in a deidentified result."),
    ] = field(repr=False)
    markers: Annotated[
        float | None, Field(ge=0, description="Of words: the weight of [CLS] and [SEP], which are none; else null.")
    ]


@dataclass(frozen=True)
class Agreement(Part):
    """How far two attention outputs over the same parts agree, beside what was measured on studies."""

    outputs: Annotated[tuple[str, str], Field(description="The network's outputs.")]
    share: Annotated[
        float,
        Field(ge=0, le=1, description="Sum over the parts of the smaller of both shares: 1 if the same."),
    ]
    bound: Annotated[float, Field(ge=0, le=1, description="The manifest's; a smaller share is warned of.")]
    percentile: Annotated[float, Field(description="Percent of the measured studies below the bound.")]
    studies: Annotated[int, Field(ge=1, description="How many were measured.")]
    data: Annotated[str, Field(description="Which they were.")]


@dataclass(frozen=True)
class Attended(Part):
    """What was attended to, but for heat maps."""

    parts: Annotated[tuple[AttendedParts, ...], Field(description="Of words and fields, in the manifest's order.")]
    agreement: Annotated[Agreement | None, Field(description="Null where the manifest compares no two outputs.")]


def attended(
    manifest: Manifest, prepared: Prepared, outputs: Mapping[str, NDArray[np.float32]], window: int
) -> Attended | None:
    """What the attention outputs of one window say but for heat maps; None where that is all that they are of.

    Args:
        outputs: of all windows, by name, with the optional ones.
        window: which one.

    Raises:
        BackendError: a weight that is negative or not finite.
    """
    for entry in manifest.attention:
        _expect_weights(entry.output, outputs[entry.output][window])
    found = []
    for entry in manifest.attention:
        weights = outputs[entry.output][window].astype(np.float64)
        match manifest.weighed(entry).kind:
            case "tokens" if prepared.clinical.text is not None:
                listed, markers = _of_words(prepared.clinical.text, weights)
                found.append(AttendedParts(entry.output, entry.title, entry.meaning, "words", listed, markers))
            case "table" if manifest.table is not None:
                names = [one.name for one in manifest.table.fields]
                listed = tuple(Weight(name, float(one)) for name, one in zip(names, weights, strict=True))
                found.append(AttendedParts(entry.output, entry.title, entry.meaning, "fields", listed, None))
    agreement = _agreement(manifest.attention_agreement, outputs, window)
    return Attended(tuple(found), agreement) if found or agreement else None


def agreement_warnings(found: Attended | None) -> tuple[str, ...]:
    """That two outputs agree less than on the studies that were measured."""
    agreement = None if found is None else found.agreement
    if agreement is None or agreement.share >= agreement.bound:
        return ()
    first, second = agreement.outputs
    return (
        f"The attention of {first} and {second} agrees to {agreement.share:.2f}, less than {agreement.bound:.2f}: so "
        f"little as on {agreement.percentile:g} % of {agreement.studies} studies ({agreement.data}). Do not rely on "
        "either heat map.",
    )


def common_share(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Histogram intersection of two vectors of weights, each divided by its sum; see `AgreementSpec`.

    Where one has no weight at all, 0.
    """
    sums = float(first.sum()), float(second.sum())
    if min(sums) <= 0:
        return 0.0
    return min(1.0, float(np.minimum(first / sums[0], second / sums[1]).sum()))


def _agreement(spec: AgreementSpec | None, outputs: Mapping[str, NDArray[np.float32]], window: int) -> Agreement | None:
    if spec is None:
        return None
    first, second = (outputs[name][window].astype(np.float64) for name in spec.outputs)
    share = round(common_share(first, second), 6)
    return Agreement(spec.outputs, share, spec.bound, spec.percentile, spec.studies, spec.data)


def _of_words(text: TokenisedText, weights: NDArray[np.float64]) -> tuple[tuple[Weight, ...], float]:
    """Each word with the sum over its pieces, and the sum over the markers before and behind the pieces."""
    pieces = weights[1 : 1 + text.kept]
    sums = np.bincount(np.array(text.word_of, np.intp), pieces, minlength=len(text.words))
    markers = float(weights[0] + weights[1 + text.kept])
    return tuple(Weight(word, float(sums[at])) for at, word in enumerate(text.words)), markers


def _expect_weights(name: str, weights: NDArray[np.float32]) -> None:
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise BackendError(
            f"The attention output {name} holds weights that are negative or not finite; 0 and above are expected.",
            Remedy("Answer without an explanation", option="explain"),
        )
