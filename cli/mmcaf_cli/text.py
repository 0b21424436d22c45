"""The answer as text that a person reads at a glance."""

from mmcaf_engine.bundle.accuracy import AccuracySummary
from mmcaf_engine.result.parts import FieldInfluence, Window
from mmcaf_engine.result.result import WORD_PIECES, Result
from mmcaf_engine.result.risk import level_rows

MOST_WINDOWS = 3
"""At most so many windows are listed."""
MOST_FIELDS, LEAST_CHANGE = 5, 0.001
"""At most so many fields of the record are listed, each of which changed a probability by so much."""

MOST_WEIGHTS = 6
"""At most so many words, or fields, are listed."""


def render(result: Result) -> str:
    """A few lines: the answer, the slices behind it, what was run on what, warnings and remarks, the disclaimer."""
    engine = result.engine
    total = result.timing_ms["total"] / 1e3
    lines = [
        result.wording.headline,
        *(f"  {name:<14}{text}" for name, text in result.wording.rows),
        *(f"  {'risk':<14}{label}: {level}" for label, level in level_rows(result)),
        *_slices(result),
        *_branches(result),
        *_diagnostics(result),
        *_attention(result),
        f"  study         {_study(result)}",
        *_series(result),
        f"  record        {_record(result)}",
        *_moved(result),
        f"  model         {_model(result)}",
        f"  engine        {engine.backend} {engine.precision} on {engine.device}, {total:.2f} s in all",
    ]
    lines += [f"  precision     {_cost(engine.precision, engine.accuracy)}"] if engine.accuracy else []
    lines += [f"  warning       {warning}" for warning in result.warnings]
    lines += [f"  remark        {remark}" for remark in result.remarks]
    lines.append(result.disclaimer)
    return "\n".join(lines)


def _model(result: Result) -> str:
    model, signer = result.model, result.model.signed_by
    version = "" if model.version is None else f" {model.version}"
    signed = "" if signer is None else f", signed by {signer['name']}"
    return f"{model.name}{version}, bundle {model.bundle_sha256[:12]}{signed}"


def _study(result: Result) -> str:
    """What was read: a volume, an image, or nothing."""
    study = result.study
    if not study.slices:
        return "none needed"
    shown = " x ".join(f"{value:.3g}" for value in study.spacing_mm[0 if result.windows else 1 :])
    if result.windows:
        return f"{study.modality}, {study.slices} slices, {shown} mm"
    return f"{study.modality}, one image" + (f", {shown} mm" if any(study.spacing_mm) else "")


def _slices(result: Result) -> list[str]:
    """The windows with the highest scores of a label, and which, where there are some and they are worth naming."""
    if not (result.windows and result.wording.windows):
        return []
    highest = sorted(result.windows, key=lambda window: -window.probability)[:MOST_WINDOWS]
    slices = ", ".join(f"{_span(window)} ({window.probability:.3f})" for window in highest)
    return [f"  slices        {slices}, of {result.study.slices}; scores of {result.scored_label}"]


def _branches(result: Result) -> list[str]:
    """What each part of the network finds likeliest, of those that say so by themselves."""
    lines = []
    for one in result.branch_scores or ():
        label = max(one.probabilities, key=lambda name: one.probabilities[name])
        said = f"{one.title} alone: {label} {one.probabilities[label]:.3f}; no part of the answer"
        lines.append(f"  {'beside it':<14}{said}")
    return lines


def _diagnostics(result: Result) -> list[str]:
    """What the network tells of how it computed."""
    told = (result.diagnostics or {}).items()
    return [f"  {'diagnostics':<14}{name} {', '.join(f'{value:.3g}' for value in values)}" for name, values in told]


def _attention(result: Result) -> list[str]:
    """The words and fields that weigh most, each list with what a weight means, and how far two outputs agree."""
    if result.attention is None:
        return []
    lines = []
    for part in result.attention.parts:
        highest = sorted(part.weights, key=lambda one: -one.weight)[:MOST_WEIGHTS]
        told = ", ".join(f"{one.name} {_weight(one.weight)}" for one in highest) or "not shown"
        told += "" if part.markers is None else f"; [CLS] and [SEP] {_weight(part.markers)}"
        lines += [f"  {part.of:<14}{told}", f"    {part.title}: {part.meaning or 'weights of the attention'}"]
    if (agreement := result.attention.agreement) is not None:
        first, second = agreement.outputs
        least = f"{100 - agreement.percentile:g} % of {agreement.studies} studies: {agreement.bound:.2f} or more"
        lines.append(f"  agreement     {agreement.share:.2f} of {first} and {second} ({least})")
    return lines


def _weight(weight: float) -> str:
    return f"{weight:.3f}" if weight >= 0.0005 else "below 0.001"


def _series(result: Result) -> list[str]:
    """Of a network of several, each input's series and why this one."""
    entries = result.study.selection
    if len(entries) < 2:
        return []
    return [f"    {entry.input:<11} {entry.slices} slices, {entry.source}: {entry.chosen}" for entry in entries]


def _span(window: Window) -> str:
    """Its slices, counted from 1; of a result of schema version 1, which does not say how many, the first."""
    first = window.start_slice + 1
    return f"from {first}" if window.slices is None else f"{first}-{window.start_slice + window.slices}"


def _record(result: Result) -> str:
    if result.record is None:
        return "none needed"
    features, missing = result.record.features, list(result.record.missing)
    parts = []
    if WORD_PIECES in features:
        parts.append(f"a report of {features[WORD_PIECES]:g} word pieces" if features[WORD_PIECES] else "no report")
        missing = [name for name in missing if name != "report"]
    fields = sum(name != WORD_PIECES and not _is_cut(name) for name in features)
    if fields or not parts:  # Of a deidentified result neither is known.
        held = f"{fields} fields" if fields else "not shown"
        parts = [held, f"imputed: {', '.join(missing)}" if missing else "none missing", *parts]
    return ", ".join(parts)


def _moved(result: Result) -> list[str]:
    """The fields of the record that moved the answer most, where that was asked for, by how much and against what."""
    if result.record is None or result.record.influence is None:
        return []
    by_size = sorted(result.record.influence, key=lambda field: -abs(field.change))
    moved = [field for field in by_size if abs(field.change) >= LEAST_CHANGE][:MOST_FIELDS]
    if not moved:
        return [f"  moved         by no field of the record by {LEAST_CHANGE:g} or more"]
    return [f"  moved         {_against(field, result)}" for field in moved]


def _against(field: FieldInfluence, result: Result) -> str:
    """The change, of which label where the answer is no single one, and by what; and the answer that would be else."""
    whose = "" if result.label == result.scored_label else f" of {result.scored_label}"
    other = "" if field.label == result.label else f", else {field.label}"
    return f"{field.change:+.3f}{whose} by {field.field} {_value(field.value)}, not {_value(field.reference)}{other}"


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _is_cut(feature: str) -> bool:
    """Whether a feature is the condition of a cut, which is no field of its own."""
    return " >= " in feature or " <= " in feature


def _cost(precision: str, accuracy: AccuracySummary) -> str:
    """What the precision costs, in one line."""
    auroc = "not measured" if accuracy.auroc_difference is None else f"{accuracy.auroc_difference:+.4f}"
    return (
        f"{precision} against fp32 on {accuracy.studies} studies of {accuracy.cohort}: probability within "
        f"{accuracy.max_probability_difference:.4f}, {accuracy.flips} label(s) changed, AUROC {auroc}"
    )
