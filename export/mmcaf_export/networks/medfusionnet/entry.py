"""MedFusionNet as the exporter sees it: recognition, names, test inputs, and its default manifest."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mmcaf_engine.manifest import AttentionSpec, Code, ImageSpec, TensorSpec, TextSpec

from ..bert import BertConfig, bert_config, bert_names
from ..entry import NetworkEntry, whole_number
from ..feature_map import FeatureMap
from .config import CELL, IMAGE, METADATA, MODALITIES, TEXT, MedFusionConfig
from .densenet import densenet_names
from .names import INDEPENDENT, REPAIR, TRANSITIONS, UNREACHED, has_authors_names, plain_names, taps
from .network import AttendingMedFusionNet, MedFusionNet
from .rewrites import REWRITES
from .sidecar import read_side_car
from .table import table_of_raw_values, table_of_selection

DOI = "10.1038/s43856-025-01334-3"
"""Of the publication; other networks bear the same name."""

LABEL_CODES = {
    "Cardiomegaly": Code(scheme="SCT", value="287272002", meaning="Cardiomegaly"),
    "Effusion": Code(scheme="SCT", value="60046008", meaning="Pleural effusion"),
    "Mass": Code(scheme="SCT", value="4147007", meaning="Mass"),
    "Nodule": Code(scheme="SCT", value="27925004", meaning="Nodule"),
    "Pneumothorax": Code(scheme="SCT", value="36118008", meaning="Pneumothorax"),
    "Edema": Code(scheme="SCT", value="19242006", meaning="Pulmonary edema"),
    "Fibrosis": Code(scheme="SCT", value="112674009", meaning="Fibrosis"),
}
"""Labels of chest radiographs in SNOMED CT, as far as PS3.16 has a code for what they mean."""

_HEAD = ("fusion.weight", "head.hidden.weight", "head.output.weight")
_STEM = "image_encoder.features.conv0.weight"
_FIRST = "image_encoder.features.denseblock1.denselayer1."
_LAYER = re.compile(r"image_encoder\.features\.denseblock([1-4])\.denselayer(\d+)\.conv1\.weight")
_POSITIONS = "region_position"
_TOKENS = "metadata_tokenizer.value_weight"
_UNREAD = re.compile(r"image_encoder\.features\.(?:denseblock4|norm5)\..*")
_LONGEST_TEXT = 512
_WORD = 5  # word pieces of the example text start here; those before it are markers in small vocabularies too


class MedFusionEntry(NetworkEntry[MedFusionConfig]):
    """MedFusionNet: image, clinical values and report, or some of them -> one logit per finding."""

    name = "medfusionnet"
    title = "MedFusionNet"
    signature = _HEAD
    dead = (r".*\.num_batches_tracked", UNREACHED)
    repairs = (REPAIR,)
    rewrites = REWRITES
    module_titles = (
        (r"image_encoder\.features\.(?:conv0|norm0)", "DenseNet stem"),
        (r"image_encoder\.features\.denseblock(\d)", r"dense block \1"),
        (r"image_encoder\.features\.transition(\d)", r"transition \1"),
        (r"image_encoder", "image features"),
        (r"feature_pyramid", "feature pyramid"),
        (r"metadata_tokenizer", "metadata tokens"),
        (r"text_encoder\.embeddings", "BERT embeddings"),
        (r"text_encoder\.encoder\.layer\.(\d+)", r"BERT layer \1"),
        (r"text_encoder", "BERT"),
        (r"text_projection", "text projection"),
        (r"joint", "joint attention"),
        (r"fusion|head|label_head", "classifier"),
    )
    assumptions: ClassVar[Mapping[str, str]] = {
        "labels": "a network of 14 labels with images has those of ChestX-ray14, and one of 4 labels with clinical "
        "values alone those of the cervical data set, in alphabetical and in published order; others have no names. "
        "Give the order of training with --set 'labels=[\"...\", ...]'",
        "table.fields": "unless the file's metadata names the clinical columns, they are those of the same data set, "
        "with sex M 1, F 0 and view PA 0, AP 1",
        "network.config.normalisation": "unless the file's metadata says otherwise, the profile full got images with "
        "ImageNet's mean and deviation, and release with mean and deviation 0.5, as the independent repair "
        f"({INDEPENDENT}) was trained; the authors' script feeds random numbers. Set another "
        "with --set network.config.normalisation=imagenet",
        "thresholds": "unless the file's metadata gives thresholds, a finding is present from a probability of 0.5 on",
    }

    def needed_repairs(self, state: Mapping[str, Tensor]) -> tuple[str, ...]:
        return (REPAIR.name,) if has_authors_names(state) else ()

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Names of the authors' class, its independent repair, older DenseNet files and BERT files become ours."""
        renamed = plain_names(state)
        if not all(key in renamed for key in _HEAD):
            return dict(state)
        renamed = bert_names(densenet_names(renamed), "text_encoder.")
        if taps(renamed) == TRANSITIONS:
            renamed = {key: tensor for key, tensor in renamed.items() if not _UNREAD.fullmatch(key)}
        return renamed

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> MedFusionConfig:
        hidden, fused = _shape(state, _HEAD[0])
        labels, head = _shape(state, _HEAD[2])
        sizes: dict[str, Any] = {"labels": labels, "head": head, "hidden": hidden}
        release = "metadata_attention.value.weight" in state
        held = {IMAGE: _STEM in state, METADATA: release or _TOKENS in state, TEXT: "text_projection.weight" in state}
        modalities = [name for name in MODALITIES if held[name]]
        if not modalities:
            raise ValueError(f"it has none of {_STEM}, {_TOKENS} and text_projection.weight")
        if release:
            attention, features = _shape(state, "metadata_attention.value.weight")
            sizes |= {"profile": "release", "features": features, "attention": attention, "width": fused - attention}
            sizes["normalisation"] = "half"
        else:
            sizes |= {"width": fused // len(modalities), "label_tokens": "label_queries" in state}
            sizes["features"] = _shape(state, _TOKENS)[0] if held[METADATA] else 0
        if held[IMAGE]:
            sizes |= _backbone(state) | _image(state, metadata)
        if held[TEXT]:
            sizes |= _text(bert_config(state, "text_encoder."))
        if "normalisation" in metadata:
            sizes["normalisation"] = metadata["normalisation"]
        return MedFusionConfig(modalities="+".join(modalities), **sizes)

    def build(self, config: MedFusionConfig) -> MedFusionNet:
        return AttendingMedFusionNet(config).eval()

    def tensors(self, config: MedFusionConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        inputs = []
        if config.has(IMAGE):
            inputs.append(TensorSpec(name="image", kind="image", shape=("N", 1, config.size, config.size)))
        if config.has(METADATA):
            inputs.append(TensorSpec(name="metadata", kind="table", shape=("N", config.table_values)))
        if config.has(TEXT):
            inputs.append(TensorSpec(name="input_ids", kind="tokens", dtype="int64", shape=("N", "L")))
            inputs.append(TensorSpec(name="attention_mask", kind="token_mask", dtype="int64", shape=("N", "L")))
        return tuple(inputs), (TensorSpec(name="logits", kind="score", shape=("N", config.labels)), *_weights(config))

    def explained(self, config: MedFusionConfig) -> tuple[FeatureMap, ...]:
        """The map that sums all levels of the pyramid; of the profile release DenseNet's last that is read."""
        if not config.has(IMAGE):
            return ()
        last = f"image_encoder.features.denseblock{len(config.layers)}"
        module = last if config.profile == "release" else "feature_pyramid"
        return (FeatureMap("gradcam", "last image features", module, "image"),)

    def example_inputs(self, config: MedFusionConfig, batch: int, seed: int) -> dict[str, Tensor]:
        """Grey blocks under coarse noise, of few levels so that they store small; values, thresholds; word pieces."""
        generator = np.random.default_rng(seed)
        found: dict[str, Tensor] = {}
        if config.has(IMAGE):
            blocks = config.size // CELL
            coarse = generator.integers(0, 12, (batch, 1, blocks, blocks)).repeat(CELL // 4, -2).repeat(CELL // 4, -1)
            levels = np.clip(coarse + generator.integers(-3, 4, coarse.shape), 0, 15).repeat(4, -2).repeat(4, -1)
            channels = config.channels
            image = (levels / 15 - channels.grey_mean) / channels.grey_std
            found["image"] = torch.from_numpy(image.astype(np.float32))
        if config.has(METADATA):
            values = generator.normal(0, 1, (batch, config.features))
            crossed = generator.integers(0, 2, (batch, config.table_values - config.features))
            found["metadata"] = torch.from_numpy(np.concatenate([values, crossed], axis=1).astype(np.float32))
        if config.has(TEXT):
            longest = min(config.text_positions, 24)
            lengths = generator.integers(max(1, longest // 2), longest + 1, batch)
            mask = np.arange(longest) < lengths[:, None]
            first = min(_WORD, config.text_vocabulary - 1)
            words = generator.integers(first, config.text_vocabulary, (batch, longest))
            found["input_ids"] = torch.from_numpy(np.where(mask, words, 0))
            found["attention_mask"] = torch.from_numpy(mask.astype(np.int64))
        return found

    def manifest(self, config: MedFusionConfig) -> dict[str, Any]:
        return self.describe(config, self.build(config), {})

    def describe(self, config: MedFusionConfig, network: nn.Module, metadata: Mapping[str, str]) -> dict[str, Any]:
        if not isinstance(network, MedFusionNet):
            raise TypeError(f"a {type(network).__name__} came; a MedFusionNet was expected")
        side_car = read_side_car(metadata, config, network.recorded)
        document: dict[str, Any] = {
            "name": "MedFusionNet",
            "description": f"Findings, each with its own probability, from {config.modalities.replace('+', ', ')}. "
            f"DOI {DOI}.",
            "labels": list(side_car.labels),
            "label_codes": {
                label: LABEL_CODES[label].model_dump(mode="json") for label in side_car.labels if label in LABEL_CODES
            },
            "activation": "independent",
            "thresholds": list(side_car.thresholds),
            "risk_levels": [spec.model_dump(mode="json") for spec in side_car.risk_levels],
            "aggregation": {"method": "mean"},
            "attention": [spec.model_dump(mode="json") for spec in _attention(config)],
            "licence": "not stated; that of the checkpoint applies",
            "intended_use": "Research only: no decision about a patient may rest on it.",
            "demonstration": False,
        }
        if config.has(IMAGE):
            channels = config.channels
            document["image"] = ImageSpec(
                size=(config.size, config.size), channels=1, mean=(channels.grey_mean,), std=(channels.grey_std,)
            ).model_dump(mode="json")
        if config.has(METADATA):
            document["table"] = (
                table_of_raw_values(side_car.columns)
                if config.profile == "release"
                else table_of_selection(network.metadata_selection, side_car.columns, side_car.threshold_labels)
            )
        if config.has(TEXT):
            longest = min(config.text_positions, _LONGEST_TEXT)
            buckets = [length for length in (32, 64, 128, 256) if length < longest]
            document["text"] = TextSpec(
                lowercase=True, max_tokens=longest, buckets=(*buckets, longest), fields=("report",)
            ).model_dump(mode="json")
        return document


def _weights(config: MedFusionConfig) -> tuple[TensorSpec, ...]:
    """Outputs of the joint attention, in the order of the network's; the release attends to one token."""
    if config.profile != "full":
        return ()
    weights: dict[str, int | Literal["L"]] = {}
    if config.has(IMAGE):
        weights["region_weights"] = config.grid**2
    if config.has(METADATA):
        weights["field_weights"] = config.features
    if config.has(TEXT):
        weights["word_weights"] = "L"
    return tuple(
        TensorSpec(name=name, kind="attention", shape=("N", count), optional=True) for name, count in weights.items()
    )


def _attention(config: MedFusionConfig) -> tuple[AttentionSpec, ...]:
    of = {
        "region_weights": ("regions", "image", "a region"),
        "field_weights": ("clinical values", "metadata", "a clinical value"),
        "word_weights": ("words", "input_ids", "a word piece"),
    }
    return tuple(
        AttentionSpec(
            output=spec.name,
            title=f"joint attention to {of[spec.name][0]}",
            grid=(config.grid, config.grid) if spec.name == "region_weights" else None,
            input=of[spec.name][1],
            meaning=f"share of {of[spec.name][2]} in what a token takes from all tokens, mean over regions, clinical "
            "values, word pieces and labels alike",
        )
        for spec in _weights(config)
    )


def _shape(state: Mapping[str, Tensor], key: str, axes: int = 2) -> torch.Size:
    shape = state[key].shape
    if len(shape) != axes:
        raise ValueError(f"{key} is {list(shape)}; {axes} axes are expected")
    return shape


def _backbone(state: Mapping[str, Tensor]) -> dict[str, Any]:
    counts = [0, 0, 0, 0]
    for key in state:
        if found := _LAYER.fullmatch(key):
            block = int(found.group(1)) - 1
            counts[block] = max(counts[block], int(found.group(2)))
    for key in ("conv1.weight", "conv2.weight"):
        if _FIRST + key not in state:
            raise ValueError(f"{_FIRST}{key}, which tells a width, is missing")
    growth = _shape(state, f"{_FIRST}conv2.weight", 4)[0]
    return {
        "stem": _shape(state, _STEM, 4)[0],
        "growth": growth,
        "bottleneck": _shape(state, f"{_FIRST}conv1.weight", 4)[0] // max(1, growth),
        "blocks": "-".join(str(count) for count in counts if count),
        "fpn_taps": taps(state),
        "fpn_smoothing": "feature_pyramid.smooth.0.weight" in state,
    }


def _image(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, Any]:
    """The image's size, which the stored positions of the regions tell."""
    if _POSITIONS not in state:
        return {"size": whole_number("size", metadata.get("size", "224"))}
    regions = _shape(state, _POSITIONS)[0]
    side = round(regions**0.5)
    if side * side != regions:
        raise ValueError(f"{_POSITIONS} has {regions} rows, which make no square")
    return {"size": side * CELL}


def _text(config: BertConfig) -> dict[str, Any]:
    names = ("vocabulary", "width", "layers", "heads", "intermediate", "positions", "types")
    return {f"text_{name}": getattr(config, name) for name in names}
