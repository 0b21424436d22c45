"""MedFusionNet: a probability for each finding, from a radiograph, clinical values and a report, or some of them.

The paper gives the parts and few of the connections; docs/networks-medfusionnet.md tells what is read into them.
Parameter names are this project's own, those of DenseNet torchvision's, those of BERT Hugging Face's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..bert import Bert
from ..grey import GreyChannels
from .attention import SelfAttention, real_tokens
from .config import IMAGE, METADATA, MODALITIES, TEXT, MedFusionConfig
from .densenet import ImageEncoder
from .metadata import MetadataAttention, MetadataSelection, MetadataTokenizer
from .pyramid import FeaturePyramid, release_pyramid

ARGUMENTS = {IMAGE: ("image",), METADATA: ("metadata",), TEXT: ("input_ids", "attention_mask")}
"""Modality -> the inputs that it takes, in the order of the network's arguments."""


class MedFusionNet(nn.Module):
    """Some of image, metadata, input_ids, attention_mask, as the configuration has them -> logits [N, K].

    image [N, 3, S, S] normalised as for training, or one grey plane [N, 1, S, S], see GreyChannels. metadata
    [N, columns] as recorded, NaN where missing; of the profile release the F values themselves. input_ids,
    attention_mask [N, L]: word pieces, and 1 where there is one. The probability of each label is the sigmoid of its
    logit; they do not add up to one.
    """

    def __init__(self, config: MedFusionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MedFusionConfig()
        if config.has(IMAGE):
            self.grey = GreyChannels(config.channels)
            self.image_encoder = ImageEncoder(config)
        if config.profile == "release":
            self.feature_pyramid: nn.Module = release_pyramid(config)
            self.metadata_attention = MetadataAttention(config)
            fused = config.width + config.attention
        else:
            self._add_tokens(config)
            fused = config.width * len(self.modalities)
        self.fusion = nn.Linear(fused, config.hidden)
        self.head = nn.ModuleDict(
            {"hidden": nn.Linear(config.hidden, config.head), "output": nn.Linear(config.head, config.labels)}
        )

    def _add_tokens(self, config: MedFusionConfig) -> None:
        width = config.width
        if config.has(IMAGE):
            self.feature_pyramid = FeaturePyramid(config)
            self.region_position = nn.Parameter(torch.randn(config.grid**2, width) * 0.02)
        if config.has(METADATA):
            self.metadata_selection = MetadataSelection(config.features)
            self.metadata_tokenizer = MetadataTokenizer(config)
        if config.has(TEXT):
            self.text_encoder = Bert(config.text)
            self.text_projection = nn.Linear(config.text.width, width)
        if config.label_tokens:
            self.label_queries = nn.Parameter(torch.randn(config.labels, width) * 0.02)
            self.label_head = LabelHead(config)
        self.modality_embedding = nn.Embedding(len(MODALITIES), width)
        self.self_attention = SelfAttention(width)
        self.self_attention_norm = nn.LayerNorm(width)
        self.joint: nn.Module | None = None
        """Set by a rewrite: does what `_attended` does, with constants worked out beforehand."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that the network takes, in order."""
        return tuple(self.config.modalities.split("+"))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of the arguments."""
        return tuple(name for modality in self.modalities for name in ARGUMENTS[modality])

    @property
    def recorded(self) -> int:
        """Clinical columns that training recorded at least: up to the last that is selected, of release all."""
        if self.config.profile == "release" or not self.config.has(METADATA):
            return self.config.features
        return int(self.metadata_selection.feature_index.max()) + 1

    def forward(
        self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None, fourth: Tensor | None = None
    ) -> Tensor:
        given = self._named(first, second, third, fourth)
        if "metadata" in given and self.config.profile == "full":
            given["metadata"] = self.metadata_selection(given["metadata"])
        return self.answer(given)

    def answer(self, given: dict[str, Tensor]) -> Tensor:
        """As `forward`, with the table of z and t [N, 2F] in place of the recorded values."""
        return self.answer_and_weights(given)[0]

    def answer_and_weights(self, given: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """The logits; and of the profile full, by modality, `mean_shares` of its tokens, [N, T] each."""
        self._check(given)
        if self.config.profile == "release":
            maps = self.image_encoder(self.grey(given["image"]))
            parts = [self.feature_pyramid(*maps), self.metadata_attention(given["metadata"])]
            return (self._scores(torch.cat(parts, dim=1)),)
        mask = given.get("attention_mask")
        content = self._content(given)
        outputs, weights = self._attended(content, mask) if self.joint is None else self.joint(content, mask)
        means = [
            _masked_mean(part, mask) if modality == TEXT and mask is not None else part.mean(dim=1)
            for modality, part in zip(self.modalities, outputs, strict=False)
        ]
        logits = self._scores(torch.cat(means, dim=1))
        if self.config.label_tokens:
            logits = logits + self.label_head(outputs[-1])
        return logits, *weights[: len(self.modalities)]

    def _content(self, given: dict[str, Tensor]) -> list[Tensor]:
        """The tokens of each modality [N, T, D], still without what is the same for every case."""
        content = []
        if "image" in given:
            regions = self.feature_pyramid(*self.image_encoder(self.grey(given["image"])))
            content.append(regions.flatten(2).transpose(1, 2))
        if "metadata" in given:
            content.append(self.metadata_tokenizer(given["metadata"]))
        if "input_ids" in given:
            content.append(self.text_projection(self.text_encoder(given["input_ids"], given["attention_mask"])))
        return content

    def _attended(self, content: list[Tensor], mask: Tensor | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What each modality's tokens become, and after them the labels'; and `mean_shares` of the same."""
        tokens = [part + self.offset(modality) for modality, part in zip(self.modalities, content, strict=True)]
        labels = self.config.labels if self.config.label_tokens else 0
        if labels:
            tokens.append(self.label_queries.expand(content[0].shape[0], -1, -1))
        joined = torch.cat(tokens, dim=1)
        sizes = [part.shape[1] for part in tokens]
        real = None
        if mask is not None:
            real = real_tokens(joined.shape[1] - mask.shape[1] - labels, mask, labels)
        taken, shares = self.self_attention(joined, real)
        return self.self_attention_norm(joined + taken).split(sizes, dim=1), shares.split(sizes, dim=1)

    def offset(self, modality: str) -> Tensor:
        """What is added to every token of a modality: [D], of regions [regions, D]."""
        vector = self.modality_embedding.weight[MODALITIES.index(modality)]
        return self.region_position + vector if modality == IMAGE else vector

    def _scores(self, fused: Tensor) -> Tensor:
        hidden = F.relu(self.fusion(fused))
        return self.head["output"](F.relu(self.head["hidden"](hidden)))

    def _named(self, *inputs: Tensor | None) -> dict[str, Tensor]:
        given = [tensor for tensor in inputs if tensor is not None]
        if len(given) != len(self.inputs):
            raise ValueError(f"MedFusionNet: {len(given)} inputs came; expected {', '.join(self.inputs)}")
        return dict(zip(self.inputs, given, strict=True))

    def _check(self, given: dict[str, Tensor]) -> None:
        size = self.config.size
        image, table = given.get("image"), given.get("metadata")
        if image is not None and tuple(image.shape[1:]) not in ((1, size, size), (3, size, size)):
            raise ValueError(f"MedFusionNet: image is {list(image.shape)}; expected [N, 1 or 3, {size}, {size}]")
        if table is not None and tuple(table.shape[1:]) != (self.config.table_values,):
            raise ValueError(
                f"MedFusionNet: the table is {list(table.shape)}; expected [N, {self.config.table_values}]"
            )


class ServedMedFusionNet(MedFusionNet):
    """As a bundle runs it: metadata is the table [N, 2F] that the engine makes of a record, by the same rules."""

    def forward(
        self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None, fourth: Tensor | None = None
    ) -> Tensor:
        return self.answer(self._named(first, second, third, fourth))


class AttendingMedFusionNet(ServedMedFusionNet):
    """As a bundle runs it: the logits and, of the profile full, after them the attention's mean weights."""

    def forward(  # type: ignore[override]
        self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None, fourth: Tensor | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        answer = self.answer_and_weights(self._named(first, second, third, fourth))
        return answer if len(answer) > 1 else answer[0]


class LabelHead(nn.Module):
    """Labels' tokens [N, K, D] -> what each adds to its own logit [N, K]."""

    def __init__(self, config: MedFusionConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(config.labels, config.width) * 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        return (tokens * self.weight).sum(dim=-1)


def _masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean over the word pieces of each text: tokens [N, L, D], mask [N, L] -> [N, D]."""
    weight = mask.to(tokens.dtype)[:, :, None]
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1)
