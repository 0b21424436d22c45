"""MedFusionNet once more, from its description alone: functions over a dict of float64 tensors, no module.

Which parts there are is told from the weights that are there.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]
MEANS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "half": ((0.5,) * 3, (0.5,) * 3)}


def answer(
    state: State,
    *,
    grey: Tensor | None = None,
    recorded: Tensor | None = None,
    ids: Tensor | None = None,
    mask: Tensor | None = None,
    normalisation: str = "imagenet",
) -> tuple[Tensor, Tensor]:
    """Logits [N, K], and what the fused vector alone gives.

    Args:
        grey: [N, S, S], 0 to 1. recorded: all clinical columns, NaN where missing; of the profile release, the values.
        ids, mask: [N, L].
    """
    maps = None if grey is None else backbone(state, channels(grey, normalisation))
    if "metadata_attention.value.weight" in state:
        assert maps is not None and recorded is not None
        logits = head(state, released(state, maps, recorded))
        return logits, logits
    groups: list[Tensor] = []
    sizes: list[str] = []
    if maps is not None:
        groups.append(regions(state, maps))
        sizes.append("region")
    if recorded is not None:
        groups.append(clinical(state, recorded))
        sizes.append("metadata")
    if ids is not None and mask is not None:
        hidden = bert({key.removeprefix("text_encoder."): value for key, value in state.items()}, ids, mask)
        groups.append(linear(state, "text_projection", hidden) + state["modality_embedding.weight"][2])
        sizes.append("text")
    batch = len(groups[0])
    if "label_queries" in state:
        groups.append(torch.stack([state["label_queries"]] * batch))
    outputs = joint(state, groups, mask, sizes)
    fused = []
    for name, tokens in zip(sizes, outputs, strict=False):
        if name == "text":
            assert mask is not None
            fused.append(
                torch.stack([row[: int(length)].mean(0) for row, length in zip(tokens, mask.sum(1), strict=True)])
            )
        else:
            fused.append(tokens.mean(1))
    plain = head(state, torch.cat(fused, 1))
    if "label_queries" not in state:
        return plain, plain
    return plain + torch.einsum("nkd,kd->nk", outputs[-1], state["label_head.weight"]), plain


def channels(grey: Tensor, normalisation: str) -> Tensor:
    mean, std = (torch.tensor(values, dtype=grey.dtype).reshape(3, 1, 1) for values in MEANS[normalisation])
    return (grey[:, None].repeat(1, 3, 1, 1) - mean) / std


def backbone(state: State, image: Tensor) -> dict[str, Tensor]:
    """Every map that anything reads, by torchvision's name of the part that makes it."""
    at = "image_encoder.features."
    x = F.conv2d(image, state[f"{at}conv0.weight"], stride=2, padding=3)
    x = F.max_pool2d(F.relu(normed(state, f"{at}norm0", x)), kernel_size=3, stride=2, padding=1)
    maps: dict[str, Tensor] = {}
    for block in (1, 2, 3, 4):
        layer, features = 1, [x]
        while f"{at}denseblock{block}.denselayer{layer}.norm1.weight" in state:
            own = f"{at}denseblock{block}.denselayer{layer}."
            y = F.relu(normed(state, f"{own}norm1", torch.cat(features, 1)))
            y = F.relu(normed(state, f"{own}norm2", F.conv2d(y, state[f"{own}conv1.weight"])))
            features.append(F.conv2d(y, state[f"{own}conv2.weight"], padding=1))
            layer += 1
        x = maps[f"denseblock{block}"] = torch.cat(features, 1)
        if block < 4:
            x = F.relu(normed(state, f"{at}transition{block}.norm", x))
            x = F.avg_pool2d(F.conv2d(x, state[f"{at}transition{block}.conv.weight"]), kernel_size=2, stride=2)
            maps[f"transition{block}"] = x
    if f"{at}norm5.weight" in state:
        maps["norm5"] = normed(state, f"{at}norm5", x)
    return maps


def regions(state: State, maps: Mapping[str, Tensor]) -> Tensor:
    """Region tokens [N, n, D] with their positions and modality vector."""
    if "norm5" in maps:
        levels = [maps["denseblock2"], maps["denseblock3"], F.relu(maps["norm5"])]
    else:
        levels = [maps["transition1"], maps["transition2"], maps["transition3"]]
    summed: Tensor | None = None
    for index in (2, 1, 0):
        weight, bias = (state[f"feature_pyramid.lateral.{index}.{kind}"] for kind in ("weight", "bias"))
        level = F.conv2d(levels[index], weight, bias)
        if summed is not None:
            level = level + summed.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        summed = level
    assert summed is not None
    if "feature_pyramid.smooth.0.weight" in state:
        weight, bias = (state[f"feature_pyramid.smooth.0.{kind}"] for kind in ("weight", "bias"))
        summed = F.conv2d(summed, weight, bias, padding=1)
    count, width, side, _ = summed.shape
    cells = summed.reshape(count, width, side // 4, 4, side // 4, 4).mean((3, 5))
    tokens = cells.reshape(count, width, -1).transpose(1, 2)
    return tokens + state["region_position"] + state["modality_embedding.weight"][0]


def clinical(state: State, recorded: Tensor) -> Tensor:
    """Metadata tokens [N, F, D] with their modality vector, column by column."""
    buffer = {key.removeprefix("metadata_selection."): value for key, value in state.items()}
    tokens = []
    for at, column in enumerate(buffer["feature_index"].tolist()):
        x = recorded[:, column].clone()
        x[torch.isnan(x)] = buffer["fill_value"][at]
        z = (x - buffer["mean"][at]) / buffer["std"][at]
        t = (x >= buffer["threshold"][at]) if buffer["direction"][at] > 0 else (x <= buffer["threshold"][at])
        names = ("value_weight", "threshold_weight", "bias")
        value, threshold, bias = (state[f"metadata_tokenizer.{name}"][at] for name in names)
        tokens.append(z[:, None] * value + t.to(z.dtype)[:, None] * threshold + bias)
    return torch.stack(tokens, 1) + state["modality_embedding.weight"][1]


def joint(state: State, groups: list[Tensor], mask: Tensor | None, names: list[str]) -> list[Tensor]:
    """One attention over all tokens, case by case; padding of the text is left out of it."""
    outputs: list[list[Tensor]] = [[] for _ in groups]
    for case in range(len(groups[0])):
        rows = [group[case] for group in groups]
        if mask is not None:
            kept = int(mask[case].sum())
            rows[names.index("text")] = rows[names.index("text")][:kept]
        tokens = torch.cat(rows)
        query, key, value = (linear(state, f"self_attention.{name}", tokens) for name in ("query", "key", "value"))
        scores = query @ key.T / tokens.shape[1] ** 0.5
        weights = scores.exp() / scores.exp().sum(1, keepdim=True)
        weight, bias = (state[f"self_attention_norm.{kind}"] for kind in ("weight", "bias"))
        summed = tokens + weights @ value
        centred = summed - summed.mean(1, keepdim=True)
        made = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() * weight + bias
        start = 0
        for output, row, group in zip(outputs, rows, groups, strict=True):
            part = made[start : start + len(row)]
            output.append(F.pad(part, (0, 0, 0, group.shape[1] - len(row))))
            start += len(row)
    return [torch.stack(output) for output in outputs]


def released(state: State, maps: Mapping[str, Tensor], values: Tensor) -> Tensor:
    """The fused vector of the profile release; its attention is over one token.

    Without the last block it has three levels: the coarser enlarged, one value becoming a square of four, and added.
    """
    levels = ["transition1", "transition2", "transition3"] if "norm5" not in maps else ["norm5"]
    summed = torch.zeros(())
    for index, name in reversed(list(enumerate(levels))):
        weight, bias = (state[f"feature_pyramid.lateral.{index}.{kind}"] for kind in ("weight", "bias"))
        if summed.ndim:
            summed = summed.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        summed = summed + F.conv2d(maps[name], weight, bias)
    return torch.cat([summed.mean((2, 3)), linear(state, "metadata_attention.value", values)], 1)


def head(state: State, fused: Tensor) -> Tensor:
    hidden = F.relu(linear(state, "fusion", fused))
    return linear(state, "head.output", F.relu(linear(state, "head.hidden", hidden)))


def bert(state: State, ids: Tensor, mask: Tensor) -> Tensor:
    """Last hidden state [N, L, width] of a BERT with heads of 64, or one narrower; zeros where there is padding."""
    found = []
    for row, length in zip(ids, mask.sum(1).tolist(), strict=True):
        words = row[:length]
        x = state["embeddings.word_embeddings.weight"][words]
        x = x + state["embeddings.position_embeddings.weight"][:length]
        x = layer_norm(state, "embeddings.LayerNorm", x + state["embeddings.token_type_embeddings.weight"][0])
        layer = 0
        while f"encoder.layer.{layer}.output.dense.weight" in state:
            own = f"encoder.layer.{layer}."
            heads = max(1, x.shape[1] // 64)
            parts = [linear(state, f"{own}attention.self.{name}", x) for name in ("query", "key", "value")]
            context = []
            for query, key, value in zip(*(part.chunk(heads, dim=1) for part in parts), strict=True):
                context.append((query @ key.T / query.shape[1] ** 0.5).softmax(1) @ value)
            attended = linear(state, f"{own}attention.output.dense", torch.cat(context, 1))
            x = layer_norm(state, f"{own}attention.output.LayerNorm", x + attended)
            wide = linear(state, f"{own}intermediate.dense", x)
            wide = wide * 0.5 * (1 + torch.erf(wide / 2**0.5))
            x = layer_norm(state, f"{own}output.LayerNorm", x + linear(state, f"{own}output.dense", wide))
            layer += 1
        found.append(F.pad(x, (0, 0, 0, len(row) - length)))
    return torch.stack(found)


def layer_norm(state: State, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-12).sqrt()
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def normed(state: State, name: str, x: Tensor) -> Tensor:
    mean, var, weight, bias = (
        state[f"{name}.{kind}"].reshape(1, -1, 1, 1) for kind in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]
