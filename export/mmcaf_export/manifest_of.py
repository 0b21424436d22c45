"""The manifest of a bundle that is about to be written, from the network's entry, its checkpoints and the settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from mmcaf_engine import __version__
from mmcaf_engine.bundle.golden import GOLDEN_NAME
from mmcaf_engine.errors import BundleError, ExportError, Remedy
from mmcaf_engine.manifest import Manifest, PointingStudy, describe_validation
from mmcaf_engine.result.decisions import decision_for

from .checkpoint import Checkpoint
from .match import MatchReport
from .members import described_alike, joint_sha256, members_in_manifest
from .networks.ensemble import EnsembleEntry
from .networks.entry import NetworkEntry
from .networks.recorded import recorded
from .onnx_export import OPSET
from .rewrites.rewrite import Applied
from .taken import weights_entries
from .vocabulary import VOCABULARY, vocabulary_given

MODEL = "model.onnx"


def manifest_of(
    entry: NetworkEntry[Any],
    config: Any,
    checkpoints: Sequence[Checkpoint],
    matched: Sequence[MatchReport],
    network: nn.Module,
    settings: Mapping[str, str],
) -> tuple[dict[str, Any], Manifest, Path | None, PointingStudy | None]:
    """The manifest without its files, the same validated before the long work starts, the vocabulary it names, and how
    far its heat maps localise.

    Args:
        matched: how each of the checkpoints fits. network: the source, with its weights.
        settings: dotted manifest path -> value.

    Raises:
        ExportError: entry, checkpoints and settings do not make a valid manifest.
    """
    inputs, outputs = entry.tensors(config)
    described = described_alike(entry, config, checkpoints, network, settings)
    weights = weights_entries(checkpoints, matched)
    if isinstance(entry, EnsembleEntry):
        described["ensemble"] |= {"members": members_in_manifest(checkpoints, weights)}
    judged = described.pop("explain")["judged"]
    labels, codes = described.get("labels"), described["label_codes"]
    if "label_codes" not in settings and isinstance(labels, list):  # An entry's own codes are of its own labels.
        described["label_codes"] = {label: code for label, code in codes.items() if label in labels}
    vocabulary = vocabulary_given(described, settings, network)
    if vocabulary is not None:
        described["text"]["vocabulary"] = VOCABULARY
    document = {
        **described,
        "network": {
            "name": entry.name,
            "config": recorded(config),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            **({} if entry.batch is None else {"batch": entry.batch}),
        },
        "inputs": [spec.model_dump(mode="json") for spec in inputs],
        "outputs": [spec.model_dump(mode="json") for spec in outputs],
        "models": {"fp32": MODEL},
        "provenance": {
            "checkpoint_sha256": joint_sha256(checkpoints),
            "checkpoint_format": ", ".join(dict.fromkeys(one.kind for one in checkpoints)),
            "dead_keys_ignored": sum(len(one.ignored) for one in matched),
            "exporter": f"mmcaf-infer {__version__}",
            "framework": f"torch {torch.__version__}",
            "opset": OPSET,
            **({"weights": weights[0].model_dump(mode="json")} if len(weights) == 1 and weights[0] else {}),
        },
    }
    placeholder = {"sha256": "0" * 64, "size": 0}
    files = {MODEL: placeholder, GOLDEN_NAME: placeholder} | ({VOCABULARY: placeholder} if vocabulary else {})
    try:
        checked = Manifest.model_validate({**document, "files": files})
        decision_for(checked)
        study = None if judged is None else PointingStudy.model_validate(judged)
    except ValidationError as failure:
        raise ExportError(
            f"The settings do not make a valid manifest: {describe_validation(failure)}.",
            Remedy("Correct them", option="set"),
        ) from None
    except BundleError as failure:
        raise ExportError(failure.problem, Remedy("Correct the settings", option="set")) from None
    return document, checked, vocabulary, study


def rewrites_in_provenance(applied: Sequence[Applied]) -> dict[str, Any]:
    """What the rewrites saved, as entries of the manifest's provenance."""
    if not applied:
        return {}
    entries = [
        {
            "name": done.rewrite.name,
            "description": done.rewrite.description,
            "flops_saved": done.before.flops - done.after.flops,
            "parameters_saved": done.before.parameters - done.after.parameters,
        }
        for done in applied
    ]
    return {"rewrites": entries, "flops": applied[-1].after.flops}
