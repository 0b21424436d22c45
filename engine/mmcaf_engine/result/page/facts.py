"""What stands behind an answer: the record, what was remarked on, how it was checked, and how to make it again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...bundle.accuracy import AccuracySummary
from ...page.markup import Markup, join, tag
from ...page.tables import Column, facts, on_screen, table
from ...record.record import Record
from ..explain import ExplanationMap
from ..parts import RecordSummary, StudySummary
from ..result import WORD_PIECES, Result, in_utc

PRINTED_FIELDS, PRINTED_WARNINGS, PRINTED_REMARKS = 8, 3, 2
"""Rows of the record and sentences that are printed; a screen shows all."""
_IDENTITY = {
    "matched": "Record and study name the same patient.",
    "not_compared": "Record and study do not both say whose they are: this was not compared.",
    "overridden": "The record names another patient than the study; the caller accepted that.",
    None: "",
}
DEIDENTIFIED = (
    "Deidentified: what record and header say of the patient is left out, and UIDs are others. The pictures are the "
    "study's own: see whether they show a face or burnt-in text before you pass this page on."
)


def record_part(summary: RecordSummary | None, record: Record | None) -> Markup | None:
    """What was given and what the network saw of it; None where it reads neither record nor report.

    Args:
        record: the record's own values; shown only where the result holds what the network saw of them.
    """
    if summary is None:
        return None
    values = {} if record is None else record.values
    missing = set(summary.missing)
    fields = {name: value for name, value in summary.features.items() if name != WORD_PIECES}
    rows = [
        (tag("span", name, class_="clamp"), _given(values.get(name), name in missing), f"{value:.4g}")
        for name, value in fields.items()
    ]
    columns = [Column("field", "words"), Column("value", "words"), Column("network input")]
    pieces = summary.features.get(WORD_PIECES)
    hidden = not summary.features
    lines = [
        _IDENTITY[summary.identity],
        "" if pieces is None else f"Report: {pieces:g} word pieces were read." if pieces else "There was no report.",
        f"Imputed: {', '.join(summary.missing)}." if hidden and missing else "",
    ]
    return join(
        table("The record, as the network saw it", columns, rows, printed=PRINTED_FIELDS) if rows else None,
        *(tag("p", line) for line in lines if line),
    )


def _given(value: float | str | None, imputed: bool) -> str:
    own = "" if value is None else value if isinstance(value, str) else f"{value:g}"
    return ", ".join(part for part in (own, "imputed" if imputed else "") if part)


def notes_part(sentences: Sequence[str], printed: int) -> Markup:
    """Sentences, of which paper shows so many and how many more there are."""
    if not sentences:
        return tag("p", "There are none.")
    more = len(sentences) - printed
    rows = [
        tag("li", tag("span", one, class_="clamp"), class_="screen" if at >= printed else None)
        for at, one in enumerate(sentences)
    ]
    return join(tag("ul", *rows, class_="notes"), on_screen(more) if more > 0 else None)


def checks_part(result: Result, self_test: Mapping[str, Any], maps: Sequence[ExplanationMap]) -> Markup:
    """What vouches for the answer, and what does not."""
    engine, signer = result.engine, result.model.signed_by
    signed = "by no key that is trusted here" if signer is None else f"by {signer['name']}, key {signer['id']}"
    cost = _cost(engine.precision, engine.accuracy)
    return facts(
        [
            ("self-test", _self_test(self_test)),
            ("precision", cost),
            ("bundle signed", signed),
            ("backend", engine.fallback or ""),
            ("heat map", "" if not maps else _judged(maps)),
        ]
    )


def _self_test(outcome: Mapping[str, Any]) -> str:
    if not outcome.get("passed"):
        return "not run: nothing says that this machine computes what the source network did"
    return (
        f"passed: {outcome['cases']} stored cases of the source network repeated within "
        f"{outcome['max_abs_error']:.1e} in logit, at most {outcome['tolerance']:g} allowed"
    )


def _cost(precision: str, accuracy: AccuracySummary | None) -> str:
    if accuracy is None:
        return "fp32, that of the source network" if precision == "fp32" else f"{precision}; its cost is not known"
    auroc = "not measured" if accuracy.auroc_difference is None else f"{accuracy.auroc_difference:+.4f}"
    return (
        f"{precision} against fp32 on {accuracy.studies} studies of {accuracy.cohort}: probability within "
        f"{accuracy.max_probability_difference:.4f}, {accuracy.flips} label(s) changed, AUROC {auroc}"
    )


def _judged(maps: Sequence[ExplanationMap]) -> str:
    if all(one.localises for one in maps):
        return "judged on studies with known lesions, above chance and above a network of random weights"
    return "not shown to find lesions: it explains the network, not the patient"


def study_part(study: StudySummary) -> Markup:
    """What was read, and of several series why these."""
    if not study.slices:
        return tag("p", "The network reads no study.")
    several = len(study.selection) > 1
    spacing = " x ".join(f"{value:.3g}" for value in study.spacing_mm if value)
    pairs = [
        ("modality", study.modality),
        ("body part", study.body_part or ""),
        ("slices", "" if several else str(study.slices)),
        ("spacing", "" if several or not spacing else f"{spacing} mm"),
        *((kind, uid) for kind, uid in study.uids.items() if kind != "frame_of_reference"),
    ]
    if not several:
        pairs += [("chosen", one.chosen) for one in study.selection]
        return facts(pairs)
    rows = [(one.input, str(one.slices), one.source, one.chosen) for one in study.selection]
    columns = [Column("input"), Column("slices"), Column("series", "words screen"), Column("why", "words")]
    return join(facts(pairs), table("What each input was read from", columns, rows, printed=8))


def model_part(result: Result) -> Markup:
    """Which bundle and what computed."""
    model, engine, software = result.model, result.engine, result.software
    kernels = ", ".join(f"{name} x {count}" for name, count in (engine.kernels or {}).items())
    return facts(
        [
            ("model", f"{model.name} {model.version or ''}".strip()),
            ("bundle", model.bundle_sha256),
            ("device UID", model.device_uid),
            ("engine", f"{engine.backend} {engine.precision} on {engine.device}"),
            ("runtime", f"{engine.runtime or ''} {engine.runtime_version or ''}".strip()),
            ("processor", engine.processor or ""),
            ("threads", str(engine.threads or "")),
            ("kernels", kernels),
            ("program", "" if software is None else f"{software.name} {software.version}"),
        ]
    )


def again_part(result: Result) -> Markup:
    """With what the same numbers come out again."""
    said = "The same study, record, bundle and program give the same numbers with these arguments:"
    pairs = list(_arguments(result))
    return join(tag("p", said), tag("dl", *(_pair(name, value) for name, value in pairs), class_="inline"))


def _arguments(result: Result) -> Iterator[tuple[str, str]]:
    options: dict[str, Any] = {} if result.options is None else result.to_dict()["options"]
    for name, value in options.items():
        if isinstance(value, dict):
            yield name, ", ".join(f"{key}={one}" for key, one in value.items())
        elif isinstance(value, list | tuple):
            yield name, ", ".join(map(str, value))
        elif value is not None and value is not False:
            yield name, str(value)
    if result.created is not None:
        yield "created", in_utc(result.created)
    if result.record is not None and result.record.sha256 is not None:
        yield "record (SHA-256)", result.record.sha256


def _pair(name: str, value: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value))
