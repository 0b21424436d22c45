"""Exact rewrites of BERT, for every network that has one inside."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..rewrites.rewrite import Rewrite
from ..rewrites.weights import frozen
from .bert import Embeddings, SelfAttention, attend


class PlacedEmbeddings(nn.Module):
    """As `Embeddings`, with what the segment stands for already added to every place."""

    def __init__(self, embeddings: Embeddings) -> None:
        super().__init__()
        places, kinds = embeddings.position_embeddings.weight, embeddings.token_type_embeddings.weight
        self.word_embeddings = embeddings.word_embeddings
        self.places = frozen(places.detach().double() + kinds.detach().double()[0], places)
        self.LayerNorm = embeddings.LayerNorm

    def forward(self, ids: Tensor) -> Tensor:
        return self.LayerNorm(self.word_embeddings(ids) + self.places[: ids.shape[1]])


class MergedSelfAttention(nn.Module):
    """As `SelfAttention`, with one matrix for query, key and value, the scale of the scores in the query's part."""

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        parts = attention.query, attention.key, attention.value
        width = attention.query.out_features
        scale = (width // self.heads) ** -0.5
        with torch.device("meta"):
            self.qkv = nn.Linear(width, 3 * width)
        weights = [part.weight.detach().double() for part in parts]
        biases = [part.bias.detach().double() for part in parts]
        self.qkv.weight = frozen(torch.cat([weights[0] * scale, *weights[1:]]), attention.query.weight)
        self.qkv.bias = frozen(torch.cat([biases[0] * scale, *biases[1:]]), attention.query.bias)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return attend(query, key, value, self.heads, real)


def _place(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    found = {path: module for path, module in network.named_modules() if isinstance(module, Embeddings)}
    for path, module in found.items():
        network.set_submodule(path, PlacedEmbeddings(module))
    return bool(found)


def _merge(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    found = {path: module for path, module in network.named_modules() if isinstance(module, SelfAttention)}
    for path, module in found.items():
        network.set_submodule(path, MergedSelfAttention(module))
    return bool(found)


SEGMENT_IN_PLACES = Rewrite(
    "segment_in_places",
    "All of a text being one segment, what BERT adds for the segment is added to the stored places once.",
    _place,
)
MERGED_QKV = Rewrite(
    "merged_qkv",
    "Query, key and value of each BERT layer are one matrix product, the scores' scale folded into the query's rows.",
    _merge,
)
REWRITES = (SEGMENT_IN_PLACES, MERGED_QKV)
