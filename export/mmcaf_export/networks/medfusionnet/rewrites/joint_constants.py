"""What is the same for every case of the joint attention is worked out once."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import frozen

from ..attention import attend, mean_shares, real_tokens
from ..network import MedFusionNet


class PreparedAttention(nn.Module):
    """Tokens of each modality, still without what is added to all of them -> as `MedFusionNet._attended`.

    Query, key and value are one Linear, the scores' scale in the query's part. The labels' own rows of tokens and of
    query, key and value are stored.
    """

    def __init__(self, network: MedFusionNet) -> None:
        super().__init__()
        attention, width = network.self_attention, network.config.width
        parts = attention.query, attention.key, attention.value
        scales = width**-0.5, 1.0, 1.0
        weight = torch.cat([part.weight.detach().double() * by for part, by in zip(parts, scales, strict=True)])
        bias = torch.cat([part.bias.detach().double() * by for part, by in zip(parts, scales, strict=True)])
        like = attention.query.weight
        with torch.device("meta"):
            self.qkv = nn.Linear(width, 3 * width)
        self.qkv.weight, self.qkv.bias = frozen(weight, like), frozen(bias, like)
        self.norm = network.self_attention_norm
        self.offsets = nn.ParameterList(frozen(network.offset(name).double(), like) for name in network.modalities)
        self.labels = network.config.labels if network.config.label_tokens else 0
        if self.labels:
            queries = network.label_queries.detach().double()
            self.label_tokens = frozen(queries[None], like)
            self.label_qkv = frozen((queries @ weight.T + bias)[None], like)

    def forward(self, content: list[Tensor], mask: Tensor | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        parts = [part + offset for part, offset in zip(content, self.offsets, strict=True)]
        tokens = torch.cat(parts, dim=1)
        rows = self.qkv(tokens)
        sizes = [part.shape[1] for part in parts]
        real = None
        if mask is not None:
            real = real_tokens(tokens.shape[1] - mask.shape[1], mask, self.labels)
        if self.labels:
            tokens = torch.cat([tokens, self.label_tokens.expand(tokens.shape[0], -1, -1)], dim=1)
            rows = torch.cat([rows, self.label_qkv.expand(tokens.shape[0], -1, -1)], dim=1)
            sizes.append(self.labels)
        query, key, value = rows.chunk(3, dim=-1)
        outputs = self.norm(tokens + attend(query, key, value, real)).split(sizes, dim=1)
        return outputs, mean_shares(query, key, real).split(sizes, dim=1)


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Put it in the place of the attention, whose own weights the copy then lets go of."""
    if not isinstance(network, MedFusionNet) or network.config.profile != "full" or network.joint is not None:
        return False
    network.joint = PreparedAttention(network)
    for name in ("self_attention", "self_attention_norm", "modality_embedding", "region_position", "label_queries"):
        if hasattr(network, name):
            delattr(network, name)
    return True


REWRITE = Rewrite(
    "joint_constants",
    "The labels' tokens are the same for every case, and with them their query, key and value; positions and modality "
    "vectors are added as one; query, key and value are one product.",
    apply,
)
