"""`mmcaf inspect`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmcaf_engine.bundle.accuracy import read_accuracy
from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.errors import Remedy, UsageError
from mmcaf_engine.manifest import (
    AttentionSpec,
    CategoryField,
    Int8Entry,
    Manifest,
    PreprocessingSpec,
    Provenance,
    RiskSpec,
    TableField,
)
from mmcaf_engine.result.decisions import decision_for

from .console import to_json
from .report import Report

REPORT_VERSION = 1


def inspect_command(path: Path, engine: bool, precisions: list[str], report: Report) -> None:
    """Print what the bundle holds and who signed it or, with `engine`, what TensorRT makes of it; as text or JSON."""
    report.check(inputs=[path])
    if engine:
        from .inspect_engine import inspect_engine_command

        inspect_engine_command(path, precisions, report)
        return
    if precisions:
        raise UsageError("--precision belongs to --engine.", Remedy("Add it, or leave both out", option="engine"))
    bundle = load_bundle(path)
    bundle.verify()
    report.give(
        lambda: "\n".join([*_describe(bundle), *_accuracy(bundle)]),
        lambda: to_json(_document(bundle)),
    )


def _document(bundle: Bundle) -> dict[str, Any]:
    """What the text says, with the manifest as it lies in the bundle."""
    accuracy = read_accuracy(bundle)
    return {
        "schema_version": REPORT_VERSION,
        "model": bundle.summary.to_dict(),
        "signature": asdict(bundle.origin),
        "manifest": bundle.manifest.model_dump(mode="json"),
        "accuracy": None if accuracy is None else accuracy.model_dump(mode="json"),
    }


def _describe(bundle: Bundle) -> list[str]:
    manifest = bundle.manifest
    network, origin = manifest.network, manifest.provenance
    config = ", ".join(f"{key}={value}" for key, value in network.config.items())
    lines = [f"{manifest.name}   (bundle {bundle.sha256[:12]}, format {manifest.format_version})"]
    lines += [f"  DEMONSTRATION: {manifest.intended_use}"] if manifest.demonstration else []
    lines += [f"  {manifest.description}"] if manifest.description else []
    lines += [*_release(manifest), f"  origin        {bundle.origin.in_words}"]
    lines += [
        f"  network       {network.name} ({config}), {network.parameters:,} weights",
        *(f"  input         {spec.name} {spec.dtype} {_shape(spec.shape)}" for spec in manifest.inputs),
        *(f"  output        {spec.name} {spec.dtype} {_shape(spec.shape)}" for spec in manifest.outputs),
        *_image(manifest),
        *_volumes(manifest, manifest.preprocessing),
        *_text(manifest),
        *_rules(manifest),
    ]
    lines += [f"  record        {_field(entry)}" for entry in (manifest.table.fields if manifest.table else ())]
    lines += [f"  record        {manifest.lesion_field}: slices of the lesion"] if manifest.lesion_field else []
    lines += [
        f"  labels        {', '.join(f'{number} {name}' for number, name in enumerate(manifest.labels))}",
        *(f"  code          {label}: {code.scheme} {code.value}" for label, code in manifest.label_codes.items()),
        f"  study score   {decision_for(manifest).rule()}",
        *_ensemble(manifest),
        *(f"  risk          {_risk(entry)}" for entry in manifest.risk_levels),
        *(f"  beside it     {entry.output}: {entry.title}, no part of the answer" for entry in manifest.branch_scores),
        *(f"  attention     {entry.title}: {_weighed(manifest, entry)}" for entry in manifest.attention),
        f"  precisions    {', '.join(f'{precision} ({file})' for precision, file in manifest.models.items())}",
        *_parts(manifest),
        f"  checkpoint    {origin.checkpoint_format}, SHA-256 {origin.checkpoint_sha256[:16]}",
        *(f"  checkpoint    {said}" for said in (origin.weights.in_words() if origin.weights else ())),
        f"  exported by   {origin.exporter}, {origin.framework}, ONNX opset {origin.opset}",
        *(f"  repaired      {one.name}: {one.description}" for one in origin.repairs),
        *_rewrites(origin),
        *_lowered(origin),
        f"  licence       {manifest.licence}",
        f"  intended use  {manifest.intended_use}",
    ]
    lines += [f"  file          {name}, {entry.size:,} bytes, hash matches" for name, entry in manifest.files.items()]
    return lines


def _ensemble(manifest: Manifest) -> list[str]:
    spec = manifest.ensemble
    if spec is None:
        return []
    bound = "never warns" if spec.spread_bound is None else f"warns above a spread of {spec.spread_bound:g}"
    lines = [f"  ensemble      {len(spec.members)} networks, the mean of their study scores; {bound}"]
    for number, member in enumerate(spec.members, start=1):
        lines.append(f"    member {number:<3}  {member.checkpoint_format}, SHA-256 {member.checkpoint_sha256[:16]}")
        lines += [f"                {said}" for said in (member.weights.in_words() if member.weights else ())]
    return lines


def _risk(spec: RiskSpec) -> str:
    """The levels of one label with where they begin."""
    named = [f"{name} from {cut:g}" for name, cut in zip(spec.names[1:], spec.cuts, strict=True)]
    source = f" ({spec.source})" if spec.source else ""
    return f"{spec.label}: {spec.names[0]} below {spec.cuts[0]:g}, {', '.join(named)}{source}"


def _release(manifest: Manifest) -> list[str]:
    told = [f"release {manifest.release}"] if manifest.release is not None else []
    told += [f"version {manifest.version}"] if manifest.version else []
    return [f"  model         {', '.join(told)}"] if told else []


def _rules(manifest: Manifest) -> list[str]:
    """Which studies and records it takes."""
    lines = ["  identity      study and record must say whose they are"] if manifest.identity == "required" else []
    for what, values in () if manifest.body_part is None else manifest.body_part:
        lines += [f"  body part     {what}: {', '.join(values)}"] if values else []
    return lines


def _image(manifest: Manifest) -> list[str]:
    spec = manifest.image
    if spec is None:
        return []
    view = "any view" if spec.view == "any" else f"{spec.view} view"
    return [
        f"  study         one radiograph: {' or '.join(spec.modality)}, {view}, or a PNG or JPEG file",
        f"  step          resize: {spec.size[0]} x {spec.size[1]}, {spec.interpolation}, antialiased",
        f"  step          normalise: mean={_numbers(spec.mean)}, std={_numbers(spec.std)}",
    ]


def _volumes(manifest: Manifest, spec: PreprocessingSpec | None) -> list[str]:
    if spec is None:
        return []
    lines = [
        f"  study         {spec.modality}, {spec.intensity} intensity, {_windows(spec)}",
        *(f"  series        {entry.input}: {entry.description}" for entry in manifest.series),
    ]
    for step in spec.steps:
        constants = ", ".join(f"{key}={value}" for key, value in step.model_dump(exclude={"step"}).items())
        lines.append(f"  step          {step.step}: {constants}")
    return lines


def _text(manifest: Manifest) -> list[str]:
    spec = manifest.text
    if spec is None:
        return []
    fields = ", ".join(spec.fields)
    return [f"  text          {fields}: up to {spec.max_tokens} word pieces (if missing: {spec.missing})"]


def _weighed(manifest: Manifest, entry: AttentionSpec) -> str:
    """What an attention output weighs, and what its weights mean, in words."""
    name = manifest.weighed(entry).name
    if entry.grid is not None:
        told = f"{entry.grid[0]} x {entry.grid[1]} parts of {name}"
    else:
        told = "each word piece" if manifest.weighed(entry).kind == "tokens" else f"each field of {name}"
    return f"{told}; {entry.meaning}" if entry.meaning else told


def _parts(manifest: Manifest) -> list[str]:
    parts = manifest.parts
    if parts is None:
        return []
    files = ", ".join(f"{precision} ({part.text} + {part.rest})" for precision, part in parts.models.items())
    return [f"  in two parts  {files}, between them {parts.words.name} {_shape(parts.words.shape)}"]


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _windows(spec: PreprocessingSpec) -> str:
    windows = spec.windows
    if windows is None:
        return "each series as a whole"
    trained = ", trained on those at a lesion" if windows.trained_on == "lesion" else ""
    padded = f"short studies padded with {windows.pad_value:g}{' at the feet' if spec.from_head else ''}"
    return f"windows of {windows.slices} slices every {windows.stride}{trained}, {padded}"


def _rewrites(origin: Provenance) -> list[str]:
    if origin.flops is None:
        return []
    before = origin.flops + sum(entry.flops_saved for entry in origin.rewrites)
    lines = [f"  arithmetic    {origin.flops / 1e9:.1f} GFLOP per window, {before / 1e9:.1f} before exact rewrites:"]
    for entry in origin.rewrites:
        if entry.flops_saved >= 0 <= entry.parameters_saved:
            saved = f"{entry.flops_saved / 1e9:6.2f} GFLOP, {entry.parameters_saved:,} values saved"
        else:
            more = f"{-entry.flops_saved / 1e9:+6.2f} GFLOP, {-entry.parameters_saved:+,} values"
            saved = f"{more}, for less to read and write"
        lines.append(f"    {entry.name:<18} {saved}")
    return lines


def _lowered(origin: Provenance) -> list[str]:
    """Which layers of a lower precision stay in FP32, where not all are in it that could be."""
    lines = []
    entries = {**origin.quantised(), "fp16": origin.fp16, "bf16": origin.bf16}
    for precision, made in entries.items():
        if made is not None:
            ranges = f", ranges by {made.method} of {made.calibration}" if isinstance(made, Int8Entry) else ""
            ranges += f", {made.between} maps" if isinstance(made, Int8Entry) and made.between != "fp32" else ""
            lines.append(f"  {precision:<12}  {made.layers} layers{ranges}; in FP32:")
            lines += [f"    {node}: {reason}" for node, reason in made.kept.items()]
    return lines


def _accuracy(bundle: Bundle) -> list[str]:
    """What each precision costs, as accuracy.json has it."""
    accuracy = read_accuracy(bundle)
    if accuracy is None:
        return []
    cohort = accuracy.cohort
    lines = [f"  accuracy      against FP32 on {cohort.source}, {cohort.studies} studies, {cohort.labelled} labelled:"]
    for precision, facts in accuracy.precisions.items():
        area = "not measured" if facts.auroc_difference is None else f"{facts.auroc_difference.value:+.4f}"
        lines.append(
            f"    {precision:<9} probability off by at most {facts.max_probability_difference:.4f}, labels changed "
            f"{facts.flips.fraction:.1%}, AUROC {area}: {'passed' if facts.passed else 'not passed, not in the bundle'}"
        )
    return lines


def _shape(shape: tuple[int | str, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _field(entry: TableField) -> str:
    absent = f"if missing: {entry.missing.policy}"
    if entry.max_age_days is not None:
        absent += f"; observed at most {entry.max_age_days} days before the study"
    if isinstance(entry, CategoryField):
        return f"{entry.name}: {', '.join(entry.categories)} ({absent})"
    return f"{entry.name}: {entry.minimum:g} to {entry.maximum:g} {entry.unit} ({absent})"
