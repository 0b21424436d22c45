"""What distinguishes one MedFusionNet from another, as plain values."""

from dataclasses import dataclass
from typing import Literal, get_args

from ..bert import BertConfig
from ..grey import NORMALISATIONS, Normalisation

Profile = Literal["full", "release"]
"""full: what the paper's abstract describes. release: an independent repair of the authors' class, see names."""

Taps = Literal["stages", "transitions"]
"""Where the pyramid reads the backbone: the last map of each stage, or the maps that the transitions make."""

IMAGE, METADATA, TEXT = "image", "metadata", "text"
MODALITIES = (IMAGE, METADATA, TEXT)

CELL = 32
"""Rows and columns of the image that one region stands for."""


@dataclass(frozen=True)
class MedFusionConfig:
    """Switches and sizes; the defaults are those of the network for chest radiographs without reports.

    profile, fpn_taps: see Profile and Taps; modalities: some of MODALITIES in their order, joined by "+".
    labels: K; features: F, the clinical values after selection; size: rows and columns of the image.
    width: D, of tokens and pyramid; hidden: of the fusion; head: of the layer before the scores; attention: of the
    profile release, of its attention over the clinical values.
    stem, growth, bottleneck, blocks: of DenseNet, in torchvision's words init_features, growth_rate, bn_size,
    block_config; with the taps transitions there is no fourth block. fpn_smoothing: one 3x3 convolution on the finest
    map; label_tokens: whether labels take part in the attention; normalisation: a key of NORMALISATIONS.
    text_*: of BERT, see BertConfig; 0 without reports.

    Raises ValueError for values that make no network.
    """

    profile: Profile = "full"
    modalities: str = f"{IMAGE}+{METADATA}"
    labels: int = 14
    features: int = 4
    size: int = 224
    width: int = 128
    hidden: int = 128
    head: int = 64
    attention: int = 64
    stem: int = 64
    growth: int = 32
    bottleneck: int = 4
    blocks: str = "6-12-24-16"
    fpn_taps: Taps = "stages"
    fpn_smoothing: bool = False
    label_tokens: bool = True
    normalisation: str = "imagenet"
    text_vocabulary: int = 0
    text_width: int = 0
    text_layers: int = 0
    text_heads: int = 0
    text_intermediate: int = 0
    text_positions: int = 0
    text_types: int = 0

    def __post_init__(self) -> None:
        for name, known in (("profile", get_args(Profile)), ("fpn_taps", get_args(Taps))):
            if getattr(self, name) not in known:
                raise _wrong(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
        chosen = self.modalities.split("+")
        if not chosen[0] or chosen != [name for name in MODALITIES if name in chosen]:
            raise _wrong(f"modalities are {self.modalities!r}; expected some of {'+'.join(MODALITIES)}, in this order")
        if self.normalisation not in NORMALISATIONS:
            raise _wrong(f"normalisation is {self.normalisation!r}; expected one of {', '.join(NORMALISATIONS)}")
        for name in ("labels", "width", "hidden", "head", "attention", "stem", "growth", "bottleneck"):
            if getattr(self, name) < 1:
                raise _wrong(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.has(METADATA) and self.features < 1:
            raise _wrong(f"features is {self.features}; expected at least 1 with metadata")
        if self.size < CELL or self.size % CELL:
            raise _wrong(f"size is {self.size}; expected a multiple of {CELL}")
        if self.profile == "release" and self.modalities != f"{IMAGE}+{METADATA}":
            raise _wrong(f"the profile release takes image+metadata; {self.modalities} came")
        self._check_backbone()
        if self.has(TEXT):
            self.text  # noqa: B018  raises for sizes that make no BERT

    def _check_backbone(self) -> None:
        parts, count = self.blocks.split("-"), 3 if self.fpn_taps == "transitions" else 4
        if len(parts) != count or not all(part.isdecimal() and int(part) > 0 for part in parts):
            example = "-".join(("6", "12", "24", "16")[:count])
            raise _wrong(f"blocks is {self.blocks!r}; expected the layers of {count} blocks, such as {example}")

    def has(self, modality: str) -> bool:
        """Whether the network takes this modality."""
        return modality in self.modalities.split("+")

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers of the dense blocks."""
        return tuple(map(int, self.blocks.split("-")))

    @property
    def block_channels(self) -> tuple[int, ...]:
        """Channels that the dense blocks end with: 256, 512, 1024, 1024 of DenseNet-121."""
        made, channels = [], self.stem
        for layers in self.layers:
            channels += layers * self.growth
            made.append(channels)
            channels //= 2
        return tuple(made)

    @property
    def tapped_channels(self) -> tuple[int, int, int]:
        """Channels of the maps that the pyramid reads, from fine to coarse."""
        first, second, third = self.block_channels[-3:]
        return (first // 2, second // 2, third // 2) if self.fpn_taps == "transitions" else (first, second, third)

    @property
    def grid(self) -> int:
        """Rows and columns of regions: 7 for 224 pixels."""
        return self.size // CELL

    @property
    def table_values(self) -> int:
        """Columns of the table that an exported network takes: each value and, in the profile full, each threshold."""
        return self.features if self.profile == "release" else 2 * self.features

    @property
    def channels(self) -> Normalisation:
        """How training normalised the image."""
        return NORMALISATIONS[self.normalisation]

    @property
    def text(self) -> BertConfig:
        """Of the network that reads reports."""
        return BertConfig(
            vocabulary=self.text_vocabulary,
            width=self.text_width,
            layers=self.text_layers,
            heads=self.text_heads,
            intermediate=self.text_intermediate,
            positions=self.text_positions,
            types=self.text_types,
        )


def _wrong(what: str) -> ValueError:
    return ValueError(f"MedFusionNet config: {what}")
