"""What distinguishes one CMASG-Bi-LSTM from another."""

from dataclasses import dataclass, field

from ..bert import BertConfig
from ..grey import NORMALISATIONS, Normalisation
from ..recorded import LATER

STEM = 64
"""Channels of a ResNet-50's stem at width 1."""

CELL = 32
"""Rows and columns of the image that one of its tokens stands for."""

_CHOICES = {
    "gate_value": ("soft", "hard"),
    "gate_state": ("reset", "hold"),
    "gate_input": ("x", "xh"),
    "output_gate_source": ("o", "i"),
    "pooling": ("mean", "last"),
    "normalisation": tuple(NORMALISATIONS),
}


@dataclass(frozen=True)
class CmasgConfig:
    """Sizes and variants; the defaults are the recommended reading of the publication, which gives few of them.

    size: rows and columns of the image; width: multiplier of the ResNet's channels; text_*: of BERT, see BertConfig;
    features: of a token after its projection; hidden, hidden_reverse: LSTM units of each direction, which differ in a
    file that was pruned; classes: of the answer.
    cross_attention: image and text enhance each other; attention_projections: with learned queries, keys and values.
    sparse_gate: gates on the LSTM's gates, without which it is a plain one; gate_value: soft, a sigmoid, or hard, 0 or
    1; gate_state: a closed gate resets the cell or holds it; gate_input: the gate reads the step's input, or the last
    output too; output_gate_source: the gate on the output is the output gate, or the input gate as misprinted.
    pooling: the mean of all outputs, or the last of each direction; modality_softmax: image and text are weighed
    against each other; normalisation: of the image's channels in training.
    keep_steps: for how many steps, regions first, there are bits that keep a unit at a step or not; 0 without bits.
    gate_density: whether the share of open gates is told beside the answer.
    Raises ValueError for what cannot be.
    """

    size: int = 224
    width: float = 1.0
    text_vocabulary: int = 30_522
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_intermediate: int = 3_072
    text_positions: int = 512
    text_types: int = 2
    features: int = 512
    hidden: int = 256
    hidden_reverse: int = 256
    classes: int = 2
    cross_attention: bool = True
    attention_projections: bool = False
    sparse_gate: bool = True
    gate_value: str = "soft"
    gate_state: str = "reset"
    gate_input: str = "x"
    output_gate_source: str = "o"
    pooling: str = "mean"
    modality_softmax: bool = False
    normalisation: str = "imagenet"
    keep_steps: int = field(default=0, metadata=LATER)
    gate_density: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"CMASG config: {name} is {getattr(self, name)!r}; expected {' or '.join(choices)}")
        for name, least in (("features", 1), ("hidden", 1), ("hidden_reverse", 1), ("classes", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"CMASG config: {name} is {getattr(self, name)}; expected at least {least}")
        if self.size < CELL or self.size % CELL:
            raise ValueError(f"CMASG config: size is {self.size}; expected a multiple of {CELL}")
        stem = STEM * self.width
        if stem < 1 or stem != int(stem):
            raise ValueError(
                f"CMASG config: width {self.width} gives {stem} channels in the stem; choose a positive multiple of "
                f"1/{STEM}"
            )
        if self.attention_projections and not self.cross_attention:
            raise ValueError("CMASG config: attention_projections belongs to cross_attention, which is off")
        if not self.sparse_gate and (self.gate_input != "x" or self.output_gate_source != "o"):
            raise ValueError("CMASG config: gate_input and output_gate_source belong to sparse_gate, which is off")
        if not self.sparse_gate and (self.keep_steps or self.gate_density):
            raise ValueError("CMASG config: keep_steps and gate_density belong to sparse_gate, which is off")
        fewest, most = self.regions + 1, self.regions + self.text_positions
        if self.keep_steps and not fewest <= self.keep_steps <= most:
            raise ValueError(
                f"CMASG config: keep_steps is {self.keep_steps}; expected {fewest} to {most}, which is {self.regions} "
                f"regions of the image and 1 to {self.text_positions} word pieces, or 0 without bits of steps"
            )
        if self.gate_density and self.gate_value == "hard" and self.gate_input == "xh":
            raise ValueError(
                "CMASG config: gate_density is not told of hard gates that read the last output (gate_value hard, "
                "gate_input xh); expected soft gates, or gates of the input alone"
            )
        _ = self.bert

    @property
    def regions(self) -> int:
        """Tokens of the image."""
        return (self.size // CELL) ** 2

    @property
    def longest_text(self) -> int:
        """Word pieces of the longest report that it can read."""
        return self.keep_steps - self.regions if self.keep_steps else self.text_positions

    @property
    def bert(self) -> BertConfig:
        """Sizes of the text encoder."""
        names = ("vocabulary", "width", "layers", "heads", "intermediate", "positions", "types")
        return BertConfig(**{name: getattr(self, f"text_{name}") for name in names})

    @property
    def channels(self) -> Normalisation:
        """How training normalised the image's channels."""
        return NORMALISATIONS[self.normalisation]
