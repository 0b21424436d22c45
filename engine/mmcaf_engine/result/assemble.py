"""A result, put together from what each stage has left."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from .. import __version__
from ..bundle.bundle import Bundle
from ..inputs.prepare import Prepared, PreparedSeries
from ..volume import SourceImage
from .aggregate import StudyScore
from .attended import Attended
from .codes import label_codes
from .ensemble import ensemble_rows
from .parts import (
    BranchScore,
    EngineSummary,
    Ensemble,
    Evidence,
    FieldInfluence,
    Options,
    RecordSummary,
    SelectedSeries,
    Software,
    StudySummary,
    Window,
)
from .result import NOT_A_MEDICAL_DEVICE, WORD_PIECES, Result, Wording
from .risk import risk_levels

SOFTWARE = Software("mmcaf-infer", __version__)


def assemble(
    bundle: Bundle,
    prepared: Prepared,
    score: StudyScore,
    wording: Wording,
    *,
    created: datetime,
    engine: EngineSummary,
    options: Options,
    warnings: tuple[str, ...],
    timing_ms: Mapping[str, float],
    influence: tuple[FieldInfluence, ...] | None = None,
    attention: Attended | None = None,
    ensemble: Ensemble | None = None,
    branch_scores: tuple[BranchScore, ...] | None = None,
    diagnostics: dict[str, tuple[float, ...]] | None = None,
) -> Result:
    """The result of one study.

    Args:
        score: of its windows, as the bundle's decision has it, and `wording` in words.
        engine: what ran them. options: what the answer depends on. warnings: all of them, in their order.
        influence: of the record's fields, where that was asked for.
        ensemble: what its members gave, of an ensemble.
        branch_scores: of the network's parts, where the bundle has such outputs.
        diagnostics: of how the network computed, where the bundle has such outputs.
    """
    manifest = bundle.manifest
    windows = manifest.preprocessing.windows if manifest.preprocessing is not None else None
    evidence, without = _evidence(prepared, in_windows=windows is not None)
    return Result(
        created=created,
        label=score.verdict,
        probability=score.probability,
        probabilities=dict(zip(manifest.labels, score.probabilities, strict=True)),
        positive=score.positive,
        findings=score.findings,
        risk_level=risk_levels(manifest, score.probabilities),
        branch_scores=branch_scores,
        diagnostics=diagnostics,
        windows=_windows(prepared, score, None if windows is None else windows.slices),
        study=_study(prepared),
        evidence=evidence,
        record=_record(prepared, influence),
        labels=label_codes(manifest),
        model=bundle.summary,
        remarks=(*prepared.remarks, *without, *manifest.provenance.remarks, *bundle.origin.remarks),
        software=SOFTWARE,
        engine=engine,
        options=options,
        attention=attention,
        ensemble=ensemble,
        timing_ms=dict(timing_ms),
        warnings=warnings,
        disclaimer=f"{manifest.intended_use} {NOT_A_MEDICAL_DEVICE}".strip(),
        wording=replace(wording, rows=(*wording.rows, *ensemble_rows(ensemble, score.verdict))),
    )


def _windows(prepared: Prepared, score: StudyScore, depth: int | None) -> tuple[Window, ...]:
    """Of an image, or without a study, none.

    Args:
        depth: slices of a window; None where the whole series is one.
    """
    if not prepared.series:
        return ()
    slices = prepared.series[0].facts.slices
    return tuple(
        Window(start, min(depth or slices, slices - start), window.logit, window.probability)
        for start, window in zip(prepared.starts, score.windows, strict=True)
    )


def _study(prepared: Prepared) -> StudySummary:
    studied = prepared.studied
    if not studied:
        return StudySummary({}, "", None, 0, (0.0, 0.0, 0.0), (), ())
    first = studied[0].facts
    uids = {
        key: uid for key, uid in first.uids.items() if all(entry.facts.uids.get(key) == uid for entry in studied[1:])
    }
    parts = {entry.facts.body_part for entry in studied}
    selection = tuple(
        SelectedSeries(entry.input, entry.source, entry.chosen, entry.facts.slices, entry.facts.spacing_mm)
        for entry in studied
    )
    return StudySummary(
        uids=uids,
        modality=first.modality,
        body_part=(parts.pop() or None) if len(parts) == 1 else None,
        slices=first.slices,
        spacing_mm=first.spacing_mm,
        selection=selection,
        warnings=prepared.study_warnings,
    )


def _evidence(prepared: Prepared, *, in_windows: bool) -> tuple[tuple[Evidence, ...], tuple[str, ...]]:
    """The images that can be referred to, and a remark on inputs with slices that cannot.

    Args:
        in_windows: whether the network takes windows: only what lies in one was scored.
    """
    found, lacking = [], []
    for entry in prepared.studied:
        scored = entry.facts.images
        if in_windows and isinstance(entry, PreparedSeries):
            scored = scored[entry.windows.starts[0] : entry.windows.starts[-1] + entry.windows.depth]
        images = [image for image in scored if image is not None]
        named = [image for image in images if image.sop_class_uid and image.sop_instance_uid]
        found += [_referred(entry.input, image) for image in named]
        lacking += [] if named and len(named) == len(images) else [entry.input]
    remark = f"{', '.join(lacking)}: not of DICOM images with a UID each; the result names no evidence of it."
    return tuple(found), (remark,) if lacking else ()


def _referred(name: str, image: SourceImage) -> Evidence:
    return Evidence(name, image.sop_class_uid, image.sop_instance_uid, image.frame)


def _record(prepared: Prepared, influence: tuple[FieldInfluence, ...] | None) -> RecordSummary | None:
    """What the network saw of record and report; None where it reads neither."""
    clinical = prepared.clinical
    record, text = clinical.record, clinical.text
    if record is None and text is None:
        return None
    features = {} if record is None else record.features | record.cuts
    missing = () if record is None else record.missing
    if text is not None:
        features = features | {WORD_PIECES: float(text.kept)}
        missing = missing if text.kept else (*missing, "report")
    return RecordSummary(features, missing, clinical.sha256, clinical.identity, clinical.warnings, influence)
