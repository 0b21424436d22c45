"""AUROC of the demo on phantoms, of a checkpoint or of the exported bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file

from cohort import CachedStudy, load_split
from heads import Head
from mmcaf_engine.evaluation.intervals import DRAWS, bootstrap_interval, paired_interval
from mmcaf_engine.evaluation.metrics import auroc, auroc_of_draws
from mmcaf_engine.evaluation.synthetic import as_volume
from mmcaf_export.networks.mmcaf import MmcafConfig, MmcafNet
from splits import SPLITS

SIZES = ((4.0, 12.0), (12.0, 20.0), (20.0, 30.1))  # mm

F64 = NDArray[np.float64]
Scores = dict[str, F64]


def evaluate(options: argparse.Namespace) -> None:
    """Print the report."""
    torch.set_num_threads(options.threads)
    studies = load_split(options.split, options.cache, options.threads, options.limit)
    scores = torch_scores(studies, options.model)
    if options.bundle is not None:
        scores["image and record"] = bundle_scores(studies, options.bundle)
    print(report(studies, scores, options.split))


def torch_scores(studies: list[CachedStudy], folder: Path) -> Scores:
    """Highest window logit of every study: the network, and the two controls."""
    net = load_network(folder / "demo.safetensors")
    controls = load_file(folder / "controls.safetensors")
    image_only, record_only = _control(controls, "image_only"), _control(controls, "record_only")
    rows = []
    with torch.inference_mode():
        for study in studies:
            count = len(study.windows)
            table = torch.from_numpy(study.table).expand(count, -1)
            f = net.image_encoder(torch.from_numpy(study.windows.values))
            fused = net.fin_cls(net.multiscale_fusion(f, net.kan(table)).flatten(1))
            image = image_only(f, controls["neutral.table"].expand(count, -1))
            record = record_only(controls["neutral.features"].expand(count, -1), table)
            rows.append([float(v.max()) for v in (fused, image, record)])
    columns = np.array(rows).T
    return dict(zip(("image and record", "image only", "record only"), columns, strict=True))


def bundle_scores(studies: list[CachedStudy], bundle: Path) -> F64:
    """Study logits of the exported bundle, through the engine's own preprocessing and session."""
    from mmcaf_engine import load_bundle, open_session
    from mmcaf_engine.demo import make_phantom, record
    from mmcaf_engine.inputs.windows import preprocess
    from mmcaf_engine.record.record import read_record

    loaded = load_bundle(bundle)
    logits = []
    with open_session(loaded) as session:
        for study in studies:
            phantom = make_phantom(study.patient.seed)
            image = preprocess(as_volume(phantom.hu, phantom.spacing_mm), loaded.manifest.preprocessing).values
            table = read_record(record(phantom.patient), loaded.manifest.table).table()
            tables = table.repeat(len(image), axis=0)
            logits.append(float(session.run({"image": image, "table": tables})["logit"].max()))
    return np.array(logits)


def load_network(path: Path) -> MmcafNet:
    """The checkpoint in eval mode, its shape taken from the metadata."""
    with safe_open(path, "pt") as file:
        notes = file.metadata()
    config = MmcafConfig(
        slices=int(notes["slices"]), size=int(notes["size"]), width=float(notes["width"]), fusion="tokens"
    )
    net = MmcafNet(config)
    net.load_state_dict(load_file(path))
    return net.eval()


def report(studies: list[CachedStudy], scores: Scores, split: str) -> str:
    """Markdown tables: overall, paired differences, by nodule diameter."""
    labels = np.array([s.label for s in studies])
    diameters = np.array([s.patient.nodule.diameter_mm for s in studies])
    fused = scores["image and record"]
    seeds = SPLITS[split]
    lines = [
        f"{len(studies)} phantoms, seeds {seeds.start} to {seeds.start + len(studies) - 1} ({split}); "
        f"{int(labels.sum())} squamous-cell, {int((1 - labels).sum())} adenocarcinoma; "
        f"95 % bootstrap intervals, {DRAWS} draws.",
        "",
        "| input | AUROC | 95 % interval |",
        "|---|---|---|",
    ]
    for name, values in scores.items():
        low, high = bootstrap_interval(labels, auroc_of_draws(labels, values))
        lines.append(f"| {name} | {auroc(labels, values):.3f} | {low:.3f} to {high:.3f} |")
    lines += ["", "| paired difference | AUROC | 95 % interval |", "|---|---|---|"]
    for name in ("image only", "record only"):
        other = scores[name]
        low, high = paired_interval(labels, auroc_of_draws(labels, fused), auroc_of_draws(labels, other))
        gain = auroc(labels, fused) - auroc(labels, other)
        lines.append(f"| image and record minus {name} | {gain:+.3f} | {low:+.3f} to {high:+.3f} |")
    lines += [
        "",
        "| nodule diameter | phantoms | " + " | ".join(scores) + " |",
        "|---|---|" + "---|" * len(scores),
    ]
    for low_mm, high_mm in SIZES:
        chosen = (diameters >= low_mm) & (diameters < high_mm)
        cells = [f"{auroc(labels[chosen], values[chosen]):.3f}" for values in scores.values()]
        name = f"{low_mm:.0f} to {high_mm:.0f} mm"
        lines.append(f"| {name} | {int(chosen.sum())} | " + " | ".join(cells) + " |")
    accuracy = float(((fused > 0.0) == (labels == 1)).mean())
    lines += ["", f"Image and record at threshold 0.5: accuracy {accuracy:.3f}."]
    return "\n".join(lines)


def _control(tensors: dict[str, torch.Tensor], name: str) -> Head:
    head = Head()
    head.load_state_dict({k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")})
    return head.eval()
