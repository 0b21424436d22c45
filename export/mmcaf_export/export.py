"""From a checkpoint to a verified bundle, or to nothing at all."""

import dataclasses
import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from mmcaf_engine.backends.factory import Network, Parts
from mmcaf_engine.bundle.bundle import check_output, write_bundle
from mmcaf_engine.bundle.golden import GOLDEN_NAME, RawCase, raw_arrays
from mmcaf_engine.bundle.sealed import is_signed
from mmcaf_engine.checkup.raw_case import all_windows, describe_raw, prepare_raw
from mmcaf_engine.errors import ExportError, RecordError, Remedy, StudyError, UsageError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.outputs import Output, scratch_beside
from mmcaf_engine.record.tokenizer import Tokenizer

from .assumptions import unsettled
from .checkpoint import Checkpoint, Reading, load_checkpoint
from .explain.write import write_explain
from .golden import CASES, reference, write_golden
from .manifest_of import MODEL, manifest_of, rewrites_in_provenance
from .match import MatchReport
from .members import (
    check_different,
    read_all,
    recognised,
)
from .monai_bundle.entry import imported
from .monai_bundle.files import is_monai_bundle
from .networks.ensemble import EnsembleEntry
from .networks.entry import NetworkEntry
from .networks.registry import Networks
from .networks.repair import Repair
from .onnx_export import export_onnx
from .raw_case import draw_study
from .repairs import SETTING, in_provenance, notes
from .report import UNSIGNED, ExportReport, sign_again
from .rewrites.general import prepared
from .settings import configure, split_settings
from .source import filled
from .spelling import spelled
from .taken import in_words, weights_entries
from .text_parts import write_parts
from .titles import module_titles
from .verify import Case, verify
from .vocabulary import copy_vocabulary

VERIFIED_BATCHES = (1, 3)  # the golden cases come from the last


def export_bundle(
    checkpoint_path: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    network: str | None = None,
    reading: Reading | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
    force: bool = False,
    explain: bool = True,
    tell: Callable[[str], None] = lambda _line: None,
) -> ExportReport:
    """Export a trained checkpoint as a bundle, verified against the source network.

    Args:
        checkpoint_path: .pth, .pt or .safetensors; see `load_checkpoint`. Or a MONAI bundle, a folder or a zip of one.
            Several checkpoints, of one network with one configuration, become an ensemble.
        output: the bundle directory, or a path ending in .zip.
        network: the network's name, if it is not to be recognised.
        reading: which weights of the file are meant, where it leaves that open.
        settings: dotted manifest path -> value, e.g. {"threshold": "0.4", "network.config.slices": "12"}; and
            "repair": the names of `NetworkEntry.repairs` to make.
        force: replace what stands at `output`.
        explain: write the graph of heat maps too, of a network that names feature maps for it.
        tell: called with a line of text at each step.

    Raises:
        ExportError: the checkpoint, a setting or the outcome is refused; nothing is left behind.
        UsageError: nothing may be written at `output`; see `check_output`.
    """
    output = Path(output)
    paths = [checkpoint_path] if isinstance(checkpoint_path, str | Path) else list(checkpoint_path)
    place = check_output(output, inputs=paths, force=force)
    meant = reading or Reading()
    if any(map(is_monai_bundle, paths)):
        with imported(paths, settings, network, tell, meant) as found:
            given = (found.checkpoint,)
            return _export(found.entry, found.config, given, meant, place, found.settings, (), force, explain, tell)

    def read(path: Path) -> Checkpoint:
        tell(f"reading {path}")
        return load_checkpoint(path, meant)

    checkpoints = read_all([Path(path) for path in paths], read)
    networks = Networks()
    checkpoints = tuple(spelled(networks, one, network, meant) for one in checkpoints)
    asked, settings = settings.get(SETTING), {path: value for path, value in settings.items() if path != SETTING}
    name, config, repairs = recognised(networks, checkpoints, network, asked)
    entry = networks.entry(name)
    with networks.blamed(name):
        checkpoints = tuple(dataclasses.replace(one, state=entry.own_names(one.state)) for one in checkpoints)
        if len(checkpoints) > 1:
            entry = EnsembleEntry(entry, len(checkpoints))
        return _export(entry, config, checkpoints, meant, place, settings, repairs, force, explain, tell)


def _export(
    entry: NetworkEntry[Any],
    config: Any,
    checkpoints: Sequence[Checkpoint],
    reading: Reading,
    place: Output,
    settings: Mapping[str, str],
    repairs: Sequence[Repair],
    force: bool,
    explain: bool,
    tell: Callable[[str], None],
) -> ExportReport:
    config_settings, manifest_settings = split_settings(settings)
    config = configure(config, config_settings)
    source, matched = _fill(entry, config, checkpoints, reading.allow_extra)
    manifest, checked, vocabulary, judged = manifest_of(entry, config, checkpoints, matched, source, manifest_settings)
    weights = weights_entries(checkpoints, matched)
    check_output(place.path, inputs=[vocabulary], force=force)

    with scratch_beside(place) as scratch:
        folder = scratch / "bundle"
        folder.mkdir()
        tell(f"writing {entry.title} as ONNX")
        inputs, outputs = entry.tensors(config)
        names = tuple(spec.name for spec in outputs)
        text = manifest.get("text")
        if vocabulary is not None:
            copy_vocabulary(vocabulary, folder)
        example = entry.example_inputs(config, 1, seed=0)
        lean, applied, left_out = prepared(source, entry.rewrites, example)
        manifest["provenance"] |= rewrites_in_provenance(applied) | in_provenance(repairs)
        longest = text and text["max_tokens"]
        export_onnx(lean, example, folder / MODEL, outputs=names, longest=longest, batch=entry.batch)
        del lean
        gc.collect()  # torch's programs are full of cycles, which hold its weights
        manifest["module_titles"] = module_titles(entry.module_titles, folder / MODEL)
        parts = write_parts({"fp32": folder / MODEL}, inputs) if text else None
        if text and parts:
            text["parts"] = parts.model_dump(mode="json")
        tell("verifying against the source network")
        cases = []
        for batch in VERIFIED_BATCHES:
            drawn = entry.example_inputs(config, batch, seed=batch)
            cases.append(Case(drawn, reference(source, drawn, names)))
        raw, raw_case = _raw_case(source, checked, folder)
        cases.append(raw_case)
        lengths = tuple(text["buckets"]) if text else ()
        network = Network(folder / MODEL, inputs, outputs, lengths, Parts.of(parts, folder, "fp32"))
        verifications, skipped = verify(network, cases, entry.batch)
        last = cases[len(VERIFIED_BATCHES) - 1]
        explained = None
        if explain:
            tell("writing the graph of heat maps")
            explained = write_explain(entry, config, source, last.inputs, folder, lengths=lengths, judged=judged)
        manifest["explain"] = explained and explained.spec.model_dump(mode="json")
        stored = {name: tensor[:CASES].numpy() for name, tensor in (last.inputs | last.outputs).items()}
        write_golden(folder / GOLDEN_NAME, stored | (explained.golden if explained else {}) | raw_arrays(raw))
        tell(f"sealing {place.path}")
        signed = is_signed(place.path)
        bundle = write_bundle(folder, manifest, place.path, force=force)
    return ExportReport(
        output=place.path,
        sha256=bundle.sha256,
        network=entry.name,
        config=dict(bundle.manifest.network.config),
        parameters=bundle.manifest.network.parameters,
        ignored=tuple(key for one in matched for key in one.ignored),
        rewrites=applied,
        left_out=left_out,
        verifications=verifications,
        maps=explained.verifications if explained else (),
        sizes={file: facts.size for file, facts in bundle.manifest.files.items()},
        taken=in_words(checkpoints, weights),
        weights=weights,
        notes=(
            *skipped,
            *notes(repairs),
            *unsettled(entry.assumed(config, checkpoints[0].metadata), settings),
            *_unsigned(place.path, signed),
        ),
    )


def _unsigned(output: Path, before: bool) -> list[str]:
    """That a signature is gone, where what stood there before had one."""
    return [f"{UNSIGNED}: {sign_again(output)}"] if before and not is_signed(output) else []


def _fill(
    entry: NetworkEntry[Any], config: Any, checkpoints: Sequence[Checkpoint], allow_extra: Sequence[str]
) -> tuple[nn.Module, tuple[MatchReport, ...]]:
    """The source network, its weights still those of the checkpoints' files and not copies; and how each fits."""
    member = entry.member if isinstance(entry, EnsembleEntry) else entry
    members = [filled(member, config, one, allow_extra) for one in checkpoints]
    check_different(checkpoints, [matched.state for _, matched in members])
    networks = [network for network, _ in members]
    source = entry.joined(config, networks) if isinstance(entry, EnsembleEntry) else networks[0]
    return source, tuple(matched for _, matched in members)


def _raw_case(source: nn.Module, manifest: Manifest, folder: Path) -> tuple[RawCase, Case]:
    """The bundle's raw case with the source network's answer, and the network inputs that it becomes.

    Raises:
        ExportError: the manifest's own steps refuse it.
    """
    text = manifest.text
    tokenizer = None if text is None else Tokenizer(text, folder / text.vocabulary)
    study = draw_study(manifest, () if tokenizer is None else tuple(tokenizer.numbers))
    try:
        prepared = prepare_raw(study, manifest, tokenizer)
    except (StudyError, RecordError, UsageError) as failure:
        raise ExportError(
            f"The manifest refuses a study that was made for it: {failure.problem}", Remedy("Correct it", option="set")
        ) from None
    inputs = {name: torch.from_numpy(array.copy()) for name, array in all_windows(prepared, manifest).items()}
    outputs = reference(source, inputs, tuple(spec.name for spec in manifest.outputs))
    answers = {name: tensor.numpy() for name, tensor in outputs.items()}
    return describe_raw(study, prepared, answers, manifest), Case(inputs, outputs)
