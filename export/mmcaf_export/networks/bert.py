"""BERT encoder (Devlin et al., 2019): word pieces -> one feature vector each.

Parameter names are those of Hugging Face's BertModel without its pooler, which no answer here depends on.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_WIDTH = 64  # of every published BERT
MASKED = -6e4
"""Score of a padded key: far below any other, so that its softmax is exactly 0, and still finite in FP16."""

_WORDS = "embeddings.word_embeddings.weight"
_POSITIONS = "embeddings.position_embeddings.weight"
_TYPES = "embeddings.token_type_embeddings.weight"
_INTERMEDIATE = "encoder.layer.0.intermediate.dense.weight"
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")
_UNREAD = re.compile(r"(?:pooler|cls|classifier)\..*|embeddings\.(?:position_ids|token_type_ids)")


@dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT; the defaults are those of bert-base-uncased.

    vocabulary: word pieces; width: of the features; intermediate: of the feed-forward parts; positions: longest
    text in word pieces; types: kinds of segments, of which the first alone is used. Raises ValueError for a width
    that its heads do not share evenly, or for a size below one.
    """

    vocabulary: int = 30_522
    width: int = 768
    layers: int = 12
    heads: int = 12
    intermediate: int = 3_072
    positions: int = 512
    types: int = 2

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "layers", "heads", "intermediate", "positions", "types"):
            if getattr(self, name) < 1:
                raise ValueError(f"BERT config: {name} is {getattr(self, name)}; expected at least 1")
        if self.width % self.heads:
            raise ValueError(f"BERT config: {self.heads} heads do not share a width of {self.width} evenly")


def bert_config(state: Mapping[str, Tensor], prefix: str = "", heads: int | None = None) -> BertConfig:
    """The sizes of a BERT, read off the shapes of its checkpoint.

    Args:
        state: names as `bert_names` leaves them; `prefix` stands before each.
        heads: of attention, which no shape tells; by default each has the usual 64 features.

    Raises:
        ValueError: a tensor that tells a size is missing, or no BERT has such sizes.
    """
    sizes = {}
    for key in (_WORDS, _POSITIONS, _TYPES, _INTERMEDIATE):
        tensor = state.get(prefix + key)
        if tensor is None or tensor.ndim != 2:
            raise ValueError(f"{prefix}{key}, which tells the size of BERT, is missing or no matrix")
        sizes[key] = tensor.shape
    layers = {int(found.group(1)) for key in state if (found := _LAYER.match(key.removeprefix(prefix)))}
    vocabulary, width = sizes[_WORDS]
    return BertConfig(
        vocabulary=vocabulary,
        width=width,
        layers=len(layers),
        heads=max(1, width // HEAD_WIDTH) if heads is None else heads,
        intermediate=sizes[_INTERMEDIATE][0],
        positions=sizes[_POSITIONS][0],
        types=sizes[_TYPES][0],
    )


def bert_names(state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """A checkpoint with the names that `Bert` has; what does not stand behind `prefix` is left as it is.

    A leading "bert." goes, gamma and beta of the older form become weight and bias, and what no answer depends on
    (the pooler, heads of the pretraining, stored positions) is dropped.
    """
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if not key.startswith(prefix):
            renamed[key] = tensor
            continue
        name = key.removeprefix(prefix).removeprefix("bert.")
        if _UNREAD.fullmatch(name):
            continue
        head, dot, last = name.rpartition(".")
        if head.endswith("LayerNorm"):
            last = {"gamma": "weight", "beta": "bias"}.get(last, last)
        renamed[f"{prefix}{head}{dot}{last}"] = tensor
    return renamed


class Bert(nn.Module):
    """Word pieces [N, L] -> last hidden state [N, L, width].

    ids: rows of the vocabulary, int64; mask: 1 for a word piece, 0 for padding, which stands at the end.
    Dropout, which evaluation leaves out, is left out here.
    """

    def __init__(self, config: BertConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or BertConfig()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.encoder(self.embeddings(ids), mask.bool())


class Embeddings(nn.Module):
    """The sum of what a word piece, its place and its segment stand for, normed: [N, L] -> [N, L, width]."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary, config.width)
        self.position_embeddings = nn.Embedding(config.positions, config.width)
        self.token_type_embeddings = nn.Embedding(config.types, config.width)
        self.LayerNorm = layer_norm(config)

    def forward(self, ids: Tensor) -> Tensor:
        places = self.position_embeddings.weight[: ids.shape[1]]
        return self.LayerNorm(self.word_embeddings(ids) + (places + self.token_type_embeddings.weight[0]))


class Encoder(nn.Module):
    """The layers, one after the other; keys and values of padding are left out of every attention."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, real)
        return x


class Layer(nn.Module):
    """Self-attention and a feed-forward part, each added to its input and normed: [N, L, width] of both."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = _Dense(config.width, config.intermediate)
        self.output = _Output(config.intermediate, config)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        x = self.attention(x, real)
        return self.output(F.gelu(self.intermediate.dense(x)), x)


class Attention(nn.Module):
    """What each word piece takes from the others, added to it and normed."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = _Output(config.width, config)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        return self.output(self.self(x, real), x)


class SelfAttention(nn.Module):
    """Scaled dot-product attention of several heads: x [N, L, width], real [N, L] bool -> [N, L, width]."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        query, key, value = self.query(x), self.key(x), self.value(x)
        return attend(query / (query.shape[-1] // self.heads) ** 0.5, key, value, self.heads, real)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, real: Tensor) -> Tensor:
    """Each [N, L, width], the query already scaled; real [N, L] tells which keys are no padding -> [N, L, width]."""
    q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    scores = torch.where(real[:, None, None, :], q @ k.transpose(2, 3), MASKED)
    return (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)


def layer_norm(config: BertConfig) -> nn.LayerNorm:
    """The norm of every part of a BERT."""
    return nn.LayerNorm(config.width, eps=1e-12)


class _Dense(nn.Module):
    """A linear layer under the published name."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)


class _Output(nn.Module):
    """A linear layer whose result is added to the part's input and normed."""

    def __init__(self, inputs: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.width)
        self.LayerNorm = layer_norm(config)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + skip)
