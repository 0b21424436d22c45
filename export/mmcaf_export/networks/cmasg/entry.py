"""CMASG-Bi-LSTM as the exporter sees it: recognition, names, test inputs, and its default manifest."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mmcaf_engine.manifest import AttentionSpec, Code, ImageSpec, TensorSpec, TextSpec

from ..entry import NetworkEntry
from ..feature_map import FeatureMap
from . import adjoint as adjoint  # the gradient of an operator
from .config import CELL, CmasgConfig
from .density import OUTPUT
from .names import SIGNATURE, UNREAD, configuration, own_names
from .network import CmasgNet, ServedCmasgNet
from .rewrites import EXPLAINED, REWRITES

LONGEST_TEXT = 128
BUCKETS = (32, 64, 96)
"""Below the longest: BERT's work grows with the length, and half of all chest reports fit the second."""

DEIDENTIFIED = "XXXX"
LABEL_CODES = {
    "normal": Code(scheme="SCT", value="408573005", meaning="Imaging result normal"),
    "abnormal": Code(scheme="SCT", value="408574004", meaning="Imaging result abnormal"),
}
"""The labels of two classes in the order of the classes, each with its code in SNOMED CT."""

_WORD = 5  # word pieces of the example text start here; those before it are markers in small vocabularies too


class CmasgEntry(NetworkEntry[CmasgConfig]):
    """CMASG-Bi-LSTM: a chest radiograph and its report -> one logit per class."""

    name = "cmasg"
    title = "CMASG-Bi-LSTM"
    signature = SIGNATURE
    dead = (r".*\.num_batches_tracked", UNREAD)
    rewrites = REWRITES
    explained_rewrites = EXPLAINED
    module_titles = (
        (r"image_encoder\.(?:conv1|bn1)", "ResNet stem"),
        (r"image_encoder\.layer(\d)", r"ResNet stage \1"),
        (r"image_encoder", "ResNet stem"),
        (r"image_projection", "image projection"),
        (r"text_encoder\.embeddings", "BERT embeddings"),
        (r"text_encoder\.encoder\.layer\.(\d+)", r"BERT layer \1"),
        (r"text_projection", "text projection"),
        (r"cross_attention", "cross-modal attention"),
        (r"modality_softmax", "modality weights"),
        (r"bilstm", "gated Bi-LSTM"),
        (r"classifier", "classifier"),
    )
    assumptions: ClassVar[Mapping[str, str]] = {
        "labels": "two classes are normal and abnormal, in this order, as the publication's data is usually labelled; "
        "others have no names. Give them with --set 'labels=[\"...\", ...]'",
        "text.fields": "the report is the record's findings and impression. A network that was trained on the "
        "indication alone needs --set 'text.fields=[\"indication\"]'",
        "text.lowercase": "the word pieces are of lower-case text, as those of bert-base-uncased; a cased vocabulary "
        "needs --set text.lowercase=false",
    }

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return own_names(state)

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> CmasgConfig:
        return configuration(state, metadata)

    def build(self, config: CmasgConfig) -> CmasgNet:
        return ServedCmasgNet(config).eval()

    def tensors(self, config: CmasgConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        return (
            (
                TensorSpec(name="image", kind="image", shape=("N", 1, config.size, config.size)),
                TensorSpec(name="input_ids", kind="tokens", dtype="int64", shape=("N", "L")),
                TensorSpec(name="attention_mask", kind="token_mask", dtype="int64", shape=("N", "L")),
            ),
            (
                TensorSpec(name="logits", kind="score", shape=("N", config.classes)),
                *_weights(config),
                *_density(config),
            ),
        )

    def explained(self, config: CmasgConfig) -> tuple[FeatureMap, ...]:
        """The ResNet's last map, whose cells are the image's tokens."""
        return (FeatureMap("gradcam", "last image features", "image_encoder", "image"),)

    def example_inputs(self, config: CmasgConfig, batch: int, seed: int) -> dict[str, Tensor]:
        """Grey blocks under coarse noise, of few levels so that they store small; texts of different lengths."""
        generator = np.random.default_rng(seed)
        blocks = config.size // CELL
        coarse = generator.integers(0, 12, (batch, 1, blocks, blocks)).repeat(CELL // 4, -2).repeat(CELL // 4, -1)
        levels = np.clip(coarse + generator.integers(-3, 4, coarse.shape), 0, 15).repeat(4, -2).repeat(4, -1)
        image = (levels / 15 - config.channels.grey_mean) / config.channels.grey_std
        longest = min(config.longest_text, 16 + 8 * (seed % 4))
        lengths = generator.integers(max(1, longest // 3), longest + 1, batch)
        mask = np.arange(longest) < lengths[:, None]
        first = min(_WORD, config.text_vocabulary - 1)
        words = generator.integers(first, config.text_vocabulary, (batch, longest))
        return {
            "image": torch.from_numpy(image.astype(np.float32)),
            "input_ids": torch.from_numpy(np.where(mask, words, 0)),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        }

    def manifest(self, config: CmasgConfig) -> dict[str, Any]:
        longest = min(config.longest_text, LONGEST_TEXT)
        channels = config.channels
        return {
            "name": "CMASG-Bi-LSTM",
            "description": "Class of a chest radiograph with its report. The labels it was trained on were drawn from "
            "reports like the one that it reads, so that a high accuracy says little about how it reads the image.",
            "image": ImageSpec(
                size=(config.size, config.size), channels=1, mean=(channels.grey_mean,), std=(channels.grey_std,)
            ).model_dump(mode="json"),
            "text": TextSpec(
                lowercase=True,
                max_tokens=longest,
                buckets=(*(length for length in BUCKETS if length < longest), longest),
                remove=(DEIDENTIFIED,),
                fields=("findings", "impression"),
            ).model_dump(mode="json"),
            "labels": _labels(config.classes),
            "label_codes": {label: code.model_dump(mode="json") for label, code in LABEL_CODES.items()}
            if config.classes == len(LABEL_CODES)
            else {},
            "activation": "softmax",
            "aggregation": {"method": "mean"},
            "attention": [spec.model_dump(mode="json") for spec in _attention(config)],
            "licence": "not stated; that of the checkpoint applies",
            "intended_use": "Research only: no decision about a patient may rest on it. It needs the radiologist's "
            "report, which does not exist before somebody has read the image.",
            "demonstration": False,
        }

    def describe(self, config: CmasgConfig, network: nn.Module, metadata: Mapping[str, str]) -> dict[str, Any]:
        document = self.manifest(config)
        if "labels" in metadata:
            document["labels"] = _read_labels(metadata["labels"], config.classes)
            known = document["label_codes"]
            document["label_codes"] = {label: known[label] for label in document["labels"] if label in known}
        return document


def _weights(config: CmasgConfig) -> tuple[TensorSpec, ...]:
    """Outputs of the cross-attention, in the order of the network's."""
    if not config.cross_attention:
        return ()
    return (
        TensorSpec(name="word_weights", kind="attention", shape=("N", "L"), optional=True),
        TensorSpec(name="region_weights", kind="attention", shape=("N", (config.size // CELL) ** 2), optional=True),
    )


def _density(config: CmasgConfig) -> tuple[TensorSpec, ...]:
    """The share of open gates, last of the network's outputs."""
    return (TensorSpec(name=OUTPUT, kind="diagnostic", shape=("N", 2), optional=True),) if config.gate_density else ()


def _attention(config: CmasgConfig) -> tuple[AttentionSpec, ...]:
    if not config.cross_attention:
        return ()
    return (
        AttentionSpec(
            output="word_weights",
            title="words that regions take from",
            input="input_ids",
            meaning="share of a word piece in what the regions of the image take from the report, mean over the "
            "regions",
        ),
        AttentionSpec(
            output="region_weights",
            title="regions that words take from",
            grid=(config.size // CELL, config.size // CELL),
            input="image",
            meaning="share of a region in what the word pieces of the report take from the image, mean over the "
            "word pieces",
        ),
    )


def _labels(classes: int) -> list[str]:
    return list(LABEL_CODES) if classes == len(LABEL_CODES) else [f"class {number}" for number in range(classes)]


def _read_labels(text: str, classes: int) -> list[str]:
    """Names of the classes as the file's metadata gives them, a JSON list."""
    try:
        labels = json.loads(text)
    except ValueError:
        labels = None
    if not isinstance(labels, list) or len(labels) != classes or not all(isinstance(name, str) for name in labels):
        raise ValueError(f"its metadata's labels are {text[:100]!r}; a JSON list of {classes} names was expected")
    return labels
